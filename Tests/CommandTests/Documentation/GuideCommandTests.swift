import Foundation
import Testing

/// Runs the shell blocks of the guides, except those of the tutorial and of gguf.md, which have tests of their own.
@Suite struct GuideCommandTests {
  private static let pages = [
    "guide/better-heads", "guide/decoding", "guide/other-servers", "guide/serving", "guide/your-data",
    "operations/security",
  ]
  /// Programs of other projects: their lines must name files that exist.
  private static let others = ["llama-server", "python", "vllm"]

  @Test("every page with shell blocks has a test that runs them")
  func allPages() throws {
    let found = Page.all.filter { $0.path.hasPrefix("docs/") && $0.text.contains("```sh") }.map(\.path)
    let tested = Self.pages + ["guide/tutorial", "guide/tutorial.zh-CN", "guide/gguf"]
    #expect(found.sorted() == tested.map { "docs/\($0).md" }.sorted())
  }

  @Test("the shell blocks of the guides run", arguments: pages)
  func blocksRun(page: String) throws {
    let world = try GuideWorld()
    let commands = Page("docs/\(page).md").shellCommands
    try #require(!commands.isEmpty)
    for command in commands { try run(command, in: world) }
  }

  private func run(_ command: String, in world: GuideWorld) throws {
    let words = command.replacing(#/^[A-Z_]+="[^"]*" /#, with: "").split(separator: " ").map(String.init)
    switch (words[0], words.dropFirst().first ?? "") {
    case ("eagle-run", "serve"): try serve(command, world)
    case ("curl", _): try ask(command, world)
    case ("eagle-run", "generate"), ("eagle-run", "bench"), ("eagle-run", "tune"):
      try runs("\(command) --max-tokens 8", world)
    case ("eagle-run", _), ("eagle-train", _): try runs(command, world)
    case (let program, _) where Self.others.contains(program):
      for file in command.matches(of: /\b(?:models|checkpoints)\/[\w.\/-]+|\bhead\.gguf\b/) {
        #expect(FileManager.default.fileExists(atPath: world.tiny(String(file.0))), "\(command)")
      }
    default: Issue.record("`\(command)` is run by no test")
    }
  }

  private func runs(_ command: String, _ world: GuideWorld) throws {
    let outcome = try Shell.run(command, in: world.tiny)
    #expect(outcome.status == 0, "\(command)\n\(outcome.errors)")
  }

  private func serve(_ command: String, _ world: GuideWorld) throws {
    let key = command.contains("EAGLE_API_KEY") ? ["Authorization": "Bearer \(GuideWorld.key)"] : [:]
    let served = try world.serve(command.replacing("eagle-run serve", with: "exec eagle-run serve"))
    #expect(try served.ask("GET", "/v1/models", headers: key).status == 200, "\(command)")
    if !key.isEmpty { #expect(try served.ask("GET", "/v1/models").status == 401, "\(command)") }
  }

  /// Sends `curl http://127.0.0.1:8080/PATH … -d 'BODY'` to a server on a free port.
  private func ask(_ command: String, _ world: GuideWorld) throws {
    let parts = try #require(command.firstMatch(of: /curl http:\/\/127\.0\.0\.1:8080(\S+) .*-d '(.*)'$/), "\(command)")
    let served = try world.serve("exec eagle-run serve --target models/my-model")
    let body = String(parts.2).replacing(/}$/, with: #", "max_tokens": 8}"#)
    let answer = try served.ask("POST", String(parts.1), body: body)
    #expect(answer.status == 200, "\(answer.text)")
  }
}

/// A folder with the files that the guides name.
private struct GuideWorld {
  static let key = "a key"
  let tiny: TinyWorld

  init() throws {
    tiny = try TinyWorld(conversations: 30)
    let manager = FileManager.default
    for folder in ["models", "checkpoints", "data/prompts"] {
      try manager.createDirectory(atPath: tiny(folder), withIntermediateDirectories: true)
    }
    try tiny.writeGGUFTarget()
    try manager.moveItem(atPath: tiny("target.gguf"), toPath: tiny("models/my-model.gguf"))
    let prompts = try tiny.read("prompts.jsonl")
    try prompts.write(to: URL(fileURLWithPath: tiny("data/prompts/chat.jsonl")))
    try tiny.put("key.txt", Self.key)
    try tiny.put("messages.json", #"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#)
    let trained = try Command.run(
      "eagle-train", ["run", "recipe.yaml", "--set", "output=checkpoints/a", "--set", "train.epochs=1"], in: tiny.path)
    try #require(trained.status == 0, "\(trained.errors)")
    for run in ["b", "quickstart", "my-head"] {
      try manager.copyItem(atPath: tiny("checkpoints/a"), toPath: tiny("checkpoints/\(run)"))
    }
    let recipe = String(decoding: try tiny.read("recipe.yaml"), as: UTF8.self)
    try tiny.put("my-model.yaml", recipe)
    for model in ["my-model", "SmolLM2-135M-Instruct"] {
      try manager.copyItem(atPath: tiny("target"), toPath: tiny("models/\(model)"))
    }
  }

  func serve(_ command: String) throws -> Served {
    try Served("/bin/bash", ["-c", "\(command) --port 0"], in: tiny.path, environment: Shell.environment)
  }
}
