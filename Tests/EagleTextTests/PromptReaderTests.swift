import EagleCore
import EagleText
import Foundation
import Testing

@Suite struct PromptReaderTests {
  private func read(_ content: String) throws -> [Prompt] {
    try withTemporaryFile(content) { try PromptReader.read(path: $0) }
  }

  @Test("prompts are read in the shape of every benchmark")
  func everyShapeIsRead() throws {
    let prompts = try read(
      """
      {"question_id": 81, "category": "writing", "turns": ["one", "two"]}
      {"task_id": "HumanEval/0", "prompt": "def f():"}
      {"question": "2 + 2?", "answer": "4"}

      {"id": "m1", "problem": "x", "level": 5}
      {"prompt": ["a", "b"]}
      """)
    #expect(
      prompts == [
        Prompt(id: "81", turns: ["one", "two"]), Prompt(id: "HumanEval/0", turns: ["def f():"]),
        Prompt(id: "3", turns: ["2 + 2?"]), Prompt(id: "m1", turns: ["x"]), Prompt(id: "6", turns: ["a", "b"]),
      ])
  }

  @Test("a field that is null counts as missing")
  func nullFields() throws {
    let prompts = try read(
      #"""
      {"id": null, "question_id": 7, "turns": null, "prompt": "x", "test_list": null, "conversations": null}
      {"question": "open", "A": null, "B": null, "C": null}
      {"question": "closed", "A": "a", "B": "b", "C": null}
      """#)
    #expect(prompts.map(\.id) == ["7", "2", "3"])
    let choice = "closed\n\nA. a\nB. b\n\nChoose the right option, and give the reason."
    #expect(prompts.map(\.turns) == [["x"], ["open"], [choice]])
  }

  @Test("what belongs to a task beside its text is part of the prompt")
  func supplementsAreRead() throws {
    let prompts = try read(
      #"""
      {"text": "Write f.", "task_id": 2, "test_list": ["assert f(1) == 1", "assert f(2) == 2"], "code": "x"}
      {"prompt": "Write g.", "test_list": ["assert g()"]}
      {"question_content": "Add.", "starter_code": "class Solution:", "question_id": "abc"}
      {"question_content": "Add.", "starter_code": ""}
      {"question": "2 + 2?", "subject": "maths", "choices": ["3", "4"], "answer": 1}
      {"question": "首都？", "A": "北京", "B": "上海", "C": 3, "D": "广州", "answer": "A"}
      {"Question": "q", "A": "a", "B": "b", "C": "c", "D": "d"}
      """#)
    let tests = "Your code should pass these tests:\n\n"
    let english = "\n\nChoose the right option, and give the reason."
    #expect(
      prompts.map { $0.turns[0] } == [
        "Write f.\n\n\(tests)assert f(1) == 1\nassert f(2) == 2", "Write g.\n\n\(tests)assert g()",
        "Add.\n\nclass Solution:", "Add.", "2 + 2?\n\nA. 3\nB. 4\(english)",
        "首都？\n\nA. 北京\nB. 上海\nC. 3\nD. 广州\n\n请选出正确的选项，并说明理由。", "q\n\nA. a\nB. b\nC. c\nD. d\(english)",
      ])
    #expect(prompts.map(\.id) == ["2", "2", "abc", "4", "5", "6", "7"])
  }

  @Test("a table of multiple choice asks in the language of its set")
  func languageOfTables() throws {
    let chinese = try readTable("Question,A,B,C,D\n1+1,1,2,3,4\n首都,a,b,c,d\n").map { $0.turns[0] }
    #expect(chinese.allSatisfy { $0.hasSuffix("请选出正确的选项，并说明理由。") })
    let english = try readTable("question,A,B,C,D\n1+1,1,2,3,4\n").map { $0.turns[0] }
    #expect(english == ["1+1\n\nA. 1\nB. 2\nC. 3\nD. 4\n\nChoose the right option, and give the reason."])
  }

  @Test("an unknown shape is one error with the line, its fields and the known shapes")
  func unknownShapes() throws {
    try withTemporaryFile("{\"prompt\": \"x\"}\n{\"body\": \"x\", \"level\": 2}\n") { path in
      let message = errorText { _ = try PromptReader.read(path: path) }
      #expect(message.hasPrefix("\(path), line 2: there is none of \"turns\", \"prompt\", "), "\(message)")
      #expect(message.contains("its fields are \"body\", \"level\": rename"), "\(message)")
    }
  }

  @Test(
    "a wrong line is an error with its number",
    arguments: [
      (#"{"body": "x"}"#, "none of"), (#"{"question": "q", "A": [], "B": "b"}"#, "at A"),
      (#"{"question": "q", "choices": ["a"]}"#, "at choices"), (#"{"text": "x", "test_list": "t"}"#, "test_list"),
      (#"{"turns": []}"#, "\"turns\" is empty"), (#"{"turns": [1]}"#, "turns"), (#"{"prompt": 3}"#, "prompt"),
      (#"{"prompt": "x", "id": {}}"#, "the id"), ("{", "not valid JSON"),
      ("3", "expected"),
    ])
  func aWrongLineIsAnErrorWithItsNumber(line: String, reason: String) throws {
    try withTemporaryFile("{\"prompt\": \"x\"}\n\n\(line)\n") { path in
      let message = errorText { _ = try PromptReader.read(path: path) }
      #expect(message.hasPrefix("\(path), line 3: ") && message.contains(reason), "\(message)")
    }
  }

  private func readTable(_ content: String) throws -> [Prompt] {
    try withTemporaryFile(content, name: "table.csv") { try PromptReader.read(path: $0) }
  }

  @Test("multiple-choice tables of CMMLU and C-Eval are read") func tablesOfMultipleChoiceAreRead() throws {
    // CMMLU's columns, a quoted field with a comma, a line end and doubled quotes, CR LF, no line end at the end.
    let cmmlu = "\u{FEFF},Question,A,B,C,D,Answer\r\n7,\"净重,\n\"\"是\"\"指\",a,b,\"\",d,A\r\n8,二,1,2,3,4,B"
    let prompts = try readTable(cmmlu)
    #expect(prompts.map(\.id) == ["7", "8"])
    #expect(prompts[0].turns[0].hasPrefix("净重,\n\"是\"指\n\nA. a\nB. b\nC. \nD. d\n\n"))
    // C-Eval's.
    let ceval = "id,question,A,B,C,D\n0,q,a,b,c,d\n"
    #expect(try readTable(ceval).map(\.id) == ["0"])
  }

  @Test("a line of nothing but an empty quoted field is a row, with either line end")
  func emptyQuotedFields() {
    for end in ["\n", "\r\n"] {
      let message = errorText { _ = try readTable("Question,A,B,C,D\(end)\"\"\(end)") }
      #expect(message.contains("line 2: 1 fields"), "\(message)")
      #expect(errorText { _ = try readTable("Question,A,B,C,D\(end)\(end)") }.contains("there is no prompt"))
    }
  }

  @Test("a quote inside an unquoted field stands for itself")
  func quotesInsideFields() throws {
    let prompts = try readTable("Question,A,B,C,D\n5\" disk,\"a\"b,c\"\"d,\"\"\"e\"\"\",\"\"\n\nq,1,2,3,4\n")
    #expect(prompts.map(\.id) == ["2", "4"])
    // The same result as Python's csv.reader.
    #expect(prompts[0].turns[0].hasPrefix("5\" disk\n\nA. ab\nB. c\"\"d\nC. \"e\"\nD. \n\n"))
  }

  @Test(
    "a wrong table is an error with its reason",
    arguments: [
      ("Question,A,B,C,D\nq,a,b,c\n", "line 2: 4 fields"),
      ("Question,A,B,C,D\n\"q,a,b,c,d\n", "line 2: a quote is opened"),
      ("q,a\n1,2\n", "line 1: the columns are q, a"), ("", "the file is empty"),
      ("Question,A,B,C,D\n", "there is no prompt"),
    ])
  func aWrongTableIsAnError(content: String, reason: String) {
    let message = errorText { _ = try readTable(content) }
    #expect(message.contains(reason), "\(message)")
  }

  @Test("a file without prompts and a missing file are errors") func anEmptyFileIsAnError() {
    #expect(errorText { _ = try read("\n\n") }.contains("there is no prompt"))
    #expect(errorText { _ = try PromptReader.read(path: "/nowhere/p.jsonl") }.hasPrefix("/nowhere/p.jsonl: "))
  }
}
