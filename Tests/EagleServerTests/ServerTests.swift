import EagleCore
import EagleDecoding
import EagleDraft
import EagleRunFiles
import EagleServer
import Foundation
import Testing

@Suite struct AccessTests {
  private func rules(host: String = "127.0.0.1", key: String? = nil) -> AccessRules {
    var config = ServerConfig(modelName: "small")
    (config.host, config.apiKey) = (host, key)
    return AccessRules(config)
  }

  private func status(_ work: () throws -> Void) -> Int {
    do {
      try work()
      return 200
    } catch {
      return (error as? APIError)?.status ?? 0
    }
  }

  @Test("a request without the key is refused")
  func keyIsRequired() {
    let rules = rules(key: "secret")
    #expect(status { try rules.checkKey("Bearer secret") } == 200)
    #expect(status { try rules.checkKey("bearer secret") } == 200)
    for wrong in [
      nil, "", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Bearer Secret", "Basic secret",
    ] {
      #expect(status { try rules.checkKey(wrong) } == 401, "\(wrong ?? "nil")")
    }
    #expect(status { try self.rules().checkKey(nil) } == 200)
  }

  @Test("a local server without a key refuses a foreign host name")
  func aForeignNameDoesNotReachThisMachine() {
    for name in [
      "localhost", "localhost:8080", "127.0.0.1:80", "[::1]:8080", "", "LOCALHOST", "localhost.", "LocalHost.:8080",
    ] {
      #expect(status { try rules().checkHost(name) } == 200, "\(name)")
    }
    for name in [
      "evil.example", "localhost.evil.example:8080", "10.0.0.1", "127.evil.example", "127.0.0.1.evil.example:80",
      "127.0.0.1.evil", "localhost.evil", ".", "localhost..",
    ] {
      #expect(status { try rules().checkHost(name) } == 403, "\(name)")
    }
    #expect(status { try rules(host: "0.0.0.0").checkHost("evil.example") } == 200)
    #expect(status { try rules(key: "secret").checkHost("proxy.example") } == 200)
  }

  @Test("the printed address can be opened in a browser")
  func theAddressThatIsPrintedCanBeOpened() {
    #expect(ServerConfig.url(host: "127.0.0.1", port: 80) == "http://127.0.0.1:80/")
    #expect(ServerConfig.url(host: "::1", port: 81) == "http://[::1]:81/")
    for host in ["0.0.0.0", "::"] {
      #expect(ServerConfig.url(host: host, port: 82) == "http://\(ProcessInfo.processInfo.hostName):82/")
    }
  }

  @Test("a body of another content type than JSON is refused")
  func onlyJSONIsRead() {
    for type in ["application/json", "Application/JSON; charset=utf-8"] {
      #expect(status { try rules().checkContentType(type) } == 200)
    }
    for type in [nil, "text/plain", "application/x-www-form-urlencoded"] {
      #expect(status { try rules().checkContentType(type) } == 400)
      #expect(status { try rules(key: "secret").checkContentType(type) } == 200, "who has the key is no foreign page")
    }
  }

  @Test("an empty key lets nobody in")
  func emptyKey() {
    for given in ["Bearer ", "Bearer x", ""] { #expect(status { try rules(key: "").checkKey(given) } == 401) }
  }

  @Test("pages of the origins that were named may read answers, and no others")
  func origins() {
    let named = CrossOrigin(["https://chat.example"])
    #expect(named.headers(for: "https://chat.example")["Access-Control-Allow-Origin"] == "https://chat.example")
    #expect(named.headers(for: "https://evil.example") == ["Vary": "Origin"])
    #expect(named.headers(for: nil) == ["Vary": "Origin"] && CrossOrigin([]).headers(for: "null").isEmpty)
    #expect(CrossOrigin(["*"]).headers(for: nil)["Access-Control-Allow-Origin"] == "*")
    let asked = named.preflight(for: "https://chat.example", asked: "authorization, x-stainless-os")
    #expect(asked["Access-Control-Allow-Headers"] == "authorization, x-stainless-os")
    #expect(named.preflight(for: "https://evil.example", asked: "a") == ["Vary": "Origin"])
    let odd = named.preflight(for: "https://chat.example", asked: "a\r\nb: c")
    #expect(odd["Access-Control-Allow-Headers"] == "Authorization, Content-Type")
  }
}

@Suite struct MetricsTests {
  @Test("the buckets of a histogram are cumulative")
  func bucketsAddUp() {
    var histogram = Histogram()
    for seconds in [0.001, 0.01, 0.3, 0.4, 1000] { histogram.add(seconds) }
    let text = histogram.text("x")
    #expect(text.contains("x_bucket{le=\"0.01\"} 2\n") && text.contains("x_bucket{le=\"0.25\"} 2\n"))
    #expect(text.contains("x_bucket{le=\"0.5\"} 4\n") && text.contains("x_bucket{le=\"250.0\"} 4\n"))
    #expect(text.contains("x_bucket{le=\"+Inf\"} 5\n") && text.contains("x_count 5\n"))
    #expect(abs(histogram.sum - 1000.711) < 1e-9)
  }

  @Test("requests are counted by endpoint and status")
  func requestsAreCountedByEndpointAndStatus() {
    let metrics = ServerMetrics()
    metrics.count(endpoint: "/health", status: 200)
    metrics.count(endpoint: "/v1/models", status: 401)
    metrics.count(endpoint: "/health", status: 200)
    let text = metrics.text(waiting: 3, running: 1, cached: 5)
    #expect(text.contains("eagle_requests_total{endpoint=\"/health\",status=\"200\"} 2\n"))
    #expect(text.contains("eagle_requests_total{endpoint=\"/v1/models\",status=\"401\"} 1\n"))
    #expect(text.contains("eagle_queue_depth 3\n") && text.contains("eagle_running_requests 1\n"))
    // Every line is a comment, or a name with a number.
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      #expect(Double(line.split(separator: " ").last!) != nil, "\(line)")
    }
  }
}

@Suite struct AnswerTests {
  private var outcome: Outcome {
    var statistics = DecodingStatistics()
    (statistics.promptTokens, statistics.cachedTokens, statistics.newTokens) = (10, 4, 7)
    (statistics.decodedTokens, statistics.targetPasses, statistics.rounds) = (6, 3, 3)
    // Two of the tokens that the rounds accepted are after the end of the answer.
    (statistics.draftedTokens, statistics.accepted) = (9, [2, 2, 1])
    var outcome = Outcome(finish: .length, statistics: statistics, queueSeconds: 0.25)
    outcome.acceptedTokens = 3
    return outcome
  }

  private func object(_ data: Data) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  private func events(_ data: Data) throws -> [[String: Any]] {
    try String(decoding: data, as: UTF8.self).components(separatedBy: "\n\n").filter {
      !$0.isEmpty && $0 != "data: [DONE]"
    }
    .map { try object(Data($0.dropFirst("data: ".count).utf8)) }
  }

  @Test("a whole answer has its usage and the extension field")
  func aWholeAnswerCountsItsTokens() throws {
    let writer = AnswerWriter(endpoint: .chat, id: "chatcmpl-1", created: 5, model: "small")
    let answer = try object(writer.answer([.init([.content("text")], outcome)]))
    #expect(answer["object"] as? String == "chat.completion" && answer["model"] as? String == "small")
    let choice = try #require((answer["choices"] as? [[String: Any]])?.first)
    #expect(choice["finish_reason"] as? String == "length")
    #expect((choice["message"] as? [String: Any])?["content"] as? String == "text")
    let usage = try #require(answer["usage"] as? [String: Any])
    #expect(usage["prompt_tokens"] as? Int == 10 && usage["total_tokens"] as? Int == 17)
    #expect((usage["prompt_tokens_details"] as? [String: Int])?["cached_tokens"] == 4)
    let details = usage["completion_tokens_details"] as? [String: Int]
    #expect(details == ["accepted_prediction_tokens": 3, "rejected_prediction_tokens": 6])
    #expect((answer["eagle"] as? [String: Double])?["acc_length"] == 2)
  }

  @Test("the events of a stream count tokens and accepted tokens")
  func aStreamSaysWhatTheDraftGave() throws {
    let writer = AnswerWriter(endpoint: .chat, id: "chatcmpl-1", created: 5, model: "small")
    let piece = try events(writer.delta(TextDelta(text: "a", tokens: 2, accepted: 1)))[0]
    #expect(piece["eagle"] as? [String: Int] == ["tokens": 2, "accepted": 1])
    let choice = try #require((piece["choices"] as? [[String: Any]])?.first)
    #expect(choice["finish_reason"] is NSNull && (choice["delta"] as? [String: String]) == ["content": "a"])
    let end = writer.end(outcome) + writer.closing([outcome], includesUsage: true)
    #expect(String(decoding: end, as: UTF8.self).hasSuffix("data: [DONE]\n\n"))
    let last = try events(end)
    #expect(last.count == 2 && (last[1]["choices"] as? [Any])?.isEmpty == true && last[1]["usage"] != nil)
    #expect(try events(writer.closing([outcome], includesUsage: false)).isEmpty)
  }

  @Test("logprobs have the shape of each endpoint")
  func logprobs() throws {
    let tokens = [
      TokenLogprobs(
        chosen: .init(token: 97, logprob: -0.5),
        top: [.init(token: 98, logprob: -0.25), .init(token: 97, logprob: -0.5)]
      ),
      TokenLogprobs(chosen: .init(token: 0xe4, logprob: -1), top: []),
    ]
    func choice(_ endpoint: AnswerWriter.Endpoint, _ runs: [LogprobRun]) throws -> [String: Any] {
      let writer = AnswerWriter(
        endpoint: endpoint, id: "1", created: 5, model: "small", spelling: { [UInt8(truncatingIfNeeded: $0)] })
      let answer = try object(writer.answer([.init([.content("a")], outcome, logprobs: runs)]))
      return try #require((answer["choices"] as? [[String: Any]])?.first?["logprobs"] as? [String: Any])
    }
    let content = try #require(try choice(.chat, [.init(offset: 0, tokens: tokens)])["content"] as? [[String: Any]])
    #expect(content.map { $0["token"] as? String } == ["a", #"bytes:\xe4"#] && content[1]["bytes"] as? [Int] == [0xe4])
    #expect(content[0]["logprob"] as? Double == -0.5 && (content[1]["top_logprobs"] as? [Any])?.isEmpty == true)
    let top = try #require(content[0]["top_logprobs"] as? [[String: Any]])
    #expect(top.map { $0["token"] as? String } == ["b", "a"] && top[0]["top_logprobs"] == nil)
    let lists = try choice(.completion, [.init(offset: 0, tokens: tokens)])
    #expect(
      lists["tokens"] as? [String] == ["a", #"bytes:\xe4"#] && lists["token_logprobs"] as? [Double] == [-0.5, -1])
    #expect((lists["top_logprobs"] as? [[String: Double]])?[0] == ["b": -0.25, "a": -0.5])
    #expect(lists["text_offset"] as? [Int] == [0, 1])
    // A byte that is not part of a valid character was shown as a replacement character.
    let shown = try choice(.completion, [.init(offset: 0, tokens: [tokens[1]]), .init(offset: 1, tokens: tokens)])
    #expect(shown["text_offset"] as? [Int] == [0, 1, 2])
  }

  @Test("several texts have their places, and their usage is added up")
  func severalTexts() throws {
    let writer = AnswerWriter(endpoint: .completion, id: "cmpl-1", created: 5, model: "small")
    let answer = try object(writer.answer([.init([.content("a")], outcome), .init([.content("b")], outcome)]))
    let choices = try #require(answer["choices"] as? [[String: Any]])
    #expect(choices.map { $0["index"] as? Int } == [0, 1] && choices.map { $0["text"] as? String } == ["a", "b"])
    let usage = answer["usage"] as? [String: Any]
    #expect(usage?["total_tokens"] as? Int == 34)
    let details = usage?["completion_tokens_details"] as? [String: Int]
    #expect(details == ["accepted_prediction_tokens": 6, "rejected_prediction_tokens": 12])
    let piece = try events(writer.delta(TextDelta(text: "a", tokens: 1, accepted: 0), index: 1))[0]
    #expect((piece["choices"] as? [[String: Any]])?.first?["index"] as? Int == 1)
  }
}
