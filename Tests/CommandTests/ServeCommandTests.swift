import EagleCore
import Foundation
import Testing

/// `eagle-run serve` over plain TCP connections.
@Suite(.serialized) struct ServeCommandTests {
  private static let chat = "/v1/chat/completions"

  private func body(_ text: String, _ fields: String = "") -> String {
    #"{"messages": [{"role": "user", "content": "\#(text)"}], "temperature": 0\#(fields.isEmpty ? "" : ", ")\#(fields)}"#
  }

  private func generate(_ world: TinyWorld, _ prompt: String, tokens: Int = 40) throws -> String {
    let outcome = try Command.run(
      "eagle-run", ["generate", "--target", "target", "--prompt", prompt, "--max-tokens", "\(tokens)", "--json"],
      in: world.path)
    let answer = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any]
    return try #require(answer?["text"] as? String, "\(outcome.errors)")
  }

  @Test("both endpoints give the text of generate, whole and streamed")
  func bothEndpointsAnswerAsGenerateDoes() throws {
    let world = try TinyWorld(conversations: 30)
    let run = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path)
    try #require(run.status == 0, "\(run.errors)")
    let expected = try generate(world, "cloud 7")
    let served = try Served(world, ["--draft", "out/export", "--draft-length", "3"])
    let models = try served.ask("GET", "/v1/models").json["data"] as? [[String: Any]]
    #expect(models?.first?["eagle"] as? [String: String] == ["draft_architecture": "eagle3"])
    let whole = try served.ask("POST", Self.chat, body: body("cloud 7", #""max_tokens": 40"#))
    #expect(whole.status == 200 && whole.content == expected && !expected.isEmpty, "\(whole.text)")
    let usage = try #require(whole.json["usage"] as? [String: Any])
    #expect((usage["completion_tokens"] as? Int ?? 0) > 0 && whole.json["model"] as? String == "target")
    let details = try #require(usage["completion_tokens_details"] as? [String: Int])
    #expect(details["accepted_prediction_tokens"]! + details["rejected_prediction_tokens"]! > 0)

    let stream = try served.ask(
      "POST", Self.chat,
      body: body("cloud 7", #""max_completion_tokens": 40, "stream": true, "stream_options": {"include_usage": true}"#))
    #expect(stream.status == 200 && stream.headers["content-type"]?.hasPrefix("text/event-stream") == true)
    #expect(stream.streamed == expected && stream.text.hasSuffix("data: [DONE]\n\n"))
    let last = try #require(stream.events.last)
    #expect((last["usage"] as? [String: Any])?["completion_tokens"] as? Int == usage["completion_tokens"] as? Int)
    // The same prompt again: all but its last token is in the cache.
    let again = (last["usage"] as? [String: Any])?["prompt_tokens_details"] as? [String: Int]
    #expect(again?["cached_tokens"] == (usage["prompt_tokens"] as? Int).map { $0 - 1 })
    let kept = stream.events.compactMap { ($0["eagle"] as? [String: Any])?["accepted"] as? Int }.reduce(0, +)
    #expect(kept == details["accepted_prediction_tokens"])

    let raw = #""prompt": "<|im_start|>user\ncloud 7<|im_end|>\n<|im_start|>assistant\n", "temperature": 0"#
    let completion = try served.ask("POST", "/v1/completions", body: "{\(raw), \"max_tokens\": 40}")
    #expect(completion.content == expected && completion.json["object"] as? String == "text_completion")
    let short = try served.ask("POST", "/v1/completions", body: "{\(raw), \"stream\": true}")
    #expect(!short.streamed.isEmpty && expected.hasPrefix(short.streamed))
  }

  @Test("the server honours stop strings and seeds") func stopStringsAndSeedsAreHonoured() throws {
    let world = try TinyWorld()
    let served = try Served(world)
    let whole = try generate(world, "river 1")
    // Every token is a byte, so that the stop string spans several.
    let stop = String(whole.dropFirst(8).prefix(3))
    let expected = String(whole[..<whole.range(of: stop)!.lowerBound])
    let list = String(decoding: try JSONSerialization.data(withJSONObject: ["nowhere", stop]), as: UTF8.self)
    for fields in [#""max_tokens": 40"#, #""max_tokens": 40, "stream": true"#] {
      let answer = try served.ask("POST", Self.chat, body: body("river 1", "\(fields), \"stop\": \(list)"))
      #expect((answer.content ?? answer.streamed) == expected && answer.text.contains(#""finish_reason":"stop""#))
    }
    func drawn(_ seed: Int) throws -> String? {
      let fields = #""max_tokens": 20, "temperature": 1, "seed": \#(seed)"#
      return try served.ask("POST", Self.chat, body: body("river 1").replacing("\"temperature\": 0", with: fields))
        .content
    }
    #expect(try drawn(3) == drawn(3))
    #expect(try drawn(3) != drawn(4))
  }

  @Test("a bad HTTP request gets its status and a JSON error") func whatIsWrongIsSaidInJSON() throws {
    let served = try Served(try TinyWorld())
    let cases: [(String, String, String?, Int, String)] = [
      ("GET", "/nowhere", nil, 404, "/nowhere"), ("GET", Self.chat, nil, 405, "POST"),
      ("POST", "/health", "{}", 405, "GET"), ("POST", Self.chat, "{", 400, "JSON"),
      ("POST", Self.chat, "", 400, "empty"), ("POST", Self.chat, "{}", 400, "messages"),
      ("POST", Self.chat, body("x", #""n": 2"#), 400, "n "),
      ("POST", Self.chat, body("x", #""model": "y""#), 404, "target"),
      ("POST", "/v1/responses", "{}", 400, "input"), ("GET", "/v1/responses", nil, 405, "POST"),
      ("GET", "/v1/responses/resp_1", nil, 404, "not stored"),
      ("POST", Self.chat, body("x", #""tools": [{"type": "function"}]"#), 400, "tools"),
      ("POST", Self.chat, body("x", #""response_format": {"type": "json_object"}"#), 400, "json_object"),
      ("POST", Self.chat, body(String(repeating: "a", count: 600)), 400, "512"),
      ("POST", Self.chat, #"{"messages": [{"role": "tool", "content": "x"}]}"#, 400, "tool_call_id"),
      ("POST", Self.chat, body("x", #""logit_bias": {"259": 1}"#), 400, "259"),
      ("POST", "/v1/completions", #"{"prompt": [1, 999]}"#, 400, "999"),
      ("POST", "/v1/completions", String(repeating: " ", count: 1 << 20) + "{}", 413, "1048576"),
      ("GET", "/v1/models/other", nil, 404, "other"),
    ]
    for (method, path, body, status, complaint) in cases {
      let answer = try served.ask(method, path, body: body)
      #expect(answer.status == status, "\(method) \(path) \(body?.prefix(80) ?? ""): \(answer.text)")
      let message = answer.error?["message"] as? String
      #expect(message?.contains(complaint) == true, "\(method) \(path): \(answer.text)")
      #expect(Set((answer.error ?? [:]).keys) == ["message", "type", "param", "code"])
    }
    #expect(try served.ask("POST", Self.chat, body: body("x"), headers: ["Content-Type": "text/plain"]).status == 400)
    #expect(try served.ask("GET", "/health").json["status"] as? String == "ok")
    let models = try served.ask("GET", "/v1/models").json["data"] as? [[String: Any]]
    #expect(models?.map { $0["id"] as? String } == ["target"])
    #expect(models?.first?["eagle"] == nil, "no draft head is served")
    #expect(try served.ask("GET", "/v1/models/target").json["object"] as? String == "model")
    let page = try served.ask("GET", "/")
    #expect(page.status == 200 && page.text.hasPrefix("<!doctype html>"))
    #expect(try served.ask("GET", "/metrics").text.contains(#"endpoint="/v1/completions",status="413"} 1"#))
    // The server rejects endless headers.
    #expect(try served.ask("GET", "/health", headers: ["X": String(repeating: "x", count: 200_000)]).status != 200)
    #expect(try served.ask("GET", "/health").status == 200)
  }

  @Test("a length above the room is cut to it")
  func lengthsAreCut() throws {
    let served = try Served(try TinyWorld())
    for limit in ["600", "-1", "9223372036854775807"] {
      let answer = try served.ask("POST", Self.chat, body: body("x", #""ignore_eos": true, "max_tokens": \#(limit)"#))
      let usage = answer.json["usage"] as? [String: Any]
      #expect(usage?["total_tokens"] as? Int == 512, "\(limit): \(answer.text)")
    }
  }

  @Test("unknown fields are named in a header and in the log, and refused by --strict")
  func unknownFields() throws {
    let world = try TinyWorld()
    let served = try Served(world)
    let asked = body("x", #""max_tokens": 2, "reasoning_effort": "low", "top_a": 1"#)
    let answer = try served.ask("POST", Self.chat, body: asked)
    #expect(answer.status == 200 && answer.headers["x-eagle-ignored"] == "top_a, reasoning_effort")
    #expect(served.running.errors.contains("ignored unknown fields: top_a, reasoning_effort"))
    let strict = try Served(world, ["--strict"])
    #expect(try strict.ask("POST", Self.chat, body: asked).error?["param"] as? String == "top_a")
    // A variable that the model's template does not read is unknown too.
    let variable = body("x", #""max_tokens": 2, "chat_template_kwargs": {"mood": "glad"}"#)
    #expect(try strict.ask("POST", Self.chat, body: variable).error?["param"] as? String == "mood")
  }

  private static let tool = #"{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}"#

  @Test("tools, their calls and results reach the template; one that takes none refuses them")
  func tools() throws {
    let world = try TinyWorld()
    let tools = #""max_tokens": 1, "tools": [\#(Self.tool)]"#
    let plain = try Served(world)
    let refused = try plain.ask("POST", Self.chat, body: body("x", tools))
    #expect(refused.status == 400 && refused.error?["param"] as? String == "tools")
    try world.put(
      "target/chat_template.jinja",
      "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}{% for m in messages %}{{ m.role }}:{{ m.content or '' }}"
        + "{% for c in m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments.a }}){% endfor %}<|im_end|>{% endfor %}"
    )
    let served = try Served(world)
    func promptTokens(_ body: String) throws -> Int? {
      (try served.ask("POST", Self.chat, body: body).json["usage"] as? [String: Any])?["prompt_tokens"] as? Int
    }
    // A token for each byte and for the end of each turn.
    #expect(try promptTokens(body("x", tools)) == "add;user:x".count + 1)
    #expect(try promptTokens(body("x", tools + #", "tool_choice": "none""#)) == "user:x".count + 1)
    let call = #"{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 12}"}}"#
    let history =
      #"{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [\#(call)]}, "#
      + #"{"role": "tool", "tool_call_id": "c", "content": "13"}], \#(tools)}"#
    #expect(try promptTokens(history) == "add;user:xassistant:add(12)tool:13".count + 3)
  }

  @Test("the parsers in use are printed at the start, and a wrong name is refused with those that exist")
  func parsers() throws {
    let world = try TinyWorld()
    try world.put("target/chat_template.jinja", "{{ '<tool_call>' if tools }}{{ messages[0].content }}<|im_end|>")
    let line = "tool parser hermes, reasoning parser none"
    #expect(try Served(world).running.errors.contains(line))
    let named = try Served(world, ["--tool-parser", "mistral", "--reasoning-parser", "deepseek_r1"])
    #expect(named.running.errors.contains("tool parser mistral, reasoning parser deepseek_r1"))
    let answer = try named.ask("POST", Self.chat, body: body("x", #""max_tokens": 4, "ignore_eos": true"#))
    #expect(answer.content == "" && answer.text.contains(#""reasoning_content":""#), "\(answer.text)")
    #expect(try Served(world, ["--tool-parser", "none"]).running.errors.contains("tool parser none"))
    for (flag, names) in [("--tool-parser", "hermes"), ("--reasoning-parser", "deepseek_r1")] {
      let outcome = try Command.run("eagle-run", ["serve", "--target", "target", flag, "x"], in: world.path)
      #expect(outcome.status == 64 && outcome.errors.contains("'x'") && outcome.errors.contains(names))
    }
  }

  @Test("reasoning comes as reasoning_content, whole and streamed, or is left out")
  func reasoning() throws {
    let world = try TinyWorld()
    try world.put(
      "target/chat_template.jinja",
      "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}")
    let served = try Served(world)
    func message(_ more: String) throws -> [String: Any] {
      let answer = try served.ask("POST", Self.chat, body: body("x", #""max_tokens": 8, "ignore_eos": true"# + more))
      let choices = try #require(answer.json["choices"] as? [[String: Any]])
      return try #require(choices.first?["message"] as? [String: Any])
    }
    let whole = try message("")
    let text = try #require(whole["reasoning_content"] as? String)
    #expect(!text.isEmpty && whole["content"] as? String == "")
    #expect(try message(#", "include_reasoning": false"#)["reasoning_content"] == nil)
    let streamed = try served.ask(
      "POST", Self.chat, body: body("x", #""max_tokens": 8, "ignore_eos": true, "stream": true"#))
    let deltas = streamed.text.components(separatedBy: "\n\n").compactMap { event in
      let json = try? JSONSerialization.jsonObject(with: Data(event.dropFirst("data: ".count).utf8)) as? [String: Any]
      return (json?["choices"] as? [[String: Any]])?.first?["delta"] as? [String: Any]
    }
    #expect(deltas.compactMap { $0["reasoning_content"] as? String }.joined() == text)
    #expect(deltas.compactMap { $0["content"] as? String }.joined() == "")
  }

  @Test("paths without /v1, with a slash at the end, HEAD and OPTIONS are answered")
  func otherWaysToAsk() throws {
    let flags = ["--model-name", "a", "--model-name", "b", "--any-model", "--cors-origin", "https://chat.example"]
    let served = try Served(try TinyWorld(), flags)
    for path in ["/chat/completions", "/v1/chat/completions/", "/completions/"] {
      let short = #"{"prompt": "a", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1, "model": "x"}"#
      let answer = try served.ask("POST", path, body: short, headers: ["Origin": "https://chat.example"])
      #expect(answer.status == 200 && answer.json["model"] as? String == "a", "\(answer.text)")
      #expect(answer.headers["access-control-allow-origin"] == "https://chat.example")
    }
    let models = try served.ask("GET", "/models/").json["data"] as? [[String: Any]]
    #expect(models?.map { $0["id"] as? String } == ["a", "b"])
    let head = try served.ask("HEAD", "/health")
    #expect(head.status == 200 && head.body.isEmpty && Int(head.headers["content-length"] ?? "0")! > 0)
    let asked = ["Origin": "https://chat.example", "Access-Control-Request-Method": "POST"]
    let preflight = try served.ask("OPTIONS", Self.chat, headers: asked)
    #expect(preflight.status == 204 && preflight.headers["access-control-allow-origin"] == "https://chat.example")
    #expect(preflight.headers["allow"]?.contains("POST") == true)
    let foreign = try served.ask("OPTIONS", Self.chat, headers: ["Origin": "https://evil.example"])
    #expect(foreign.headers["access-control-allow-origin"] == nil)
    #expect(try Served(try TinyWorld()).ask("GET", "/health").headers["access-control-allow-origin"] == nil)
  }

  @Test("several prompts of one request are continued each by itself")
  func severalPrompts() throws {
    let served = try Served(try TinyWorld())
    let prompts = ["river", "cloud 7", "x"]
    func ask(_ prompt: String, _ fields: String = "") throws -> HTTPAnswer {
      try served.ask(
        "POST", "/v1/completions", body: "{\"prompt\": \(prompt), \"temperature\": 0, \"max_tokens\": 9\(fields)}")
    }
    let expected = try prompts.map { try ask("\"\($0)\"").content ?? "" }
    let whole = try ask(#"["river", "cloud 7", "x"]"#)
    let choices = whole.json["choices"] as? [[String: Any]]
    #expect(choices?.map { $0["text"] as? String } == expected && choices?.map { $0["index"] as? Int } == [0, 1, 2])
    let stream = try ask(#"["river", "cloud 7", "x"]"#, #", "stream": true"#)
    var texts = ["", "", ""]
    for choice in stream.events.compactMap({ ($0["choices"] as? [[String: Any]])?.first }) {
      texts[try #require(choice["index"] as? Int)] += choice["text"] as? String ?? ""
    }
    #expect(texts == expected && stream.text.hasSuffix("data: [DONE]\n\n"))
    // Each prompt looks for the stop strings by itself.
    let stop = String(expected[0].dropFirst(3).prefix(2))
    let list = String(decoding: try JSONSerialization.data(withJSONObject: ["nowhere", stop]), as: UTF8.self)
    let stopped = try ask(#"["river", "cloud 7", "x"]"#, ", \"stop\": \(list)").json["choices"] as? [[String: Any]]
    let cut = expected.map { text in
      let bytes = Data(text.utf8)
      let end = bytes.range(of: Data(stop.utf8))?.lowerBound ?? bytes.count
      return String(decoding: bytes[..<end], as: UTF8.self)
    }
    #expect(stopped?.map { $0["text"] as? String } == cut)
  }

  @Test("logprobs come with each token, whole and streamed, alone and in a batch")
  func logprobs() throws {
    let served = try Served(try TinyWorld())
    let fields = #""max_tokens": 6, "logprobs": true, "top_logprobs": 2"#
    func content(_ choice: [String: Any]?) -> [[String: Any]] {
      (choice?["logprobs"] as? [String: Any])?["content"] as? [[String: Any]] ?? []
    }
    let whole = try served.ask("POST", Self.chat, body: body("river 1", fields))
    let tokens = content((whole.json["choices"] as? [[String: Any]])?.first)
    #expect(tokens.count == 6, "\(whole.text)")
    let bytes = tokens.flatMap { $0["bytes"] as? [Int] ?? [] }.map(UInt8.init)
    #expect(String(decoding: bytes, as: UTF8.self) == whole.content)
    for token in tokens {
      // Greedy: the chosen token is the most likely one.
      let top = token["top_logprobs"] as? [[String: Any]] ?? []
      #expect(top.count == 2 && top[0]["logprob"] as? Double == token["logprob"] as? Double)
    }
    let stream = try served.ask("POST", Self.chat, body: body("river 1", fields + #", "stream": true"#))
    let pieces = stream.events.flatMap { content(($0["choices"] as? [[String: Any]])?.first) }
    #expect(pieces.map { $0["logprob"] as? Double } == tokens.map { $0["logprob"] as? Double })
    // Two prompts of one request are decoded in one batch.
    let prompts =
      #"{"prompt": ["river", "cloud"], "max_tokens": 5, "temperature": 0, "logprobs": 1, "ignore_eos": true}"#
    let choices = try served.ask("POST", "/v1/completions", body: prompts).json["choices"] as? [[String: Any]] ?? []
    #expect(choices.map { (($0["logprobs"] as? [String: Any])?["tokens"] as? [String])?.count } == [5, 5])
  }

  @Test("a request behind one whose answer ends the connection does not keep the connection open")
  func pipelined() throws {
    let served = try Served(try TinyWorld(endless: true), ["--idle-seconds", "1"])
    let connection = try served.open()
    let text = body("abc", #""max_tokens": 1"#)
    let request =
      "POST \(Self.chat) HTTP/1.1\r\nHost: 127.0.0.1:\(served.port)\r\nContent-Type: application/json\r\n"
      + "Content-Length: \(text.utf8.count)\r\n\r\n\(text)"
    connection.write(request + request)
    #expect(try connection.answer().status == 200 && connection.isClosed)
  }

  @Test("a client that has closed its sending side gets its answer")
  func halfClosed() throws {
    let served = try Served(try TinyWorld(endless: true), ["--batch", "1"])
    let long = try served.send("POST", Self.chat, body: body("abc", #""stream": true, "max_tokens": 1500"#))
    #expect(long.read(until: "\"content\":\""))
    // A half-closed client waits in the queue, and then for its answer.
    let whole = try served.send("POST", Self.chat, body: body("hello", #""max_tokens": 200"#))
    whole.closeSending()
    let stream = try served.send("POST", Self.chat, body: body("hello", #""max_tokens": 200, "stream": true"#))
    stream.closeSending()
    #expect(try whole.answer().content?.isEmpty == false)
    #expect(try stream.answer().text.hasSuffix("data: [DONE]\n\n"))
  }

  @Test("a client that has closed its sending side gets all of an answer that fits no buffer")
  func halfClosedLongAnswer() throws {
    let served = try Served(try TinyWorld(endless: true))
    // Log-probabilities give megabytes; the system buffers less than three of them for a client that does not read.
    let fields = #""max_tokens": 5000, "logprobs": true, "top_logprobs": 20"#
    let long = try served.send("POST", Self.chat, body: body("abc", fields))
    long.closeSending()
    #expect(long.read(until: "\"choices\":"))
    // Long enough for the server to close the connection, if it did not wait.
    usleep(300_000)
    let answer = try long.answer()
    #expect(answer.status == 200 && answer.body.count > 4 << 20 && answer.content?.isEmpty == false)
    #expect(answer.body.count == Int(answer.headers["content-length"] ?? ""))
  }

  @Test("a client that leaves in the middle of its body is counted as gone")
  func leftWhileSending() throws {
    let served = try Served(try TinyWorld())
    let gone = try served.send("POST", Self.chat, body: "{", headers: ["Content-Length": "100"])
    gone.close()
    #expect(try served.wait(for: #"eagle_requests_total{endpoint="/v1/chat/completions",status="499"}"#, 1))
    let silent = try served.send("POST", Self.chat, body: "{", headers: ["Content-Length": "100"])
    silent.closeSending()
    let answer = try silent.answer()
    #expect(answer.status == 400 && answer.text.contains("before its body was whole"), "\(answer.text)")
    #expect(try served.metric(#"eagle_requests_total{endpoint="/v1/chat/completions",status="499"}"#) == 2)
  }

  @Test("a client that stops reading its stream is cut off")
  func slowReader() throws {
    let served = try Served(try TinyWorld(endless: true), ["--batch", "1", "--write-seconds", "1"])
    // Large events, because the system buffers some megabytes before a write blocks.
    let deaf = try served.send(
      "POST", Self.chat, body: body("abc", #""stream": true, "logprobs": true, "top_logprobs": 20"#),
      receiveBuffer: 4096)
    #expect(try served.wait(for: "eagle_running_requests", 1))
    #expect(try served.wait(for: #"eagle_requests_total{endpoint="/v1/chat/completions",status="499"}"#, 1))
    deaf.close()
  }

  @Test("histories of every order are answered, and a last answer is continued")
  func histories() throws {
    let world = try TinyWorld()
    let served = try Served(world)
    func promptTokens(_ messages: String) throws -> Int {
      let answer = try served.ask(
        "POST", Self.chat, body: "{\"messages\": [\(messages)], \"temperature\": 0, \"max_tokens\": 2}")
      let usage = try #require(answer.json["usage"] as? [String: Any], "\(answer.text)")
      return try #require(usage["prompt_tokens"] as? Int)
    }
    // Every token is a byte. An open turn adds only its text to the header of an answer.
    let user = #"{"role": "user", "content": "river 1"}"#
    #expect(
      try promptTokens(user + #", {"role": "assistant", "content": "abc"}"#) == promptTokens(user) + 3)
    for messages in [
      #"{"role": "system", "content": "a"}, {"role": "system", "content": "b"}"#,
      #"{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "system", "content": "c"}"#,
      #"{"role": "assistant", "content": "a"}, {"role": "user", "content": null}"#,
    ] {
      let answer = try served.ask("POST", Self.chat, body: "{\"messages\": [\(messages)], \"max_tokens\": 3}")
      #expect(answer.status == 200, "\(messages): \(answer.text)")
    }
  }

  @Test("a raw prompt gets the BOS that tokenizer_config.json asks for, once; a chat has what its template writes")
  func rawPromptsBeginWithBOS() throws {
    let world = try TinyWorld()
    let path = URL(fileURLWithPath: world("target/tokenizer_config.json"))
    var config = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: path)) as? [String: Any])
    let plain = try Served(world)
    func promptTokens(_ served: Served, _ path: String, _ prompt: String) throws -> Int {
      let answer = try served.ask("POST", path, body: "{\(prompt), \"temperature\": 0, \"max_tokens\": 2}")
      let usage = try #require(answer.json["usage"] as? [String: Any], "\(answer.text)")
      return try #require(usage["prompt_tokens"] as? Int)
    }
    let chat = #""messages": [{"role": "user", "content": "river"}]"#
    let chatTokens = try promptTokens(plain, Self.chat, chat)
    #expect(try promptTokens(plain, "/v1/completions", #""prompt": "river""#) == 5)
    config.merge(["add_bos_token": true, "bos_token": "<|im_start|>"]) { $1 }
    try JSONSerialization.data(withJSONObject: config).write(to: path)
    let framed = try Served(world)
    #expect(try promptTokens(framed, "/v1/completions", #""prompt": "river""#) == 6)
    #expect(try promptTokens(framed, "/v1/completions", #""prompt": "<|im_start|>river""#) == 6)
    #expect(try promptTokens(framed, Self.chat, chat) == chatTokens)
  }

  @Test("with an API key set, requests without it are refused, except /health")
  func aKeyIsAskedForWhereThereIsOne() throws {
    let served = try Served(try TinyWorld(), environment: ["EAGLE_API_KEY": "secret"])
    for path in ["/v1/models", "/metrics"] {
      let refused = try served.ask("GET", path)
      #expect(refused.status == 401 && refused.error?["code"] as? String == "invalid_api_key")
      #expect(try served.ask("GET", path, headers: ["Authorization": "Bearer secret"]).status == 200)
    }
    #expect(
      try served.ask("POST", Self.chat, body: body("x"), headers: ["Authorization": "Bearer other"]).status == 401)
    #expect(try served.ask("GET", "/health").status == 200)
    // `curl -d` without a header.
    let form = ["Authorization": "Bearer secret", "Content-Type": "application/x-www-form-urlencoded"]
    #expect(try served.ask("POST", Self.chat, body: body("x", #""max_tokens": 1"#), headers: form).status == 200)
  }

  @Test("a full queue rejects with 429, and a closed connection frees its place")
  func aFullQueueTurnsAwayAndWhoGoesFreesThePlace() throws {
    let served = try Served(try TinyWorld(endless: true), ["--queue", "1", "--batch", "1"])
    let long = body("abc", #""stream": true"#)
    let first = try served.send("POST", Self.chat, body: long)
    #expect(first.read(until: "\"content\":\""))
    #expect(try served.wait(for: "eagle_running_requests", 1))
    let second = try served.send("POST", Self.chat, body: body("hello", #""max_tokens": 5"#))
    #expect(try served.wait(for: "eagle_queue_depth", 1))
    let refused = try served.ask("POST", Self.chat, body: long)
    #expect(refused.status == 429 && refused.error?["code"] as? String == "queue_full")
    #expect(Int(refused.headers["retry-after"] ?? "") ?? 0 > 0)
    // The body is not read; none is sent here.
    let unread = try served.send("POST", Self.chat, body: "", headers: ["Content-Length": "900000"])
    #expect(try unread.answer().status == 429)
    // If a waiting client disconnects, the next one may wait. If the client of the running request disconnects, the
    // next request runs.
    second.close()
    #expect(try served.wait(for: "eagle_queue_depth", 0))
    let third = try served.send("POST", Self.chat, body: body("hello", #""max_tokens": 5"#))
    #expect(try served.wait(for: "eagle_queue_depth", 1))
    first.close()
    #expect(try third.answer().status == 200)
    #expect(try served.metric(#"eagle_requests_total{endpoint="/v1/chat/completions",status="499"}"#) == 2)
    #expect(try served.metric(#"eagle_requests_total{endpoint="/v1/chat/completions",status="429"}"#) == 2)
    #expect(try served.metric("eagle_queue_seconds_count") == 1)
  }

  /// No request waits for the end of an endless answer; each answer equals that of a single request.
  @Test("concurrent requests join the batch, and each text is that of generate")
  func thoseWhoComeTogetherAreWrittenTogether() throws {
    let world = try TinyWorld(endless: true)
    let served = try Served(world, ["--batch", "4"])
    let prompts = ["hello", "green 3", "river", "paper 9", "x"]
    let expected = try prompts.map { try generate(world, $0) }
    let endless = try (0..<2).map { _ in
      try served.send("POST", Self.chat, body: body("abc", #""stream": true"#))
    }
    for connection in endless { #expect(connection.read(until: "\"content\":\"")) }
    let others = try prompts.map { try served.send("POST", Self.chat, body: body($0, #""max_tokens": 40"#)) }
    #expect(try others.map { try $0.answer().content } == expected)
    #expect(try served.wait(for: "eagle_running_requests", 2))
    for connection in endless { connection.close() }
    #expect(try served.wait(for: "eagle_running_requests", 0))
    let again = try served.ask("POST", Self.chat, body: body("river", #""max_tokens": 40"#))
    #expect(again.content == expected[2])
  }

  @Test("SIGTERM lets a running sequence finish before the server ends") func aSignalLetsRunningTextsFinish() throws {
    let served = try Served(try TinyWorld(endless: true))
    let running = try served.send("POST", Self.chat, body: body("abc", #""max_tokens": 1500, "stream": true"#))
    #expect(running.read(until: "\"content\":\""))
    served.signal(SIGTERM)
    let answer = try running.answer()
    #expect(answer.text.hasSuffix("data: [DONE]\n\n") && answer.text.contains(#""finish_reason":"length""#))
    #expect(try served.running.finish().status == 0)
  }

  @Test("after --stop-seconds a running text ends with an error, a waiting request with 503")
  func whenTheTimeIsOverTextsEndWithAnError() throws {
    let served = try Served(try TinyWorld(endless: true), ["--stop-seconds", "4", "--batch", "1"])
    let running = try served.send("POST", Self.chat, body: body("abc", #""stream": true"#))
    let waiting = try served.send("POST", Self.chat, body: body("abc"))
    #expect(running.read(until: "\"content\":\""))
    #expect(try served.wait(for: "eagle_queue_depth", 1))
    served.signal(SIGINT)
    var refused: HTTPAnswer?
    while refused?.status != 503 { refused = try served.ask("GET", "/health") }
    #expect(try served.ask("POST", Self.chat, body: body("hello")).error?["code"] as? String == "stopping")
    #expect(try running.answer().events.last?["error"] != nil)
    #expect(try waiting.answer().status == 503)
    #expect(try served.running.finish().status == 0)
  }

  @Test("serve names the address or flag that it cannot use") func whereItCannotListenItSaysSo() throws {
    let world = try TinyWorld()
    let served = try Served(world)
    for (flags, status, complaint) in [
      (["--port", "\(served.port)"], Int32(1), "cannot be listened on"), (["--host", "300.1.1.1"], 1, "300.1.1.1"),
      (["--port", "70000"], 64, "--port"), (["--write-seconds", "0"], 64, "--write-seconds"),
      (["--idle-seconds", "0"], 64, "--idle-seconds"),
      (["--queue", "0"], 64, "--queue"), (["--api-key", ""], 64, "API key"),
    ] {
      let outcome = try Command.run("eagle-run", ["serve", "--target", "target"] + flags, in: world.path)
      #expect(outcome.status == status && outcome.errors.contains(complaint), "\(flags): \(outcome.errors)")
    }
  }
}
