import EagleCore
import EagleDraft
import EagleRecipe
import Foundation
import Testing

/// The minimal recipe.
let minimal = """
  run: tiny
  output: checkpoints/tiny
  target: {path: models/tiny}
  data: {train: [data/a.jsonl]}

  """

@Suite struct RecipeTests {
  @Test("settings that a recipe omits keep their defaults") func whatIsNotSaidKeepsItsDefault() throws {
    var expected = Recipe()
    expected.run = "tiny"
    expected.output = "checkpoints/tiny"
    expected.target.path = "models/tiny"
    expected.data.train = ["data/a.jsonl"]
    #expect(try Recipe.parse(minimal, path: "r.yaml") == expected)
  }

  @Test("keys of every section can be set") func everyKeyCanBeSet() throws {
    let yaml = """
      run: all
      output: out
      target: {path: t, precision: fp32}
      data: {train: [a.jsonl, b.jsonl], held_out: 0, chat_template: qwen3, max_length: 100}
      capture: {mode: store, layers: [1, 14, 26], shard_tokens: 10}
      draft: {vocabulary_size: 100, rope_theta: 5e6, init_from: head}
      train:
        epochs: 2
        ttt_length: 4
        step_decay: 1
        learning_rate: 1e-4
        warmup_ratio: 0.1
        weight_decay: 0.01
        clip_norm: 1
        beta1: 0.8
        beta2: 0.95
        tokens_per_batch: 64
        precision: fp32
        seed: 18446744073709551615
        checkpoint_every: 5
        keep_checkpoints: 1
      evaluate:
        draft_length: 5
        max_new_tokens: 8
        benchmarks: {math: m.jsonl}
        limit: 2
        temperature: 1
        seed: 3
        reasoning: off
        context_lengths: [512, 2048]
        validation: 0.25
      """
    let recipe = try Recipe.parse(yaml, path: "r.yaml")
    #expect(recipe.target.precision == .fp32)
    #expect(recipe.data.train == ["a.jsonl", "b.jsonl"])
    #expect(recipe.capture.layers == .listed([1, 14, 26]))
    #expect(recipe.draft.initFrom == "head" && recipe.draft.ropeTheta == 5_000_000)
    // YAML 1.1 reads 1e-4 as text because it has no dot; it must be a number here.
    #expect(recipe.train.learningRate == 0.0001)
    #expect(recipe.train.seed == .max)
    #expect(recipe.evaluate.benchmarks == ["math": "m.jsonl"])
    // YAML 1.1 reads off as false; it must be a name here.
    #expect(recipe.evaluate.reasoning == .off && recipe.evaluate.contextLengths == [512, 2048])
    #expect(recipe.evaluate.temperature == 1 && recipe.evaluate.seed == 3 && recipe.evaluate.validation == 0.25)
  }

  /// The keys of numbers and switches, `train.epochs`, with their values.
  private func leaves(_ value: JSON, _ path: String = "") -> [(key: String, value: JSON)] {
    guard let object = value.object else { return value.bool != nil || value.double != nil ? [(path, value)] : [] }
    return object.entries.flatMap { leaves($0.value, path.isEmpty ? $0.key : "\(path).\($0.key)") }
  }

  @Test("each number and each switch of a recipe can be set, and changes its canonical text")
  func everyNumberCanBeSet() throws {
    let output = ["synthesize.output=out.jsonl"]
    let text = try Recipe.parse(minimal, path: "r.yaml", overrides: output).canonicalText
    let keys = leaves(try JSON.read(Data(text.utf8)))
    #expect(keys.count > 50)
    for (key, value) in keys {
      let numbers = [0.5, 2, -1].map { "\((value.double ?? 0) * $0)" } + ["0", "1", "2", "0.25"]
      let others = value.bool.map { ["\(!$0)"] } ?? numbers
      let isSettable = others.contains { other in
        let changed = try? Recipe.parse(minimal, path: "r.yaml", overrides: output + ["\(key)=\(other)"])
          .canonicalText
        return changed != nil && changed != text
      }
      #expect(isSettable, "\(key)")
    }
  }

  @Test("recipes/README.md lists the keys of a recipe, and no others")
  func keysAreDocumented() throws {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(contentsOf: root.appendingPathComponent("recipes/README.md"), encoding: .utf8)
    let listed = Set(page.matches(of: #/\n\| `([a-z0-9_]+(?:\.[a-z0-9_]+)*)` \|/#).map { String($0.output.1) })
      .filter { !$0.hasSuffix(".yaml") }
    let sections = try #require(JSON.read(Data(try Recipe.parse(minimal, path: "r.yaml").canonicalText.utf8)).object)
    let keys = sections.entries.flatMap { section in
      section.value.object.map { $0.keys.map { "\(section.key).\($0)" } } ?? [section.key]
    }
    #expect(Set(keys).subtracting(listed) == [], "keys that the page does not list")
    #expect(listed.subtracting(keys) == [], "keys that a recipe does not have")
  }

  @Test("a block drafter takes the target's LM head where the recipe names none, and may start from a head")
  func blockDrafters() throws {
    let recipe = try Recipe.parse(minimal, path: "r.yaml", overrides: ["draft.architecture=dspark"])
    let unset = ["draft.architecture=dspark", "draft.markov_rank=8", "draft.markov_rank=null"]
    #expect(try Recipe.parse(minimal, path: "r.yaml", overrides: unset).draft.markovRank == nil)
    #expect(recipe.draft.architecture == .dspark && recipe.draft.headTable == .target)
    #expect(try Recipe.parse(minimal, path: "r.yaml").draft.headTable == .own)
    let tuned = ["draft.architecture=dspark", "draft.init_from=head"]
    #expect(try Recipe.parse(minimal, path: "r.yaml", overrides: tuned).draft.initFrom == "head")
    #expect(throws: (any Error).self) {
      try Recipe.parse(minimal, path: "r.yaml", overrides: tuned + ["draft.layers=3"])
    }
  }

  @Test("settings that the architecture does not read are named")
  func unreadKeys() throws {
    func keys(_ overrides: String...) throws -> [String] {
      try Recipe.parse(minimal, path: "r.yaml", overrides: overrides).unreadKeys
    }
    #expect(try keys() == [] && keys("draft.architecture=dspark") == [])
    #expect(try keys("train.ttt_length=3", "train.step_decay=1") == [])
    #expect(
      try keys("draft.architecture=dspark", "train.ttt_length=3", "train.step_decay=1", "train.anchor_share=0.5")
        == ["train.ttt_length", "train.step_decay"])
    #expect(try keys("train.anchor_share=0.5", "train.num_anchors=9") == ["train.anchor_share", "train.num_anchors"])
  }

  @Test("overrides win over the file") func overridesWinOverTheFile() throws {
    let recipe = try Recipe.parse(
      minimal, path: "r.yaml",
      overrides: [
        "train.epochs=2", "capture.layers=[0, 1, 2]", "train.learning_rate=1e-3", "draft.init_from=head",
        "evaluate.benchmarks={chat: c.jsonl}", "evaluate.benchmarks.code=d.jsonl", "run=a_b",
      ])
    #expect(recipe.train.epochs == 2)
    #expect(recipe.capture.layers == .listed([0, 1, 2]))
    #expect(recipe.train.learningRate == 0.001)
    #expect(recipe.draft.initFrom == "head")
    #expect(recipe.evaluate.benchmarks == ["chat": "c.jsonl", "code": "d.jsonl"])
    #expect(recipe.run == "a_b")
  }

  @Test("an override of all benchmarks replaces them, one of a benchmark adds it")
  func anOverrideReplacesTheWholeListOfBenchmarks() throws {
    let yaml = minimal + "\nevaluate: {benchmarks: {math: m.jsonl}, limit: 2}\n"
    func benchmarks(_ override: String) throws -> [String: String] {
      try Recipe.parse(yaml, path: "r.yaml", overrides: [override]).evaluate.benchmarks
    }
    #expect(try benchmarks("evaluate.benchmarks={}").isEmpty)
    #expect(try benchmarks("evaluate.benchmarks={chat: c.jsonl}") == ["chat": "c.jsonl"])
    #expect(try benchmarks("evaluate.benchmarks.chat=c.jsonl") == ["math": "m.jsonl", "chat": "c.jsonl"])
  }

  @Test("the canonical text is a recipe of the same run") func canonicalTextIsARecipeOfTheSameRun() throws {
    var recipe = try Recipe.parse(minimal, path: "r.yaml")
    recipe.evaluate.benchmarks = ["z": "1", "a": "2", "m": "3"]
    recipe.train.learningRate = 3e-7
    let text = try recipe.canonicalText
    #expect(try Recipe.parse(text, path: "again.yaml") == recipe)
    #expect(try Recipe.parse(text, path: "again.yaml").canonicalText == text)
    #expect(text.contains("\"init_from\" : null"))
  }

  @Test("another seed gives another canonical text") func differentSettingsHaveDifferentTexts() throws {
    let one = try Recipe.parse(minimal, path: "r.yaml")
    let other = try Recipe.parse(minimal, path: "r.yaml", overrides: ["train.seed=1"])
    #expect(try one.canonicalText != other.canonicalText)
  }

  @Test("recipes of the repository load, and are named after their runs") func recipesOfTheRepositoryLoad() throws {
    let folder = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("recipes")
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
    #expect(files.contains("quickstart.yaml"))
    for file in files {
      let recipe = try Recipe.load(path: folder.appendingPathComponent(file).path)
      #expect(recipe.run + ".yaml" == file)
    }
  }
}
