import EagleServer
import Testing

@Suite struct OutputParserTests {
  typealias Call = (text: String, syntax: ToolSyntax, pieces: [ToolCallParser.Piece])

  private static func call(_ name: String, _ arguments: String) -> ToolCallParser.Piece {
    .call(ToolCall(name: name, arguments: arguments))
  }

  private static let hermes: [Call] = [
    ("", .hermes, []),
    (" plain <b> text \n", .hermes, [.content(" plain <b> text \n")]),
    (
      #"<tool_call>\#n{"name": "add", "arguments": {"b": 2, "a": 1.50}}\#n</tool_call>"#, .hermes,
      [call("add", #"{"b":2,"a":1.50}"#)]
    ),
    (
      #"Süß:\#n<tool_call>{"name":"add","arguments":{"t":"</tool_call> \" } é"}}</tool_call>\#n"#
        + #"<tool_call>{"name":"now"}</tool_call>\#n done "#, .hermes,
      [.content("Süß:"), call("add", #"{"t":"</tool_call> \" } é"}"#), call("now", "{}"), .content("done ")]
    ),
    // Arguments in a string, and no closing marker.
    (#"<tool_call>{"name":"add","arguments":"{\"a\":1}"}"#, .hermes, [call("add", #"{"a":1}"#)]),
    (#"<tool_call>{"name":"add","arguments":{}}</tool"#, .hermes, [call("add", "{}")]),
    // Malformed calls are content, and do not hide a valid one.
    (" <tool_call> oops</tool_call>", .hermes, [.content(" <tool_call> oops</tool_call>")]),
    (
      #"<tool_call>{"name":"rm","arguments":{}}</tool_call>"#, .hermes,
      [.content(#"<tool_call>{"name":"rm","arguments":{}}</tool_call>"#)]
    ),
    (
      #"<tool_call>{"name":"add","arguments":[]}</tool_call>"#, .hermes,
      [.content(#"<tool_call>{"name":"add","arguments":[]}</tool_call>"#)]
    ),
    (
      #"<tool_call>{"name":"add", "arguments": {"a""#, .hermes,
      [.content(#"<tool_call>{"name":"add", "arguments": {"a""#)]
    ),
    (
      #"<tool_call>{"name":"add","arguments":{}} x"#, .hermes,
      [.content(#"<tool_call>{"name":"add","arguments":{}} x"#)]
    ),
    (
      #"<tool_<tool_call><tool_call>{"name":"now"}</tool_call>"#, .hermes,
      [.content("<tool_<tool_call>"), call("now", "{}")]
    ),
    ("a <tool_cal", .hermes, [.content("a <tool_cal")]),
  ]

  private static let llama3: [Call] = [
    (#"{"name": "add", "parameters": {"a": "1"}}"#, .llama3, [call("add", #"{"a":"1"}"#)]),
    (#"<|python_tag|>{"name": "add", "parameters": {}}"#, .llama3, [call("add", "{}")]),
    (
      #" {"name":"add","parameters":{}}; {"name":"now","parameters":{}}\#n"#, .llama3,
      [call("add", "{}"), call("now", "{}")]
    ),
    (#"{"name": "add"}"#, .llama3, [.content(#"{"name": "add"}"#)]),
    (#"{"name": "Ann", "parameters": {}} "#, .llama3, [.content(#"{"name": "Ann", "parameters": {}} "#)]),
    (#"See {"name": "add", "parameters": {}}"#, .llama3, [.content(#"See {"name": "add", "parameters": {}}"#)]),
    (#"Hm <|python_tag|>{"name":"now","parameters":{}}"#, .llama3, [.content("Hm"), call("now", "{}")]),
    ("<|python_tag|>print(1)", .llama3, [.content("<|python_tag|>print(1)")]),
  ]

  private static let mistral: [Call] = [
    (
      #"[TOOL_CALLS] [{"name":"add","arguments":{"a":1}}, {"name":"now","arguments":{}}]"#, .mistral,
      [call("add", #"{"a":1}"#), call("now", "{}")]
    ),
    (
      #"Well [TOOL_CALLS]add[ARGS]{"a": [1]}[TOOL_CALLS]now[CALL_ID]x1[ARGS] {}"#, .mistral,
      [.content("Well"), call("add", #"{"a":[1]}"#), call("now", "{}")]
    ),
    ("[TOOL_CALLS][]", .mistral, [.content("[TOOL_CALLS][]")]),
    ("[TOOL_CALLS]rm[ARGS]{}", .mistral, [.content("[TOOL_CALLS]rm[ARGS]{}")]),
    ("[TOOL_CALLS]add[ARGS]", .mistral, [.content("[TOOL_CALLS]add[ARGS]")]),
    ("[TOOL_CALLS]add[ARGS]x", .mistral, [.content("[TOOL_CALLS]add[ARGS]x")]),
    ("[TOOL_CALLS]add\n[x]", .mistral, [.content("[TOOL_CALLS]add\n[x]")]),
  ]

  @Test("calls of tools are found wherever the text is split")
  func callsAtEverySplit() {
    for (text, syntax, expected) in Self.hermes + Self.llama3 + Self.mistral {
      for parts in Self.splits(text) {
        var parser = ToolCallParser(syntax, names: ["add", "now"])
        let pieces = parts.flatMap { parser.append($0) } + parser.finish()
        #expect(Self.joined(pieces) == expected, "\(syntax): \(parts)")
      }
    }
  }

  @Test("a name without an end is content after 256 bytes")
  func longNames() {
    var parser = ToolCallParser(.mistral, names: ["add"])
    let text = "[TOOL_CALLS]" + String(repeating: "n", count: 300)
    let pieces = parser.append(text)
    #expect(pieces == [.content(text)])
  }

  @Test("no part of a marker leaves as content before it is decided")
  func markersAreHeld() {
    var parser = ToolCallParser(.hermes, names: ["now"])
    let parts = ["a \n<tool_", "call>{", #""name":"now"}</tool_call"#, ">"]
    let pieces = parts.map { parser.append($0) }
    #expect(pieces == [[.content("a")], [], [], [Self.call("now", "{}")]])
  }

  @Test(
    "reasoning is split from content wherever the text is split",
    arguments: [
      ("", false, "", ""), ("", true, "", ""),
      (" hello ", false, "", " hello "),
      ("<think>\nwhy é < b\n\n</think>\n\n42 <think>\n", false, "why é < b", "42 <think>\n"),
      (" \n<think></think> x", false, "", "x"),
      ("so\nit </thin</think>is", true, "so\nit </thin", "is"),
      ("<think>cut </th", false, "cut </th", ""), ("<think>cut ", false, "cut", ""),
      (" <thin", false, "", " <thin"), ("<thinker>", false, "", "<thinker>"),
      ("x <think>y</think>", false, "", "x <think>y</think>"), ("a</think>", false, "", "a</think>"),
    ] as [(String, Bool, String, String)])
  func reasoningAtEverySplit(text: String, isOpen: Bool, reasoning: String, content: String) {
    for parts in Self.splits(text) {
      var parser = ReasoningParser(isOpen: isOpen)
      var (thought, said) = ("", "")
      for piece in parts.flatMap({ parser.append($0) }) + parser.finish() {
        switch piece {
        case .reasoning(let text): thought += text
        case .content(let text): said += text
        }
      }
      #expect(thought == reasoning && said == content, "\(parts): '\(thought)', '\(said)'")
    }
  }

  @Test(
    "an answer that begins with reasoning may lack the first tag",
    arguments: [
      ("", "", ""), ("why </thi</think>\n42", "why </thi", "42"), ("<think>\nwhy</think>42", "why", "42"),
      (" <thin is cut", "<thin is cut", ""), ("\n<thi", "<thi", ""), ("</think>42", "", "42"), (" \n ", "", ""),
    ] as [(String, String, String)])
  func impliedReasoning(text: String, reasoning: String, content: String) {
    for parts in Self.splits(text) {
      var parser = ReasoningParser(needsOpening: false)
      var (thought, said) = ("", "")
      for piece in parts.flatMap({ parser.append($0) }) + parser.finish() {
        switch piece {
        case .reasoning(let text): thought += text
        case .content(let text): said += text
        }
      }
      #expect(thought == reasoning && said == content, "\(parts): '\(thought)', '\(said)'")
    }
  }

  @Test("parsers are chosen by the names of vLLM")
  func choices() {
    #expect(ParserChoice<ToolSyntax>.names == ["auto", "none", "hermes", "llama3_json", "mistral"])
    #expect(ParserChoice<ReasoningStyle>.names == ["auto", "none", "qwen3", "deepseek_r1"])
    for name in ParserChoice<ToolSyntax>.names { #expect(ParserChoice<ToolSyntax>(name: name)?.name == name) }
    #expect(ParserChoice<ToolSyntax>(name: "llama3") == nil)
  }

  @Test("the markers of a template and of a vocabulary choose the syntax")
  func detection() {
    #expect(ToolSyntax(template: "... <tool_call> ...", knows: { _ in false }) == .hermes)
    #expect(ToolSyntax(template: "{{ '[TOOL_CALLS]' }}", knows: { _ in false }) == .mistral)
    #expect(ToolSyntax(template: #"{"name": n, "parameters": d}"#, knows: { $0 == "<|python_tag|>" }) == .llama3)
    #expect(ToolSyntax(template: #"{"name": n, "parameters": d}"#, knows: { _ in false }) == nil)
    #expect(ToolSyntax(template: "", knows: { _ in true }) == nil)
    for marker in ["<function=", "<arg_key>", "<|channel|>"] {
      let template = "<tool_call>\n\(marker)"
      #expect(ToolSyntax(template: template, knows: { _ in true }) == nil)
      #expect(ToolSyntax.unknownMarker(template: template) == marker)
    }
    #expect(ToolSyntax.unknownMarker(template: "<tool_call>") == nil)
  }

  @Test("reasoning, content and calls come in their order, and those that are not wanted are left out")
  func combination() {
    let text =
      #"<think>a <tool_call>{"name":"now"}</tool_call></think>b<tool_call>{"name":"now"}</tool_call>"#
      + #"<tool_call>{"name":"add"}</tool_call>"#
    let (now, add) = (ToolCall(name: "now", arguments: "{}"), ToolCall(name: "add", arguments: "{}"))
    let thought = OutputParser.Piece.reasoning(#"a <tool_call>{"name":"now"}</tool_call>"#)
    var parser = OutputParser(
      reasoning: ReasoningParser(), calls: ToolCallParser(.hermes, names: ["now", "add"]))
    #expect(Self.pieces(text, parser) == [thought, .content("b"), .call(now, index: 0), .call(add, index: 1)])
    parser.isParallel = false
    #expect(Self.pieces(text, parser) == [thought, .content("b"), .call(now, index: 0)])
    parser.includesReasoning = false
    #expect(Self.pieces(text, parser) == [.content("b"), .call(now, index: 0)])
    #expect(Self.pieces(text, OutputParser()) == [.content(text)])
  }

  private static func pieces(_ text: String, _ parser: OutputParser) -> [OutputParser.Piece] {
    var parser = parser
    return parser.append(text) + parser.finish()
  }

  /// The text as one string, in single characters, and in two parts at each position between scalars.
  private static func splits(_ text: String) -> [[String]] {
    let scalars = text.unicodeScalars
    return [[text], scalars.map { String($0) }]
      + scalars.indices.map { [String(scalars[..<$0]), String(scalars[$0...])] }
  }

  /// Joins content that came in several pieces.
  private static func joined(_ pieces: [ToolCallParser.Piece]) -> [ToolCallParser.Piece] {
    pieces.reduce(into: []) { all, piece in
      if case .content(let before) = all.last, case .content(let more) = piece {
        all[all.count - 1] = .content(before + more)
      } else {
        all.append(piece)
      }
    }
  }
}
