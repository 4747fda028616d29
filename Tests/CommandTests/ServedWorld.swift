import EagleChat
import EagleClient
import EagleCluster
import EagleCore
import EagleData
import EagleModels
import EagleText
import Foundation
import ScriptedServer
import Synchronization
import Testing

/// A small target without weights, questions, and a server that generates instead of it.
struct ServedWorld: Sendable {
  let world: TinyWorld
  let format: ChatFormat
  var regenerate = RegenerateConfig()
  var synthesize = SynthesizeConfig()
  var key: String?
  var policy = RetryPolicy()

  /// - Parameters:
  ///   - url: the server
  ///   - questions: lines of the input
  init(_ url: String, questions: [String] = (0..<4).map { #"{"id": "q\#($0)", "prompt": "question \#($0)"}"# }) throws {
    world = try TinyWorld()
    // No stage may read the weights.
    try FileManager.default.removeItem(atPath: world("target/model.safetensors"))
    try world.put("questions.jsonl", questions.joined(separator: "\n") + "\n")
    format = try ChatFormat(
      ModelSource(path: world("target")), options: TemplateOptions(["enable_thinking": .flag(false)]))
    (regenerate.input, regenerate.output) = ([world("questions.jsonl")], world("answers.jsonl"))
    (synthesize.output, synthesize.conversations) = (world("made-up.jsonl"), 3)
    (regenerate.server.url, synthesize.server.url) = (url, url)
    (policy.attempts, policy.firstDelay) = (3, 0)
  }

  /// Runs the stage and returns all its messages in one string.
  @discardableResult
  func answer(stop: StopRequest = StopRequest(), cluster: any Communicator = SoloCommunicator()) throws -> String {
    let lines = ToldLines()
    let server = AnswerServer(regenerate.server, key: key, policy: policy)
    try Regeneration(
      format, writer: .server(server), config: regenerate, maxLength: 256, cluster: cluster, progress: lines,
      stop: stop
    ).run()
    return lines.text
  }

  @discardableResult
  func make(cluster: any Communicator = SoloCommunicator()) throws -> String {
    let lines = ToldLines()
    let server = AnswerServer(synthesize.server, key: key, policy: policy)
    try Synthesis(format, writer: .server(server), config: synthesize, cluster: cluster, progress: lines).run()
    return lines.text
  }

  /// The objects of a file of JSON lines.
  func lines(_ path: String) throws -> [JSON.Object] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").compactMap {
      try JSON.read(Array($0.utf8)).object
    }
  }

  func answers() throws -> [JSON.Object] { try lines(regenerate.output) }
}

/// Collects the messages of a stage.
private final class ToldLines: ProgressSink {
  private let lines = Mutex<[String]>([])

  var text: String { lines.withLock { $0.joined(separator: "\n") } }

  func advance(_ stage: String, done: Int, total: Int, unit: String, note: String) {}
  func finish(_ stage: String, _ summary: String) { say("\(stage): \(summary)") }
  func say(_ line: String) { lines.withLock { $0.append(line) } }
}

extension JSON.Object {
  var id: String? { self["id"]?.string }
  /// The messages of a line of the output.
  var messages: [JSON.Object] { self["conversations"]?.array?.compactMap(\.object) ?? [] }
}

extension ScriptedServer {
  /// Requests for answers.
  var chats: [Request] { requests.filter { $0.path == "/v1/chat/completions" } }

  /// A server with the model `big`, which answers requests as `reply` says.
  static func chat(_ reply: @escaping @Sendable (Request) -> Reply) throws -> ScriptedServer {
    try ScriptedServer { $0.path == "/v1/models" ? .models("big", "small") : reply($0) }
  }

  /// A server that repeats the question.
  static func echo() throws -> ScriptedServer { try chat { .text("you said \($0.lastContent ?? "?")") } }
}
