import Foundation
import ScriptedServer
import Testing

/// Targets and heads by name.
@Suite struct HubCommandTests {
  /// A hub with the files of a folder.
  private func hub(_ repository: String, _ folder: String) throws -> ScriptedHub {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    let files = try names.map { ($0, Array(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($0)")))) }
    return try ScriptedHub(repository, files: Dictionary(uniqueKeysWithValues: files))
  }

  private func environment(_ world: TinyWorld, _ hub: ScriptedHub) -> [String: String] {
    ["HF_ENDPOINT": hub.url, "HF_HOME": world("home"), "HF_TOKEN": "", "HF_HUB_CACHE": ""]
  }

  @Test("eagle-run decodes a target by its name, and again without the hub") func targetsByName() throws {
    let world = try TinyWorld()
    let hub = try hub("org/tiny", world("target"))
    let environment = environment(world, hub)
    func generate(_ target: String, _ more: [String: String] = [:]) throws -> Outcome {
      try Command.run(
        "eagle-run",
        ["generate", "--target", target, "--precision", "fp32", "--prompt", "one two", "--max-tokens", "8"],
        in: world.path, environment: environment.merging(more) { $1 })
    }
    let (plain, named) = (try generate("target"), try generate("org/tiny"))
    #expect(named.status == 0 && named.output == plain.output, "\(named.errors)")
    #expect(named.errors.contains("org/tiny: ") && named.errors.contains(" are here"))
    let offline = try generate("org/tiny", ["HF_HUB_OFFLINE": "1"])
    #expect(offline.output == plain.output && !offline.errors.contains("are here"))
    let none = try generate("org/none")
    #expect(none.status == 1 && none.errors.contains("org/none: cannot be fetched from http://127.0.0.1"))
  }

  @Test("a recipe names its target; ranks of a node fetch it once") func recipesByName() throws {
    let world = try TinyWorld()
    let hub = try hub("org/tiny", world("target"))
    let run = try Command.runRanks(
      2, ["run", "recipe.yaml", "--set", "target.path=org/tiny", "--set", "train.epochs=1"], in: world.path,
      environment: environment(world, hub))
    #expect(run.status == 0, "\(run.errors)")
    #expect(FileManager.default.fileExists(atPath: world("out/export/config.json")))
    // The run's files contain the name, not the path in a cache.
    #expect(String(decoding: try world.read("out/recipe.json"), as: UTF8.self).contains("org/tiny"))
    #expect(!String(decoding: try world.read("out/recipe.json"), as: UTF8.self).contains(ScriptedHub.commit))
    let weights = hub.requests.filter { $0.path.hasSuffix("elsewhere/model.safetensors") }
    #expect(weights.count == 1)
  }
}
