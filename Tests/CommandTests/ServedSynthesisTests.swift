import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleText
import Foundation
import ScriptedServer
import Testing

/// `synthesize` with a server.
@Suite struct ServedSynthesisTests {
  private static let words = ["red", "blue", "green", "old", "new", "small", "deep", "cold", "late", "wild"]

  /// A server that returns another question each time.
  private static func server() throws -> ScriptedServer {
    try .chat { request in
      guard request.path == "/v1/completions" else { return .text("an answer to \(request.lastContent ?? "?")") }
      let seed = request.body.object?["seed"]?.int ?? 0
      let text = (0..<6).map { words[(seed >> (3 * $0)) % words.count] }.joined(separator: " ")
      return .completion(" about \(text)?")
    }
  }

  @Test("a question is a completion of the user's opened turn, and its answer a chat")
  func questionsAndAnswers() throws {
    let server = try Self.server()
    var served = try ServedWorld(server.url)
    (served.synthesize.openings, served.synthesize.questionTokens) = (["Tell me"], 33)
    #expect(try served.make().contains("3 of"))
    let question = try #require(server.requests.first { $0.path == "/v1/completions" }?.body.object)
    let ids = try #require(question["prompt"]?.int32s)
    #expect(served.format.tokenizer.decode(ids, skipSpecial: false) == "<|im_start|>user\nTell me")
    #expect(question["model"] == "big" && question["max_tokens"] == 33 && question["temperature"]?.double == 1)
    #expect(question["stop_token_ids"]?.int32s.map(Set.init) == served.format.stopIDs && question["seed"] != nil)
    let lines = try served.lines(served.synthesize.output)
    #expect(lines.count == 3 && lines.allSatisfy { $0.messages.count == 2 })
    for line in lines {
      let (asked, answer) = (line.messages[0]["content"]?.string ?? "", line.messages[1]["content"]?.string)
      #expect(asked.hasPrefix("Tell me about ") && answer == "an answer to \(asked)")
    }
    #expect(server.chats.allSatisfy { $0.body.object?["max_tokens"] == 256 })
    let count = server.requests.count
    #expect(try served.make().contains("up to date: 3 conversations") && server.requests.count == count)
  }

  @Test("attempts are the same on any number of ranks, and more of them leave the first ones")
  func ranksAndGrowth() throws {
    let server = try Self.server()
    var served = try ServedWorld(server.url)
    served.synthesize.conversations = 12
    try served.make()
    let alone = try served.world.read("made-up.jsonl")
    served.synthesize.output = served.world("ranks.jsonl")
    let shared = served
    _ = try LoopbackCommunicator.run(size: 2) { cluster in try shared.make(cluster: cluster) }
    #expect(try served.world.read("ranks.jsonl") == alone)
    served.synthesize.conversations = 20
    try served.make()
    let grown = try served.world.read("ranks.jsonl")
    #expect(try grown.starts(with: alone) && served.lines(served.synthesize.output).count == 20)
  }

  @Test("questions without an end are dropped, and what the server refuses is counted")
  func dropping() throws {
    let server = try ScriptedServer.chat { request in
      guard request.path == "/v1/completions" else {
        return request.number % 5 == 0 ? .error(400, "no") : .text("a fine answer")
      }
      return request.number % 3 == 0
        ? .completion("and so on", finish: "length") : .completion("what is number \(request.number) of these things")
    }
    var served = try ServedWorld(server.url)
    (served.synthesize.conversations, served.synthesize.server.concurrency) = (10, 1)
    let told = try served.make()
    #expect(told.contains("questions without an end") && told.contains("refused by the server"), "\(told)")
    #expect(try served.lines(served.synthesize.output).count == 10)
  }

  @Test("a server without /v1/completions is one error that says so")
  func noCompletions() throws {
    let server = try ScriptedServer.chat { $0.path == "/v1/completions" ? .error(404, "Not Found") : .text("x") }
    let served = try ServedWorld(server.url)
    let error = #expect(throws: LocatedError.self) { try served.make() }
    #expect(error?.path == server.url && error?.problem.contains("does not serve /v1/completions") == true)
  }

  @Test("the local target does not complete what a server began")
  func mixing() throws {
    let server = try Self.server()
    let served = try ServedWorld(server.url)
    try served.make()
    var other = served
    (other.synthesize.server.model, other.synthesize.conversations) = ("small", 5)
    #expect(throws: LocatedError.self) { try other.make() }
  }
}
