import EagleCore
import Foundation
import Testing

/// Tool calls and reasoning over HTTP, by the model of `Tools/fixtures/make_tool_model.py`, which generates both.
@Suite(.serialized) struct ToolCallCommandTests {
  private static let models = ["hermes", "mistral"]
  private static let chat = "/v1/chat/completions"
  private static let reasoning = "The user wants numbers."
  private static let answer = "The sum is 5 and the product is 6."

  private func serve(_ model: String, _ flags: [String] = []) throws -> Served {
    try Served(target: "\(Command.root)/Tests/Fixtures/tool-model-\(model)", flags)
  }

  private static func tool(_ name: String) -> JSON {
    ["type": "function", "function": ["name": .string(name), "parameters": ["type": "object"]]]
  }

  private static let tools: JSON = [tool("add"), tool("multiply")]
  private static let question: JSON = ["role": "user", "content": "2 and 3?"]

  private func ask(_ served: Served, _ messages: [JSON], _ more: [(String, JSON)] = []) throws -> HTTPAnswer {
    let body = JSON.object(JSON.Object([("messages", .array(messages)), ("tools", Self.tools)] + more))
    return try served.ask("POST", Self.chat, body: body.text())
  }

  private func object(_ answer: HTTPAnswer) throws -> JSON.Object { try #require(try JSON.read(answer.body).object) }

  /// The message of a complete response.
  private func message(_ answer: HTTPAnswer) throws -> JSON.Object {
    let choice = try object(answer)["choices"]?.array?.first?.object
    return try #require(choice?["message"]?.object, "\(answer.text)")
  }

  /// The message that a client assembles from the deltas of a stream.
  private func streamedMessage(_ answer: HTTPAnswer) throws -> (message: JSON.Object, finish: JSON?) {
    var (texts, calls, finish) = (["content": "", "reasoning_content": ""], [JSON.Object](), JSON?.none)
    for event in answer.text.components(separatedBy: "\n\n") where event.hasPrefix("data: {") {
      let value = try JSON.read(Data(event.dropFirst("data: ".count).utf8))
      guard let choice = value.object?["choices"]?.array?.first?.object else { continue }
      if let reason = choice["finish_reason"], !reason.isNull { finish = reason }
      for key in texts.keys { texts[key]? += choice["delta"]?.object?[key]?.string ?? "" }
      for part in choice["delta"]?.object?["tool_calls"]?.array ?? [] {
        let fields = try #require(part.object)
        let index = try #require(fields["index"]?.int)
        let function = try #require(fields["function"]?.object)
        if index == calls.count {
          var call = fields
          call["index"] = nil
          calls.append(call)
        }
        guard fields["id"] == nil, var begun = calls[index]["function"]?.object else { continue }
        let more = function["arguments"]?.string ?? ""
        begun["arguments"] = .string((begun["arguments"]?.string ?? "") + more)
        calls[index]["function"] = .object(begun)
      }
    }
    var message = JSON.Object([("role", "assistant")])
    for (key, text) in texts where !text.isEmpty { message[key] = .string(text) }
    if !calls.isEmpty { message["tool_calls"] = .array(calls.map(JSON.object)) }
    return (message, finish)
  }

  private func functions(_ message: JSON.Object) -> [JSON] {
    message["tool_calls"]?.array?.compactMap { $0.object?["function"] } ?? []
  }

  private static func function(_ name: String) -> JSON { ["name": .string(name), "arguments": #"{"a":2,"b":3}"#] }

  /// The messages after the first answer: its calls, and a result for each.
  private func history(_ first: JSON.Object, results: [JSON]) throws -> [JSON] {
    let calls = first["tool_calls"]?.array ?? []
    try #require(calls.count == results.count)
    return [Self.question, .object(first)]
      + zip(calls, results).map { ["role": "tool", "tool_call_id": $0.object?["id"] ?? .null, "content": $1] }
  }

  @Test("a model reasons, calls two tools, gets their results and answers", arguments: models)
  func loop(model: String) throws {
    let served = try serve(model)
    let whole = try ask(served, [Self.question])
    let first = try message(whole)
    #expect(first["reasoning_content"]?.string == Self.reasoning && first["content"] == .null, "\(whole.text)")
    #expect(functions(first) == [Self.function("add"), Self.function("multiply")])
    let choice = try object(whole)["choices"]?.array?.first?.object
    #expect(choice?["finish_reason"] == "tool_calls")
    let usage = try object(whole)["usage"]?.object?["completion_tokens_details"]?.object
    // <think>, two tokens of reasoning, and </think>, which ends it.
    #expect(usage?["reasoning_tokens"]?.int == 4)

    let stream = try streamedMessage(try ask(served, [Self.question], [("stream", true)]))
    #expect(stream.finish == "tool_calls" && functions(stream.message) == functions(first))
    #expect(stream.message["reasoning_content"]?.string == Self.reasoning && stream.message["content"] == nil)

    for sent in [first, stream.message] {
      let second = try ask(served, try history(sent, results: ["5", "6"]))
      #expect(try message(second)["content"]?.string == Self.answer, "\(second.text)")
      #expect(try message(second)["tool_calls"] == nil)
      // The results of tools are in the prompt, in which the model looks for a #.
      let failed = try ask(served, try history(sent, results: ["5", "# no"]), [("stream", true)])
      #expect(try streamedMessage(failed).message["content"]?.string == "The tool failed.")
    }
  }

  @Test("what a request says about tools and reasoning is heeded", arguments: models)
  func settings(model: String) throws {
    let served = try serve(model)
    func first(_ more: (String, JSON)...) throws -> JSON.Object {
      try message(try ask(served, [Self.question], more))
    }
    #expect(functions(try first(("parallel_tool_calls", false))) == [Self.function("add")])
    #expect(try first(("tool_choice", "none"))["content"]?.string == "I have no tools.")
    let silent = try first(("include_reasoning", false))
    #expect(silent["reasoning_content"] == nil && functions(silent).count == 2)
    let brief = try first(("chat_template_kwargs", ["enable_thinking": false]))
    #expect(brief["reasoning_content"] == nil && functions(brief).count == 2)
    // A call of a tool that the request does not have is text.
    let one = try first(("tools", [Self.tool("multiply")]))
    #expect(one["content"]?.string?.contains(#"{"name": "add", "arguments": {"a": 2, "b": 3}}"#) == true)
    let cut = try object(try ask(served, [Self.question], [("max_tokens", 6)]))
    #expect(cut["choices"]?.array?.first?.object?["finish_reason"] == "length")
  }

  @Test("parsers that are switched off leave calls and reasoning in the text")
  func withoutParsers() throws {
    let served = try serve("hermes", ["--tool-parser", "none", "--reasoning-parser", "none"])
    let whole = try message(try ask(served, [Self.question]))
    let text = try #require(whole["content"]?.string)
    #expect(text.hasPrefix("<think>\n\(Self.reasoning)</think><tool_call>\n{\"name\": \"add\""), "\(text)")
  }

  @Test("special tokens other than the markers of calls are no text", arguments: models)
  func specialTokens(model: String) throws {
    let served = try serve(model)
    let call: JSON = ["id": "c", "type": "function", "function": ["name": "add", "arguments": "{}"]]
    let messages: [JSON] = [
      Self.question, ["role": "assistant", "content": nil, "tool_calls": [call]],
      ["role": "tool", "tool_call_id": "c", "content": "5"],
    ]
    // The ignored end of the turn is a special token.
    let more: [(String, JSON)] = [("ignore_eos", true), ("max_tokens", 9), ("temperature", 0)]
    let whole = try message(try ask(served, messages, more))
    let text = try #require(whole["content"]?.string)
    #expect(text.hasPrefix(Self.answer) && !text.contains("<|im_end|>"), "\(text)")
    let shown = try ask(served, messages, more + [("skip_special_tokens", false)])
    #expect(try message(shown)["content"]?.string?.contains("<|im_end|>") == true)
  }
}
