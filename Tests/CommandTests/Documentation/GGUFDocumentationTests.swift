import Foundation
import Testing

/// The commands at the top of docs/guide/gguf.md.
@Suite struct GGUFDocumentationTests {
  private static let steps = ["inspect", "run", "generate", "export", "generate", "serve"]

  /// Flags that make the page's commands small, by subcommand. They replace nothing on the page.
  private static let additions = [
    "run":
      "--set draft.vocabulary_size=64 --set train.epochs=1 --set 'evaluate.benchmarks={few: prompts.jsonl}' "
      + "--set evaluate.max_new_tokens=12",
    "generate": "--max-tokens 24", "serve": "--port 0",
  ]

  /// The commands, each in one line. The page has at most 16 lines of them, so that a reader sees all at once.
  private func commands() throws -> [String] {
    let page = Page("docs/guide/gguf.md")
    let block = try #require(page.text.firstMatch(of: /```sh\n((?s).*?)```/)).1
    try #require(block.split(separator: "\n").count <= 16, "\(block)")
    return page.shellCommands
  }

  /// A folder with the files that the page names.
  private func world() throws -> TinyWorld {
    let world = try TinyWorld()
    try world.writeGGUFTarget()
    for folder in ["models", "recipes", "data"] {
      try FileManager.default.createDirectory(atPath: world(folder), withIntermediateDirectories: true)
    }
    let questions = (0..<30).map { #"{"id": "q\#($0)", "turns": ["What is \#($0)?"]}"# + "\n" }
    try world.put("data/smollm2-questions.jsonl", questions.joined())
    try FileManager.default.moveItem(atPath: world("target.gguf"), toPath: world("models/my-model.gguf"))
    try FileManager.default.copyItem(
      atPath: "\(Command.root)/recipes/quickstart.yaml", toPath: world("recipes/quickstart.yaml"))
    return world
  }

  private func subcommand(_ command: String) -> String {
    String(command.split(separator: " ").dropFirst().first ?? "")
  }

  @Test("the way from a GGUF file to a served head runs as the page has it")
  func theWayRuns() throws {
    let (world, commands) = (try world(), try commands())
    let ours = commands.filter { $0.hasPrefix("eagle-") }
    try #require(ours.map(subcommand) == Self.steps && commands.count == ours.count + 1, "\(commands)")
    var outputs: [String: [String]] = [:]
    for command in ours.dropLast() {
      let name = subcommand(command)
      let outcome = try Shell.run("\(command) \(Self.additions[name] ?? "")", in: world)
      try #require(outcome.status == 0, "\(command)\n\(outcome.errors)")
      outputs[name, default: []].append(outcome.output)
    }
    // The head is trained on the target's own answers.
    let answers = String(decoding: try world.read("answers/my-model.jsonl"), as: UTF8.self)
    #expect(answers.split(separator: "\n").count == 30)
    #expect(outputs["inspect"]?.first?.hasPrefix("target: llama") == true)
    // Greedy: the same text with the folder's head and the file's.
    let texts = outputs["generate"] ?? []
    #expect(texts.count == 2 && texts[0] == texts[1] && !texts[0].isEmpty, "\(texts)")
    try serves(try #require(ours.last), world)
    // llama.cpp is not installed; its line must name the files of the other commands.
    let last = try #require(commands.last)
    #expect(last.hasPrefix("llama-server -m models/my-model.gguf -md head.gguf "))
    #expect(FileManager.default.fileExists(atPath: world("head.gguf")))
  }

  private func serves(_ command: String, _ world: TinyWorld) throws {
    let served = try Served(
      "/bin/bash", ["-c", "exec \(command) \(Self.additions["serve"] ?? "")"], in: world.path,
      environment: Shell.environment)
    let body = #"{"messages": [{"role": "user", "content": "What is a tide?"}], "max_tokens": 8}"#
    let answer = try served.ask("POST", "/v1/chat/completions", body: body)
    #expect(answer.status == 200, "\(answer.text)")
  }
}
