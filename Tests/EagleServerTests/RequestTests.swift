import EagleCore
import EagleDecoding
import EagleDraft
import EagleServer
import EagleText
import Foundation
import Testing

@Suite struct RequestTests {
  private var rules: RequestRules {
    var rules = RequestRules(names: ["small", "tiny"], vocabularySize: 1000)
    rules.maxPrompts = 3
    return rules
  }

  private func chat(_ json: String, _ rules: RequestRules? = nil) throws -> ChatRequest {
    try ChatRequest(try RequestFields(Data(json.utf8)), rules ?? self.rules, makeSeed: { 99 })
  }

  private func completion(_ json: String) throws -> CompletionRequest {
    try CompletionRequest(try RequestFields(Data(json.utf8)), rules, makeSeed: { 99 })
  }

  /// The settings of a chat request with these fields in addition to its message.
  private func settings(_ fields: String) throws -> GenerationSettings {
    try chat("{\(Self.message), \(fields)}").settings
  }

  private static let message = #""messages": [{"role": "user", "content": "hello"}]"#

  @Test("fields that are absent take the API's defaults")
  func defaultsOfTheAPI() throws {
    let request = try chat("{\(Self.message)}")
    #expect(request.messages == [ChatMessage(role: .user, content: "hello")])
    let settings = request.settings
    #expect(settings.sampling.temperature == 1 && settings.sampling.topP == 1 && settings.sampling.seed == 99)
    #expect(settings.maxTokens == nil && settings.stops.isEmpty && !settings.isStreaming)
    #expect(try completion(#"{"prompt": "once"}"#).prompts == [.text("once")])
  }

  @Test("every supported field is read")
  func everyFieldIsRead() throws {
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
    #expect(settings.sampling.seed == UInt64(bitPattern: -3))
    #expect(try chat("{\(Self.message), \"stop\": \"x\", \"temperature\": 0.001}").settings.stops == ["x"])
    #expect(try chat("{\(Self.message), \"temperature\": 0.001, \"top_k\": -1}").settings.sampling.isGreedy)
  }

  @Test("content may be a list of parts, and developer is a role of its own")
  func contentMayComeInPartsAndRolesByTheirNewNames() throws {
    let request = try chat(
      """
      {"messages": [{"role": "developer", "content": "be short"}, {"role": "user", "name": "x", "content":
       [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]}
      """)
    #expect(request.messages.map(\.role) == [.developer, .user] && request.messages[1].content == "one\ntwo")
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

  @Test("a prompt is text or token ids")
  func promptsAreTextOrIds() throws {
    #expect(try completion(#"{"prompt": ["once"]}"#).prompts == [.text("once")])
    #expect(try completion(#"{"prompt": [1, 2]}"#).prompts == [.ids([1, 2])])
    #expect(try completion(#"{"prompt": [[1, 2]]}"#).prompts == [.ids([1, 2])])
    #expect(try completion(#"{"prompt": ["a", [3], "b"]}"#).prompts == [.text("a"), .ids([3]), .text("b")])
  }

  @Test("the length may be without limit, and is never above what fits in a number")
  func lengths() throws {
    #expect(try settings("\"max_tokens\": -1").maxTokens == nil && settings("\"max_tokens\": -1").hasNoLimit)
    #expect(try settings("\"seed\": 1").maxTokens == nil && !settings("\"seed\": 1").hasNoLimit)
    #expect(try settings("\"max_tokens\": 5, \"max_completion_tokens\": -1").maxTokens == 5)
    #expect(try settings("\"max_tokens\": 9223372036854775807").maxTokens == .max)
    #expect(try settings("\"max_tokens\": 2.0").maxTokens == 2)
  }

  @Test("16 stop strings are taken, and empty ones are none")
  func stopStrings() throws {
    let list = (1...16).map { "\"s\($0)\"" }.joined(separator: ",")
    #expect(try settings("\"stop\": [\(list)]").stops.count == 16)
    #expect(try settings("\"stop\": [\"\", \"a\"]").stops == ["a"])
    #expect(try settings("\"stop\": \"\"").stops == [])
    #expect(try settings("\"stop\": \"\(String(repeating: "a", count: 1024))\"").stops.count == 1)
  }

  @Test(
    "a seed is any number of 64 bits, with a sign or without",
    arguments: [
      ("0", 0), ("-1", UInt64.max), ("9223372036854775808", 1 << 63), ("18446744073709551615", .max), ("42.0", 42),
      ("-9223372036854775808", 1 << 63),
    ] as [(String, UInt64)])
  func seeds(text: String, seed: UInt64) throws {
    let settings = try settings("\"seed\": \(text)")
    #expect(settings.sampling.seed == seed)
  }

  @Test("top_p 0 takes the likeliest token")
  func topPZero() throws {
    let sampling = try settings("\"top_p\": 0").sampling
    #expect(sampling.isGreedy)
    #expect(throws: Never.self) { try sampling.validate() }
  }

  @Test("penalties, biases and ends of one's own are read")
  func penalties() throws {
    let settings = try settings(
      #"""
      "presence_penalty": 0.5, "frequency_penalty": -2, "logit_bias": {"7": -100, "999": 1.5}, "ignore_eos": true,
      "stop_token_ids": [3, 4], "skip_special_tokens": false
      """#)
    #expect(settings.sampling.presencePenalty == 0.5 && settings.sampling.frequencyPenalty == -2)
    #expect(settings.sampling.logitBias == [7: -100, 999: 1.5] && settings.stopIDs == [3, 4])
    #expect(settings.ignoresEnd && !settings.skipsSpecial && settings.ignored.isEmpty)
    #expect(try self.settings("\"logit_bias\": []").sampling.logitBias.isEmpty)
  }

  @Test("logprobs are asked for as each endpoint says it")
  func logprobs() throws {
    #expect(try settings("\"logprobs\": true").sampling.logprobs == 0)
    #expect(try settings("\"logprobs\": true, \"top_logprobs\": 20").sampling.logprobs == 20)
    #expect(try settings("\"logprobs\": false, \"top_logprobs\": 0").sampling.logprobs == nil)
    #expect(try completion(#"{"prompt": "a", "logprobs": 0}"#).settings.sampling.logprobs == 0)
    #expect(try completion(#"{"prompt": "a", "logprobs": 5}"#).settings.sampling.logprobs == 5)
    #expect(try completion(#"{"prompt": "a", "logprobs": false}"#).settings.sampling.logprobs == nil)
  }

  @Test("unknown fields are ignored and named, and refused where the server is strict")
  func unknownFields() throws {
    let body =
      "{\(Self.message), \"top_a\": \"low\", \"verbosity\": null, \"min_tokens\": 3, \"stream\": true, "
      + "\"stream_options\": {\"x\": 1}}"
    #expect(try chat(body).settings.ignored == ["stream_options.x", "top_a", "min_tokens"])
    var strict = rules
    strict.isStrict = true
    let error = try #require(throws: APIError.self) { try chat(body, strict) }
    #expect(error.param == "stream_options.x" && error.code == "unknown_parameter")
    #expect(throws: Never.self) { try chat("{\(Self.message), \"verbosity\": null}", strict) }
  }

  @Test("variables of the chat template come from chat_template_kwargs and from two fields beside it")
  func templateOptions() throws {
    let body = "{\(Self.message), \"chat_template_kwargs\": {\"a\": 1, \"enable_thinking\": true}, "
    let request = try chat(body + "\"enable_thinking\": false, \"reasoning_effort\": \"low\"}", rules)
    #expect(
      request.templateOptions == JSON.Object([("a", 1), ("enable_thinking", false), ("reasoning_effort", "low")]))
    #expect(request.settings.ignored.isEmpty)
    let error = try #require(throws: APIError.self) {
      try chat("{\(Self.message), \"chat_template_kwargs\": 3}", rules)
    }
    #expect(error.param == "chat_template_kwargs")
  }

  @Test("a model has several names, none is its first, and any may do")
  func modelNames() throws {
    for name in ["small", "tiny", ""] { #expect(throws: Never.self) { try settings("\"model\": \"\(name)\"") } }
    var rules = rules
    rules.takesAnyName = true
    #expect(throws: Never.self) { try chat("{\(Self.message), \"model\": \"gpt-4o-mini\"}", rules) }
    let error = try #require(throws: APIError.self) { try settings("\"model\": \"large\"") }
    #expect(error.status == 404 && error.message.contains("'small', 'tiny'"))
  }

  @Test("what an answer's header lists cannot break the header")
  func ignoredNames() {
    #expect(IgnoredFields.list(["a_b-c.d", "x\r\nSet-Cookie: y", "é"]) == "a_b-c.d, x??Set-Cookie??y, ?")
    #expect(IgnoredFields.list([String(repeating: "a", count: 100)]).count == 64)
    #expect(IgnoredFields.list((0..<30).map { "\($0)" }).hasSuffix("19, ..."))
  }

  /// Each error names the invalid field and has the right status.
  @Test(
    "an invalid chat request is answered with its status and field",
    arguments: [
      ("", nil, 400), ("nonsense", nil, 400), ("[1]", nil, 400), ("{}", "messages", 400),
      (#"{"messages": []}"#, "messages", 400), (#"{"messages": "hello"}"#, "messages", 400),
      (#"{"messages": [{"role": "tool", "content": "x"}]}"#, "messages[0].tool_call_id", 400),
      (#"{"messages": [{"role": "user"}]}"#, "messages[0].content", 400),
      (#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#, "messages[0].content[0]", 400),
      (#"{"messages": [{"role": "assistant", "tool_calls": [{}]}]}"#, "messages[0].tool_calls[0]", 400),
      // Calls without their results cannot be continued.
      (
        #"{"messages": [{"role": "assistant", "content": "x", "tool_calls": [{"function": {"name": "a"}}]}]}"#,
        "messages", 400
      ),
      (#"{"messages": [{"role": "function", "content": "x"}]}"#, "messages[0].role", 400),
      (#"{"messages": [{"role": "user", "content": 5}]}"#, "messages[0].content", 400),
      ("{MESSAGE, \"model\": \"large\"}", "model", 404), ("{MESSAGE, \"n\": 2}", "n", 400),
      ("{MESSAGE, \"temperature\": 3}", "temperature", 400),
      ("{MESSAGE, \"temperature\": \"hot\"}", "temperature", 400),
      ("{MESSAGE, \"temperature\": true}", "temperature", 400), ("{MESSAGE, \"top_p\": -0.1}", "top_p", 400),
      ("{MESSAGE, \"max_tokens\": -2}", "max_tokens", 400), ("{MESSAGE, \"seed\": 18446744073709551616}", "seed", 400),
      ("{MESSAGE, \"seed\": 1.5}", "seed", 400), ("{MESSAGE, \"seed\": \"a\"}", "seed", 400),
      ("{MESSAGE, \"max_tokens\": 0}", "max_tokens", 400), ("{MESSAGE, \"max_tokens\": 1.5}", "max_tokens", 400),
      ("{MESSAGE, \"stop\": [\(Array(repeating: "\"a\"", count: 17).joined(separator: ","))]}", "stop", 400),
      ("{MESSAGE, \"stop\": \"\(String(repeating: "a", count: 1025))\"}", "stop", 400),
      ("{MESSAGE, \"stop\": [1]}", "stop", 400), ("{MESSAGE, \"stream\": 1}", "stream", 400),
      ("{MESSAGE, \"stream_options\": {}}", "stream_options", 400),
      ("{MESSAGE, \"stream\": true, \"stream_options\": {\"include_usage\": 1}}", "stream_options.include_usage", 400),
      ("{MESSAGE, \"logprobs\": 3}", "logprobs", 400), ("{MESSAGE, \"top_logprobs\": 2}", "top_logprobs", 400),
      ("{MESSAGE, \"logprobs\": true, \"top_logprobs\": 21}", "top_logprobs", 400),
      ("{MESSAGE, \"tools\": [{}]}", "tools[0]", 400),
      ("{MESSAGE, \"tool_choice\": \"required\"}", "tool_choice", 400),
      ("{MESSAGE, \"presence_penalty\": 2.1}", "presence_penalty", 400),
      ("{MESSAGE, \"logit_bias\": {\"1000\": 1}}", "logit_bias", 400),
      ("{MESSAGE, \"logit_bias\": {\"the\": 1}}", "logit_bias", 400),
      ("{MESSAGE, \"logit_bias\": {\"1\": 101}}", "logit_bias", 400),
      ("{MESSAGE, \"logit_bias\": [1]}", "logit_bias", 400),
      ("{MESSAGE, \"stop_token_ids\": [1000]}", "stop_token_ids", 400),
      ("{MESSAGE, \"stop_token_ids\": 3}", "stop_token_ids", 400), ("{MESSAGE, \"ignore_eos\": 1}", "ignore_eos", 400),
      ("{MESSAGE, \"response_format\": {\"type\": \"json_schema\"}}", "response_format", 400),
      ("{MESSAGE, \"response_format\": {\"type\": \"json_object\"}}", "response_format", 400),
    ])
  func whatIsWrongIsNamed(body: String, param: String?, status: Int) throws {
    let error = try #require(throws: APIError.self) {
      try chat(body.replacingOccurrences(of: "MESSAGE", with: Self.message))
    }
    #expect(error.param == param && error.status == status && error.type == "invalid_request_error", "\(error)")
  }

  @Test(
    "an invalid completion request is answered with its field",
    arguments: [
      ("{}", "prompt"), (#"{"prompt": ""}"#, "prompt"), (#"{"prompt": []}"#, "prompt"),
      (#"{"prompt": ["a", "b", "c", "d"]}"#, "prompt"), (#"{"prompt": ["a", ""]}"#, "prompt"),
      (#"{"prompt": [1, 1000]}"#, "prompt"), (#"{"prompt": [1, 99999999999]}"#, "prompt"),
      (#"{"prompt": [1, "a"]}"#, "prompt"), (#"{"prompt": [[[1]]]}"#, "prompt"),
      (#"{"prompt": {"a": 1}}"#, "prompt"), (#"{"prompt": "a", "echo": true}"#, "echo"),
      (#"{"prompt": "a", "best_of": 2}"#, "best_of"), (#"{"prompt": "a", "logprobs": 21}"#, "logprobs"),
      (#"{"prompt": "a", "suffix": "b"}"#, "suffix"), (#"{"prompt": "a", "max_tokens": 0}"#, "max_tokens"),
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
    // It takes a quarter of an hour with a decoder that tries one type after the other.
    #expect(ContinuousClock.now - start < .seconds(3))
  }

  @Test("what a request does not say is as the server's defaults have it")
  func serverDefaults() throws {
    var rules = RequestRules(names: ["m"], vocabularySize: 64)
    (rules.sampling.temperature, rules.sampling.topP, rules.sampling.topK) = (0.7, 0.8, 20)
    func sampling(_ fields: String) throws -> SamplingOptions {
      try ChatRequest(
        try RequestFields(Data("{\(Self.message)\(fields)}".utf8)), rules, makeSeed: { 1 }
      ).settings.sampling
    }
    let plain = try sampling("")
    #expect(plain.temperature == 0.7 && plain.topP == 0.8 && plain.topK == 20 && plain.seed == 1)
    let asked = try sampling(#", "temperature": 0.2, "top_k": 0, "top_p": 1"#)
    #expect(asked.temperature == 0.2 && asked.topP == 1 && asked.topK == 0)
  }

  @Test("a body that is no JSON is refused with the place of the fault")
  func placeOfFaults() throws {
    let error = try #require(throws: APIError.self) { try chat("{\"messages\": [}") }
    #expect(error.message.contains("line 1, column 15 (byte 14)"), "\(error.message)")
  }

  @Test(
    "a number that a field cannot take is told as it was spelled",
    arguments: [
      ("\"max_tokens\": 1.5", "max_tokens must be a whole number of 64 bits, not 1.5"),
      (
        "\"max_tokens\": 99999999999999999999", "max_tokens must be a whole number of 64 bits, not 99999999999999999999"
      ),
      ("\"temperature\": 1e999", "temperature must be a finite number, not 1e999"),
      ("\"temperature\": \"hot\"", "temperature must be a finite number, not a string"),
    ])
  func wrongNumbers(field: String, message: String) throws {
    let error = try #require(throws: APIError.self) { try settings(field) }
    #expect(error.message == message)
  }

  @Test("errors have the shape of the API")
  func errorsHaveTheShapeOfTheAPI() throws {
    let error = try #require(throws: APIError.self) { try chat("{\(Self.message), \"n\": 2}") }
    let json = try #require(try JSONSerialization.jsonObject(with: error.body) as? [String: [String: Any]])
    let fields = try #require(json["error"])
    #expect(Set(fields.keys) == ["message", "type", "param", "code"])
    #expect(fields["param"] as? String == "n" && fields["code"] as? String == "unsupported_value")
    let plain = try #require(
      try JSONSerialization.jsonObject(with: APIError.failed("x").body) as? [String: [String: Any]])
    #expect(plain["error"]?["param"] is NSNull && plain["error"]?["message"] as? String == "x")
    #expect(APIError.queueFull(waiting: 3, texts: 1, capacity: 3, retryAfter: 7).headers == ["Retry-After": "7"])
  }
}
