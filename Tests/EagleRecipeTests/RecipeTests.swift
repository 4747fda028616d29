import EagleDraft
import EagleRecipe
import Foundation
import Testing

/// The least that a recipe must say.
let minimal = """
  run: tiny
  output: checkpoints/tiny
  target: {path: models/tiny}
  data: {train: [data/a.jsonl]}

  """

@Suite struct RecipeTests {
  @Test func whatIsNotSaidKeepsItsDefault() throws {
    var expected = Recipe()
    expected.run = "tiny"
    expected.output = "checkpoints/tiny"
    expected.target.path = "models/tiny"
    expected.data.train = ["data/a.jsonl"]
    #expect(try Recipe.parse(minimal, path: "r.yaml") == expected)
  }

  @Test func everyKeyCanBeSet() throws {
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
    // YAML 1.1 reads 1e-4 as text for want of a dot; it must be a number here.
    #expect(recipe.train.learningRate == 0.0001)
    #expect(recipe.train.seed == .max)
    #expect(recipe.evaluate.benchmarks == ["math": "m.jsonl"])
    // YAML 1.1 reads off as false; it must be a name here.
    #expect(recipe.evaluate.reasoning == .off && recipe.evaluate.contextLengths == [512, 2048])
    #expect(recipe.evaluate.temperature == 1 && recipe.evaluate.seed == 3 && recipe.evaluate.validation == 0.25)
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

  @Test func overridesWinOverTheFile() throws {
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

  @Test func anOverrideReplacesTheWholeListOfBenchmarks() throws {
    let yaml = minimal + "\nevaluate: {benchmarks: {math: m.jsonl}, limit: 2}\n"
    func benchmarks(_ override: String) throws -> [String: String] {
      try Recipe.parse(yaml, path: "r.yaml", overrides: [override]).evaluate.benchmarks
    }
    #expect(try benchmarks("evaluate.benchmarks={}").isEmpty)
    #expect(try benchmarks("evaluate.benchmarks={chat: c.jsonl}") == ["chat": "c.jsonl"])
    #expect(try benchmarks("evaluate.benchmarks.chat=c.jsonl") == ["math": "m.jsonl", "chat": "c.jsonl"])
  }

  @Test func canonicalTextIsARecipeOfTheSameRun() throws {
    var recipe = try Recipe.parse(minimal, path: "r.yaml")
    recipe.evaluate.benchmarks = ["z": "1", "a": "2", "m": "3"]
    recipe.train.learningRate = 3e-7
    let text = try recipe.canonicalText
    #expect(try Recipe.parse(text, path: "again.yaml") == recipe)
    #expect(try Recipe.parse(text, path: "again.yaml").canonicalText == text)
    #expect(text.contains("\"init_from\" : null"))
  }

  @Test func differentSettingsHaveDifferentTexts() throws {
    let one = try Recipe.parse(minimal, path: "r.yaml")
    let other = try Recipe.parse(minimal, path: "r.yaml", overrides: ["train.seed=1"])
    #expect(try one.canonicalText != other.canonicalText)
  }

  @Test func recipesOfTheRepositoryLoad() throws {
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
