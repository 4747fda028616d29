import EagleServer
import EagleText
import Foundation
import Testing

@Suite struct RequestTests {
  private func chat(_ json: String) throws -> ChatRequest {
    try ChatRequest(try RequestFields(Data(json.utf8)), served: "small", draw: { 99 })
  }

  private func completion(_ json: String) throws -> CompletionRequest {
    try CompletionRequest(try RequestFields(Data(json.utf8)), served: "small", draw: { 99 })
  }

  private static let message = #""messages": [{"role": "user", "content": "hello"}]"#

  @Test func whatIsNotSaidIsAsTheAPISaysIt() throws {
    let request = try chat("{\(Self.message)}")
    #expect(request.messages == [ChatMessage(role: .user, content: "hello")])
    let settings = request.settings
    #expect(settings.sampling.temperature == 1 && settings.sampling.topP == 1 && settings.sampling.seed == 99)
    #expect(settings.maxTokens == nil && settings.stops.isEmpty && !settings.isStreaming && !settings.hasSeed)
    #expect(try completion(#"{"prompt": "once"}"#).prompt == .text("once"))
  }

  @Test func everyFieldIsRead() throws {
    let settings = try chat(
      """
      {"model": "small", \(Self.message), "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "n": 1,
       "repetition_penalty": 1.1, "max_tokens": 7, "max_completion_tokens": 9, "stop": ["a", "b"], "seed": -3,
       "stream": true, "stream_options": {"include_usage": true}, "user": "someone", "presence_penalty": 0.0,
       "logit_bias": {}, "tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "logprobs": null}
      """
    ).settings
    #expect(settings.sampling.temperature == 0.5 && settings.sampling.topP == 0.9 && settings.sampling.topK == 40)
    #expect(settings.sampling.minP == 0.05 && settings.sampling.repetitionPenalty == 1.1)
    #expect(settings.maxTokens == 9 && settings.stops == ["a", "b"] && settings.isStreaming && settings.includesUsage)
    #expect(settings.hasSeed && settings.sampling.seed == UInt64(bitPattern: -3))
    #expect(try chat("{\(Self.message), \"stop\": \"x\", \"temperature\": 0.001}").settings.stops == ["x"])
    #expect(try chat("{\(Self.message), \"temperature\": 0.001, \"top_k\": -1}").settings.sampling.isGreedy)
  }

  @Test func contentMayComeInPartsAndRolesByTheirNewNames() throws {
    let request = try chat(
      """
      {"messages": [{"role": "developer", "content": "be short"}, {"role": "user", "name": "x", "content":
       [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]}
      """)
    #expect(request.messages.map(\.role) == [.system, .user] && request.messages[1].content == "one\ntwo")
    #expect(request.messages[1].extra["name"] == "x")
  }

  @Test("contents may be null, empty, plain strings or parts of either name")
  func contents() throws {
    for (content, text) in [
      ("null", ""), ("[]", ""), (#"["a", "b"]"#, "a\nb"), (#"[{"type": "input_text", "text": "a"}, "b"]"#, "a\nb"),
    ] {
      let request = try chat("{\"messages\": [{\"role\": \"user\", \"content\": \(content)}]}")
      #expect(request.messages == [ChatMessage(role: .user, content: text)], "\(content)")
    }
    #expect(try chat(#"{"messages": [{"role": "assistant"}]}"#).messages[0].content == "")
  }

  @Test("other keys of a message are kept and are no error")
  func otherKeys() throws {
    let request = try chat(
      #"""
      {"messages": [{"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [], "id": "m1",
       "function_call": null, "prefix": true, "cache_control": {"type": "ephemeral"}, "name": "x"}]}
      """#)
    let extra = request.messages[0].extra
    #expect(
      extra.keys == ["reasoning_content", "tool_calls", "id", "function_call", "prefix", "cache_control", "name"])
    #expect(extra["cache_control"] == ["type": "ephemeral"] && extra["reasoning_content"] == "hm")
  }

  @Test func promptsAreTextOrIds() throws {
    #expect(try completion(#"{"prompt": ["once"]}"#).prompt == .text("once"))
    #expect(try completion(#"{"prompt": [1, 2]}"#).prompt == .ids([1, 2]))
    #expect(try completion(#"{"prompt": [[1, 2]]}"#).prompt == .ids([1, 2]))
  }

  /// Each names the field at fault and answers with the right status.
  @Test(arguments: [
    ("", nil, 400), ("nonsense", nil, 400), ("[1]", nil, 400), ("{}", "messages", 400),
    (#"{"messages": []}"#, "messages", 400), (#"{"messages": "hello"}"#, "messages", 400),
    (#"{"messages": [{"role": "tool", "content": "x"}]}"#, "messages[0].role", 400),
    (#"{"messages": [{"role": "user"}]}"#, "messages[0].content", 400),
    (#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#, "messages[0].content[0]", 400),
    (#"{"messages": [{"role": "assistant", "tool_calls": [{}]}]}"#, "messages[0].tool_calls", 400),
    (#"{"messages": [{"role": "function", "content": "x"}]}"#, "messages[0].role", 400),
    (#"{"messages": [{"role": "user", "content": 5}]}"#, "messages[0].content", 400),
    ("{MESSAGE, \"model\": \"large\"}", "model", 404), ("{MESSAGE, \"n\": 2}", "n", 400),
    ("{MESSAGE, \"temperature\": 3}", "temperature", 400), ("{MESSAGE, \"temperature\": \"hot\"}", "temperature", 400),
    ("{MESSAGE, \"temperature\": true}", "temperature", 400), ("{MESSAGE, \"top_p\": 0}", "top_p", 400),
    ("{MESSAGE, \"max_tokens\": 0}", "max_tokens", 400), ("{MESSAGE, \"max_tokens\": 1.5}", "max_tokens", 400),
    ("{MESSAGE, \"stop\": [\"a\", \"b\", \"c\", \"d\", \"e\"]}", "stop", 400),
    ("{MESSAGE, \"stop\": \"\"}", "stop", 400),
    ("{MESSAGE, \"stop\": [1]}", "stop", 400), ("{MESSAGE, \"stream\": 1}", "stream", 400),
    ("{MESSAGE, \"stream_options\": {}}", "stream_options", 400),
    ("{MESSAGE, \"stream\": true, \"stream_options\": {\"x\": 1}}", "stream_options.x", 400),
    ("{MESSAGE, \"logprobs\": true}", "logprobs", 400), ("{MESSAGE, \"tools\": [{}]}", "tools", 400),
    ("{MESSAGE, \"presence_penalty\": 1}", "presence_penalty", 400),
    ("{MESSAGE, \"tempertaure\": 1}", "tempertaure", 400),
    ("{MESSAGE, \"response_format\": {\"type\": \"json_object\"}}", "response_format", 400),
  ])
  func whatIsWrongIsNamed(body: String, param: String?, status: Int) throws {
    let error = try #require(throws: APIError.self) {
      try chat(body.replacingOccurrences(of: "MESSAGE", with: Self.message))
    }
    #expect(error.param == param && error.status == status && error.type == "invalid_request_error", "\(error)")
  }

  @Test(arguments: [
    ("{}", "prompt"), (#"{"prompt": ""}"#, "prompt"), (#"{"prompt": []}"#, "prompt"),
    (#"{"prompt": ["a", "b"]}"#, "prompt"),
    (#"{"prompt": {"a": 1}}"#, "prompt"), (#"{"prompt": "a", "echo": true}"#, "echo"),
    (#"{"prompt": "a", "best_of": 2}"#, "best_of"), (#"{"prompt": "a", "logprobs": 0}"#, "logprobs"),
    (#"{"prompt": "a", "suffix": "b"}"#, "suffix"), (#"{"prompt": "a", "messages": []}"#, "messages"),
  ])
  func wrongCompletionsAreNamed(body: String, param: String) throws {
    let error = try #require(throws: APIError.self) { try completion(body) }
    #expect(error.param == param && error.status == 400, "\(error)")
  }

  @Test("nesting costs nothing: deep bodies are refused, and wide ones inside the limit read in linear time")
  func hostileBodies() throws {
    let start = ContinuousClock.now
    let deep = String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
    let error = try #require(throws: APIError.self) { try chat("{\(Self.message), \"x\": \(deep)}") }
    #expect(error.status == 400 && error.message.contains("nested more than 64 deep"))
    let numbers = String(repeating: "1.5,", count: 250_000) + "1.5"
    let wide = String(repeating: "[", count: 60) + numbers + String(repeating: "]", count: 60)
    #expect(throws: APIError.self) { try chat("{\(Self.message), \"temperature\": \(wide)}") }
    // A quarter of an hour with a decoder that tries one type after the other.
    #expect(ContinuousClock.now - start < .seconds(3))
  }

  @Test("a body that is no JSON is refused with the place of the fault")
  func placeOfFaults() throws {
    let error = try #require(throws: APIError.self) { try chat("{\"messages\": [}") }
    #expect(error.message.contains("line 1, column 15 (byte 14)"), "\(error.message)")
  }

  @Test func errorsHaveTheShapeOfTheAPI() throws {
    let error = try #require(throws: APIError.self) { try chat("{\(Self.message), \"n\": 2}") }
    let json = try #require(try JSONSerialization.jsonObject(with: error.body) as? [String: [String: Any]])
    let fields = try #require(json["error"])
    #expect(Set(fields.keys) == ["message", "type", "param", "code"])
    #expect(fields["param"] as? String == "n" && fields["code"] as? String == "unsupported_value")
    let plain = try #require(
      try JSONSerialization.jsonObject(with: APIError.failed("x").body) as? [String: [String: Any]])
    #expect(plain["error"]?["param"] is NSNull && plain["error"]?["message"] as? String == "x")
    #expect(APIError.queueFull(waiting: 3, retryAfter: 7).headers == ["Retry-After": "7"])
  }
}
