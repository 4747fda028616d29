import EagleCore
import Foundation
import Testing

/// `/v1/responses` over HTTP, with the model of `Tools/fixtures/make_tool_model.py`.
@Suite(.serialized) struct ResponseCommandTests {
  private static let answer = "The sum is 5 and the product is 6."
  private static let tools: JSON = [tool("add"), tool("multiply")]

  private static func tool(_ name: String) -> JSON {
    ["type": "function", "name": .string(name), "parameters": ["type": "object"]]
  }

  private func serve() throws -> Served { try Served(target: "\(Command.root)/Tests/Fixtures/tool-model-hermes") }

  private func ask(_ served: Served, _ input: JSON, _ more: [(String, JSON)] = []) throws -> HTTPAnswer {
    try served.ask(
      "POST", "/v1/responses", body: JSON.object(JSON.Object([("input", input)] + more)).text())
  }

  private func response(_ answer: HTTPAnswer) throws -> JSON.Object {
    try #require(try JSON.read(answer.body).object, "\(answer.text)")
  }

  /// The last event's response, after a check that the events before it gave the same items.
  private func streamed(_ answer: HTTPAnswer) throws -> JSON.Object {
    let events = try answer.text.components(separatedBy: "\n\n").filter { !$0.isEmpty }.map { event in
      let data = try #require(event.split(separator: "\n").last).dropFirst("data: ".count)
      return try #require(try JSON.read(Data(data.utf8)).object)
    }
    let last = try #require(events.last?["response"]?.object, "\(answer.text)")
    let items = events.filter { $0["type"] == "response.output_item.done" }.compactMap { $0["item"] }
    #expect(last["output"] == .array(items))
    for (type, key) in [("output_text", "text"), ("function_call_arguments", "arguments"), ("reasoning_text", "text")] {
      func text(_ change: String, _ key: String) -> String {
        events.filter { $0["type"]?.string == "response.\(type).\(change)" }
          .compactMap { $0[key]?.string }.joined()
      }
      #expect(text("delta", "delta") == text("done", key))
    }
    return last
  }

  private func types(_ response: JSON.Object) -> [JSON?] {
    response["output"]?.array?.map { $0.object?["type"] } ?? []
  }

  private func text(_ response: JSON.Object) -> String? {
    let message = response["output"]?.array?.first { $0.object?["type"] == "message" }
    return message?.object?["content"]?.array?.first?.object?["text"]?.string
  }

  @Test("a model reasons, calls two tools, gets their results as items and answers, whole and streamed")
  func loop() throws {
    let served = try serve()
    let question: JSON = ["role": "user", "content": "2 and 3?"]
    for isStreaming in [false, true] {
      func ask(_ input: [JSON]) throws -> JSON.Object {
        let answer = try self.ask(
          served, .array(input), [("tools", Self.tools), ("stream", .bool(isStreaming)), ("metadata", ["a": "b"])])
        try #require(answer.status == 200, "\(answer.text)")
        return isStreaming ? try streamed(answer) : try response(answer)
      }
      let first = try ask([question])
      #expect(types(first) == ["reasoning", "function_call", "function_call"] && first["status"] == "completed")
      #expect(first["metadata"] == ["a": "b"] && first["tools"] == Self.tools)
      let details = first["usage"]?.object?["output_tokens_details"]?.object
      #expect(details?["reasoning_tokens"]?.int == 4)
      let output = try #require(first["output"]?.array)
      let calls = output.compactMap(\.object).filter { $0["type"] == "function_call" }
      #expect(calls.map { $0["name"] } == ["add", "multiply"] && calls[0]["arguments"] == #"{"a":2,"b":3}"#)
      func results(_ texts: [JSON]) -> [JSON] {
        zip(calls, texts).map { ["type": "function_call_output", "call_id": $0["call_id"] ?? .null, "output": $1] }
      }
      let second = try ask([question] + output + results(["5", "6"]))
      #expect(types(second) == ["reasoning", "message"] && text(second) == Self.answer)
      #expect(text(try ask([question] + output + results(["5", "# no"]))) == "The tool failed.")
    }
  }

  @Test("a text, its limit and its errors are as the API has them")
  func texts() throws {
    let served = try serve()
    let plain = try response(try ask(served, "hello", [("instructions", "be short")]))
    #expect(text(plain) == "I have no tools." && plain["instructions"] == "be short")
    for isStreaming: JSON in [false, true] {
      let answer = try ask(served, "hello", [("max_output_tokens", 5), ("stream", isStreaming)])
      let cut = isStreaming == true ? try streamed(answer) : try response(answer)
      #expect(cut["status"] == "incomplete" && cut["incomplete_details"] == ["reason": "max_output_tokens"])
      #expect(text(cut) == "I have")
    }
    let noted = try ask(served, "hello", [("store", true), ("mood", 1)])
    #expect(noted.headers["x-eagle-ignored"] == "mood, store")
    for (name, value): (String, JSON) in [("previous_response_id", "resp_1"), ("tool_choice", "required")] {
      let refused = try ask(served, "hello", [(name, value)])
      #expect(refused.status == 400 && refused.error?["param"] as? String == name)
    }
    let long = try ask(served, .string(String(repeating: "x", count: 9000)))
    #expect(long.error?["param"] as? String == "input")
    #expect(try served.metric(#"eagle_requests_total{endpoint="/v1/responses",status="200"}"#) == 4)
  }
}
