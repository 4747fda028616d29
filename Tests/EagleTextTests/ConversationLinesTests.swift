import EagleCore
import EagleText
import Foundation
import Testing

@Suite struct ConversationLinesTests {
  private func read(_ content: String, name: String = "data.jsonl") throws -> ([Conversation], ReadReport) {
    try withTemporaryFile(content, name: name) { path in
      var conversations: [Conversation] = []
      let report = try read(path: path) { conversations.append($0) }
      return (conversations, report)
    }
  }

  /// Reads a file like a preparation, with the tally of its lines.
  @discardableResult
  private func read(path: String, each: (Conversation) throws -> Void = { _ in }) throws -> ReadReport {
    var (lines, report) = (try ConversationLines(path: path), ReadReport(path: path))
    while let line = try lines.next() {
      switch line.parsed() {
      case .success(.conversation(let conversation)):
        try each(conversation)
        report.accept()
      case .success(.row(let row)): Issue.record("\(row)")
      case .failure(let error):
        report.reject(line.number, because: error)
        try report.checkEarly()
      }
    }
    try report.check()
    return report
  }

  private func good(_ count: Int) -> String {
    String(repeating: #"{"messages": [{"role": "user", "content": "q"}]}"# + "\n", count: count)
  }

  @Test("the three shapes of a line give the same messages")
  func theThreeShapesComeToTheSame() throws {
    let messages: [ChatMessage] = [
      .init(role: .system, content: "s"), .init(role: .user, content: "q"), .init(role: .assistant, content: "é\n"),
    ]
    let roles =
      #"[{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, "#
      + #"{"role": "assistant", "content": "\u00e9\n"}]"#
    let senders =
      #"[{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "é\n"}]"#
    let (conversations, report) = try read(
      """
      {"id": "a", "conversations": \(roles), "extra": {"x": [1]}}
      {"id": 17, "conversations": \(senders)}

      {"messages": \(roles)}
      """)
    #expect(conversations.map(\.messages) == [messages, messages, messages])
    #expect(conversations.map(\.id) == ["a", "17", "data.jsonl:4"])
    #expect(report.read == 3 && report.skippedCount == 0 && report.skipped.isEmpty)
  }

  @Test(
    "pairs of a question and an answer are conversations",
    arguments: [
      (#"{"instruction": "q", "input": "", "output": "a"}"#, "q"),
      (#"{"instruction": "q", "input": "x", "output": "a"}"#, "q\n\nx"),
      (#"{"prompt": "q", "response": "a"}"#, "q"), (#"{"prompt": "q", "completion": "a", "input": null}"#, "q"),
    ])
  func pairs(line: String, question: String) throws {
    let (conversations, _) = try read(line)
    #expect(
      conversations.map(\.messages) == [[.init(role: .user, content: question), .init(role: .assistant, content: "a")]])
    let (withSystem, _) = try read(String(line.dropLast()) + #", "system": "s"}"#)
    #expect(
      withSystem.first?.messages.first == .init(role: .system, content: "s") && withSystem.first?.messages.count == 3)
  }

  @Test("tools, calls, reasoning and parts of text reach the template")
  func toolsAndFields() throws {
    let tools = #"[{"type": "function", "function": {"name": "f"}}]"#
    let call =
      #"{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1}"}}]}"#
    let line = """
      {"tools": \(tools), "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, \
      \(call), {"role": "tool", "content": "r", "name": "f"}, {"role": "assistant", "content": "x", "reasoning_content": "why"}]}
      """
    let conversation = try #require(try read(line).0.first)
    #expect(conversation.messages.map(\.content) == ["a\nb", "", "r", "x"])
    #expect(conversation.tools == [["type": "function", "function": ["name": "f"]]])
    #expect(
      MessageForm().value(conversation.messages[1]) == [
        "role": "assistant", "content": nil, "tool_calls": [["function": ["name": "f", "arguments": ["x": 1]]]],
      ])
    #expect(MessageForm().value(conversation.messages[2]) == ["role": "tool", "content": "r", "name": "f"])
    #expect(conversation.messages[3].reasoning == "why" && conversation.withoutReasoning().messages[3].extra.isEmpty)
    let spelled = line.replacing(tools, with: JSON.string(tools).text())
    #expect(try read(spelled).0.first?.tools == conversation.tools)
  }

  @Test("reasoning between <think> and </think> is found, and can be left out")
  func thinkingInTheText() {
    let message = ChatMessage(role: .assistant, content: "<think>\nwhy\n</think>\n\nx")
    #expect(message.reasoning == "why" && message.withoutReasoning().content == "x")
    let quoted = ChatMessage(role: .assistant, content: "say <think>why</think>")
    #expect(quoted.reasoning == nil && quoted.withoutReasoning() == quoted)
  }

  @Test("a file that is one list gives its elements")
  func oneList() throws {
    let one = #"{"messages": [{"role": "user", "content": "a ] \\\" , [ {"}]}"#
    let (conversations, report) = try read(" [\n\(one),\n  \(one) , \(one)]\n", name: "all.json")
    #expect(conversations.map(\.id) == ["all.json:1", "all.json:2", "all.json:3"] && report.read == 3)
    #expect(conversations.allSatisfy { $0.messages[0].content == "a ] \\\" , [ {" })
    #expect(try read("[]").0.isEmpty)
    withKnownText("the list of conversations does not end") { _ = try read("[\(one), \(one.dropLast(3))") }
  }

  @Test("text behind the end of a list is an error that names the file, not lost", arguments: ["[]", "{}", ",", "]"])
  func textBehindTheList(rest: String) {
    let one = #"{"messages": [{"role": "user", "content": "q"}]}"#
    withKnownText("all.json: something stands behind the list of 2 elements") {
      _ = try read("[\(one), \(one)]\n\(rest)", name: "all.json")
    }
    withKnownText("behind the list of 0 elements") { _ = try read("[] \(rest)") }
  }

  @Test("a list is known by its first character, however many blanks and marks stand before it")
  func blanksBeforeTheList() throws {
    let one = #"{"messages": [{"role": "user", "content": "q"}]}"#
    let blanks = ["\n\n\n\n\n", "\u{FEFF}\r\n", "\u{FEFF}     ", String(repeating: " ", count: 9 + 1 << 20)]
    for blank in blanks {
      let (conversations, report) = try read("\(blank)[\(one),\n\(one)]", name: "all.json")
      #expect(conversations.count == 2 && report.read == 2 && report.skippedCount == 0)
    }
    #expect(try read("\n\n\n\n\n" + one).0.map(\.id) == ["data.jsonl:6"])
    #expect(try read(" \n").0.isEmpty)
  }

  @Test("a field that is null counts as missing")
  func nullFields() throws {
    let messages = #"[{"role": "user", "content": "q"}]"#
    let (conversations, report) = try read(
      """
      {"conversations": null, "messages": \(messages)}
      {"messages": \(messages), "conversations": null, "input_ids": null, "loss_mask": null, "id": null}
      {"messages": null, "input_ids": null, "prompt": "q", "response": "a"}
      """)
    #expect(report.skipped.isEmpty, "\(report.skipped)")
    #expect(conversations.map { $0.messages.first?.content } == ["q", "q", "q"])
  }

  private func withKnownText(_ text: String, _ body: () throws -> Void) {
    let message = errorText(body)
    #expect(message.contains(text), "\(message)")
  }

  @Test("rows that are tokenised already keep their ids and mask")
  func tokenisedRows() throws {
    func record(_ line: String) throws -> Result<DataRecord, TextError>? {
      try withTemporaryFile(line) { path in
        var lines = try ConversationLines(path: path)
        return try lines.next()?.parsed()
      }
    }
    let row = try record(#"{"id": "r", "input_ids": [5, 6, 7], "loss_mask": [0, 1, true]}"#)
    #expect(row == .success(.row(TokenRow(id: "r", ids: [5, 6, 7], lossMask: [0, 1, 1]))))
    for (line, reason) in [
      (#"{"input_ids": [5, -6], "loss_mask": [0, 1]}"#, "no list of token ids"),
      (#"{"input_ids": [5]}"#, "without \"loss_mask\""),
      (#"{"input_ids": [5], "loss_mask": [0, 1]}"#, "has 2 values"),
      (#"{"input_ids": [5], "loss_mask": [2]}"#, "holds 2"),
    ] {
      let result = try record(line)
      guard case .failure(let error) = result else {
        Issue.record("\(line)")
        continue
      }
      #expect(error.description.contains(reason), "\(error)")
    }
  }

  @Test("line ends and byte order marks do not matter") func lineEndsAndByteOrderMarksDoNotMatter() throws {
    let line = #"{"messages": [{"role": "user", "content": "q"}]}"#
    let (conversations, _) = try read("\u{FEFF}\(line)\r\n \t\r\n\(line)")
    #expect(conversations.map(\.id) == ["data.jsonl:1", "data.jsonl:3"])
  }

  @Test("a line may be longer than one read of the file")
  func linesMayBeLongerThanOneRead() throws {
    let long = String(repeating: "abc ", count: 700_000)
    let line = #"{"messages": [{"role": "user", "content": "\#(long)"}]}"#
    let (conversations, _) = try read(good(3) + line + "\n" + good(2) + line)
    #expect(conversations.count == 7)
    #expect(conversations[3].messages[0].content == long && conversations[6].messages[0].content == long)
    #expect(conversations[6].id == "data.jsonl:7")
  }

  @Test("up to 1 % of broken lines are skipped and reported")
  func fewBadLinesAreSkippedAndReported() throws {
    let content = good(150) + "{\"messages\": [{\"role\"\n" + good(150) + "7\n" + good(100)
    let (conversations, report) = try read(content)
    #expect(conversations.count == 400 && report.read == 400 && report.skippedCount == 2)
    #expect(report.skipped.map(\.line) == [151, 302])
    #expect(report.skipped[0].reason.hasPrefix("not valid JSON at byte 22: expected "), "\(report.skipped)")
  }

  @Test(
    "a line of a wrong shape is skipped with the reason",
    arguments: [
      (#"{"id": "x"}"#, "none of \"conversations\", \"messages\""),
      (#"{"messages": []}"#, "\"messages\" is empty"),
      (#"{"messages": "text"}"#, "messages"),
      (#"{"messages": [{"content": "q"}]}"#, "message 1 has neither"),
      (
        #"{"messages": [{"role": "user", "content": "q"}, {"role": "narrator", "content": "r"}]}"#,
        "message 2 has the unknown role \"narrator\""
      ),
      (#"{"messages": [{"role": "user", "content": null}]}"#, "message 1 has no text"),
      (#"{"messages": [{"role": "user", "content": [1]}]}"#, "content"),
      (#"{"id": [1], "messages": [{"role": "user", "content": "q"}]}"#, "the id"),
      ("[1, 2]", "expected"),
    ])
  func wrongShapesAreExplained(line: String, reason: String) throws {
    let (_, report) = try read(good(60) + line + "\n" + good(60))
    #expect(report.skippedCount == 1 && report.skipped.first?.line == 61)
    #expect(report.skipped.first?.reason.contains(reason) == true, "\(report.skipped)")
  }

  @Test("more than 1 % of broken lines are an error at the end of the file")
  func moreThanOneInAHundredIsAnError() throws {
    let content = good(50) + "broken\n" + good(20)
    try withTemporaryFile(content) { path in
      var read = 0
      let message = errorText { try self.read(path: path) { _ in read += 1 } }
      let expected = "\(path): 1 of 71 lines cannot be used, more than 1 %; the first is line 51: not valid JSON"
      #expect(message.hasPrefix("\(expected) at byte 1: expected a value"), "\(message)")
      #expect(read == 70)
    }
  }

  @Test("a file of broken lines is given up after 1000 lines")
  func aWrongFileStopsEarly() throws {
    try withTemporaryFile(good(1) + String(repeating: "broken\n", count: 100_000)) { path in
      let message = errorText { try read(path: path) }
      #expect(message.contains("1000 of 1001 lines cannot be used") && message.contains("the first is line 2"))
    }
  }

  @Test("a report counts all rejected lines and keeps the first eight reasons")
  func onlyTheFirstReasonsAreKept() throws {
    let (_, report) = try read(good(5000) + String(repeating: "broken\n", count: 20))
    #expect(report.skippedCount == 20 && report.skipped.count == 8)
  }

  @Test("a line of invalid UTF-8 is skipped") func invalidUTF8IsASkippedLine() throws {
    let report = try withTemporaryFile(good(200)) { path in
      let line = Data(#"{"messages": [{"role": "user", "content": ""#.utf8) + Data([0xFF, 0xFE]) + Data("\"}]}\n".utf8)
      let handle = try #require(FileHandle(forWritingAtPath: path))
      try handle.seekToEnd()
      try handle.write(contentsOf: line)
      try handle.close()
      return try read(path: path)
    }
    #expect(report.read == 200 && report.skipped.map(\.line) == [201])
  }

  @Test("a path that cannot be read is named, and an empty file is read") func unreadablePathsAreNamed() throws {
    let missing = errorText { try read(path: "/nowhere/x.jsonl") }
    #expect(missing.hasPrefix("/nowhere/x.jsonl: "))
    try withTemporaryFolder { folder in
      #expect(errorText { try read(path: folder.path) }.hasPrefix(folder.path + ": "))
    }
    #expect(try read("").1.read == 0)
  }
}
