import Foundation
import Testing

/// The commands at the top of docs/gguf.md.
@Suite struct GGUFDocumentationTests {
  private static let steps = ["inspect", "run", "generate", "export", "generate", "serve"]

  /// What makes the page's commands small, by subcommand. Nothing that the page says is replaced.
  private static let additions = [
    "run":
      "--set 'data.train=[data.jsonl]' --set draft.vocabulary_size=64 --set train.epochs=1 "
      + "--set 'evaluate.benchmarks={few: prompts.jsonl}' --set evaluate.max_new_tokens=12",
    "generate": "--max-tokens 24", "serve": "--port 0",
  ]

  private func lines() throws -> [String] {
    let page = try String(contentsOfFile: "\(Command.root)/docs/gguf.md", encoding: .utf8)
    let block = try #require(page.firstMatch(of: /```sh\n((?s).*?)```/)).1
    return block.split(separator: "\n").map(String.init)
  }

  /// A folder with the files that the page names.
  private func world() throws -> TinyWorld {
    let world = try TinyWorld(conversations: 30)
    try world.writeGGUFTarget()
    for folder in ["models", "recipes"] {
      try FileManager.default.createDirectory(atPath: world(folder), withIntermediateDirectories: true)
    }
    try FileManager.default.moveItem(atPath: world("target.gguf"), toPath: world("models/my-model.gguf"))
    try FileManager.default.copyItem(
      atPath: "\(Command.root)/recipes/quickstart.yaml", toPath: world("recipes/quickstart.yaml"))
    return world
  }

  private func subcommand(_ line: String) -> String {
    String(line.split(separator: " ").dropFirst().first ?? "")
  }

  @Test("the way from a GGUF file to a served head runs as the page has it")
  func theWayRuns() throws {
    let (world, lines) = (try world(), try lines())
    let ours = lines.filter { $0.hasPrefix("eagle-") }
    try #require(ours.map(subcommand) == Self.steps && lines.count <= 10, "\(lines)")
    var outputs: [String: [String]] = [:]
    for line in ours.dropLast() {
      let command = subcommand(line)
      let outcome = try Shell.run("\(line) \(Self.additions[command] ?? "")", in: world)
      try #require(outcome.status == 0, "\(line)\n\(outcome.errors)")
      outputs[command, default: []].append(outcome.output)
    }
    #expect(outputs["inspect"]?.first?.hasPrefix("target: llama") == true)
    // Greedy: the same text with the folder's head and the file's.
    let texts = outputs["generate"] ?? []
    #expect(texts.count == 2 && texts[0] == texts[1] && !texts[0].isEmpty, "\(texts)")
    try serves(try #require(ours.last), world)
    // llama.cpp is not at hand: its line names the files of the others.
    let last = try #require(lines.last)
    #expect(last.hasPrefix("llama-server -m models/my-model.gguf -md head.gguf "))
    #expect(FileManager.default.fileExists(atPath: world("head.gguf")) && lines.count == ours.count + 1)
  }

  private func serves(_ line: String, _ world: TinyWorld) throws {
    let served = try Served(
      "/bin/bash", ["-c", "exec \(line) \(Self.additions["serve"] ?? "")"], in: world.path,
      environment: Shell.environment)
    let body = #"{"messages": [{"role": "user", "content": "What is a tide?"}], "max_tokens": 8}"#
    let answer = try served.ask("POST", "/v1/chat/completions", body: body)
    #expect(answer.status == 200, "\(answer.text)")
  }
}
