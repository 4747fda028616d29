import EagleRecipe
import Foundation
import Testing

@Suite struct RecipeErrorTests {
  /// The message of the error that `minimal` plus `yaml` gives.
  private func message(_ yaml: String, overrides: [String] = []) -> String {
    do {
      _ = try Recipe.parse(minimal + yaml, path: "r.yaml", overrides: overrides)
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  @Test("an unknown key names the nearest one, or the known ones") func anUnknownKeyNamesTheNearest() {
    #expect(message("train:\n  epoch: 3") == "r.yaml:6: unknown key train.epoch; did you mean train.epochs?")
    #expect(message("trian: {epochs: 3}") == "r.yaml:5: unknown key trian; did you mean train?")
    #expect(
      message("draft:\n  rope_theta: 1\n  learning_rate: 1")
        == "r.yaml:7: unknown key draft.learning_rate; did you mean train.learning_rate?")
    #expect(
      message("capture: {zzz: 1}")
        == "r.yaml:5: unknown key capture.zzz; known here: capture.layers, capture.mode, capture.shard_tokens, capture.states, capture.store"
    )
    #expect(message("evaluate: {benchmark: {}}").hasSuffix("did you mean evaluate.benchmarks?"))
  }

  @Test("settings of one architecture are refused for another")
  func architectures() {
    #expect(message("draft: {block_size: 3}").contains("is for the architectures dflash and dspark"))
    #expect(message("draft: {layers: 65}").contains("draft.layers must be at most 64, not 65"))
    #expect(message("draft: {layers: 0}").contains("draft.layers must be 1 or more, not 0"))
    #expect(message("draft: {architecture: dspark, qk_norm: true}").contains("is for EAGLE-3 heads"))
    #expect(message("draft: {architecture: dflash, markov_rank: 8}").contains("set it to dspark"))
    #expect(message("draft: {architecture: dspark, block_size: 100}").contains("at most 64"))
    #expect(message("draft: {architecture: dspark, mask_token_id: 9999999999}").contains("must be the id of a token"))
    #expect(message("draft: {architecture: eagle4}").contains("eagle3"))
    #expect(message("train: {anchor_share: 0}").contains("above 0 and at most 1"))
    #expect(message("train: {ttt_share: 1.5}").contains("train.ttt_share must be above 0 and at most 1, not 1.5"))
  }

  @Test("aliases that would grow without bounds are refused before they are expanded")
  func aliases() {
    let bomb = (1...9).reduce("a0: &a0 [x]\n") { text, level in
      text + "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ") + "]\n"
    }
    #expect(message(bomb + "? *a9\n: x\n").contains("has 91 YAML aliases, and at most 16 are read"))
    #expect(
      message("", overrides: ["train.epochs=[&a [x], " + String(repeating: "*a, ", count: 17) + "x]"]).contains(
        "has 17 YAML"))
    let deep = String(repeating: "[", count: 900)
    let tower = (1...3).reduce("a0: &a0 \(deep)\(deep.replacingOccurrences(of: "[", with: "]"))\n") { text, level in
      text + "a\(level): &a\(level) \(deep)*a\(level - 1)\(deep.replacingOccurrences(of: "[", with: "]"))\n"
    }
    #expect(message(tower + "? *a3\n: x\n").contains("nests deeper than 64 levels"))
  }

  @Test("a few aliases, and stars in texts, are read")
  func fewAliases() throws {
    let recipe = try Recipe.parse(
      minimal + "evaluate: {limit: &n 3, draft_length: *n}\nsynthesize: {openings: ['a *b* & *c* *n']}", path: "r.yaml")
    #expect(recipe.evaluate.limit == 3 && recipe.evaluate.draftLength == 3)
  }

  @Test("counts above 2^30 are refused")
  func wildCounts() {
    for key in [
      "train.epochs", "train.ttt_length", "evaluate.max_new_tokens", "regenerate.batch", "draft.intermediate_size",
    ] {
      let text = message("", overrides: ["\(key)=9223372036854775807"])
      #expect(text.contains("must be 1073741824 or less"), "\(key): \(text)")
    }
  }

  @Test("a YAML merge key is an unknown key") func inheritanceIsUnknown() {
    #expect(message("train: {<<: {epochs: 1}}").hasPrefix("r.yaml:5: unknown key train.<<"))
  }

  @Test("a value of the wrong type names the expected one") func aWrongTypeSaysWhatIsExpected() {
    #expect(message("train:\n  epochs: two") == "r.yaml:6: train.epochs must be a whole number, not 'two'")
    #expect(message("train: {epochs: 2.5}") == "r.yaml:5: train.epochs must be a whole number, not '2.5'")
    #expect(message("train: {seed: -1}") == "r.yaml:5: train.seed must be a whole number, 0 or more, not '-1'")
    #expect(message("train: {clip_norm: [1]}") == "r.yaml:5: train.clip_norm must be a single value, not a list")
    #expect(message("train: 3") == "r.yaml:5: train must be a section (key: value), not '3'")
    #expect(message("train: {epochs: }") == "r.yaml:5: train.epochs has no value")
    #expect(message("evaluate: {benchmarks: [x]}").hasPrefix("r.yaml:5: evaluate.benchmarks must be a section"))
    #expect(message("", overrides: ["data.train=a.jsonl"]).contains("data.train must be a list, not 'a.jsonl'"))
  }

  @Test("a value that is no choice lists the choices") func namesThatAreNoChoiceListTheChoices() {
    #expect(message("train: {precision: fp16}") == "r.yaml:5: train.precision must be bf16 or fp32, not 'fp16'")
    #expect(message("capture: {mode: ram}") == "r.yaml:5: capture.mode must be store or online, not 'ram'")
    #expect(
      message("capture: {layers: all}").hasPrefix("r.yaml:5: capture.layers must be auto or one to eight layer numbers")
    )
  }

  @Test(
    "a value out of range names its key and the range",
    arguments: [
      ("train: {ttt_length: 0}", "train.ttt_length must be 1 or more, not 0"),
      ("train: {epochs: 0}", "train.epochs must be 1 or more"),
      ("train: {clip_norm: 0}", "train.clip_norm must be above 0"),
      ("train: {step_decay: 1.5}", "train.step_decay must be above 0 and at most 1"),
      ("train: {learning_rate: .nan}", "train.learning_rate must be above 0"),
      ("train: {warmup_ratio: 2}", "train.warmup_ratio must be between 0 and 1"),
      ("train: {weight_decay: -1}", "train.weight_decay must be 0 or more"),
      ("train: {optimizer: sgd}", "train.optimizer must be adamw or muon, not 'sgd'"),
      ("train: {state_noise: 2}", "train.state_noise must be between 0 and 1"),
      ("train: {optimizer: muon, shard_optimizer: true}", "train.optimizer muon steps whole matrices"),
      ("train: {beta2: 1}", "train.beta2 must be at least 0 and below 1"),
      ("train: {tokens_per_batch: 0}", "train.tokens_per_batch must be 1 or more"),
      ("train: {checkpoint_every: 0}", "train.checkpoint_every must be 1 or more"),
      ("train: {keep_checkpoints: 0}", "train.keep_checkpoints must be 1 or more"),
      ("evaluate: {draft_length: 0}", "evaluate.draft_length must be 1 or more"),
      ("evaluate: {benchmarks: {math: \"\"}}", "evaluate.benchmarks.math has no path"),
      ("evaluate: {limit: 0}", "evaluate.limit must be 1 or more"),
      ("evaluate: {temperature: -1}", "evaluate.temperature must be 0, or 0.01 and more, not -1.0"),
      ("evaluate: {reasoning: maybe}", "evaluate.reasoning must be auto or on or off, not 'maybe'"),
      ("evaluate: {context_lengths: [0]}", "evaluate.context_lengths must be 1 or more, not 0"),
      ("evaluate: {context_lengths: [64, 64]}", "evaluate.context_lengths must be ascending, not [64, 64]"),
      ("evaluate: {validation: 1}", "evaluate.validation must be at least 0 and below 1, not 1.0"),
      ("draft: {vocabulary_size: 0}", "draft.vocabulary_size must be 1 or more"),
      ("draft: {rope_theta: -1}", "draft.rope_theta must be above 0"),
      ("capture: {shard_tokens: 0}", "capture.shard_tokens must be 1 or more"),
      ("capture: {layers: [2, 1, 3]}", "capture.layers must be one to eight increasing layer numbers, not [2, 1, 3]"),
      ("capture: {layers: []}", "capture.layers must be one to eight increasing layer numbers"),
    ])
  func rangesAreChecked(yaml: String, expected: String) {
    #expect(message(yaml).hasPrefix("r.yaml:5: " + expected))
  }

  @Test("required settings that are missing, empty or invalid are errors") func whatMustBeSaidIsAskedFor() {
    func error(_ overrides: [String]) -> String { message("", overrides: overrides) }
    #expect(
      error(["target.path=''"])
        == "--set target.path='': target.path is missing: name the folder or the GGUF file of the target model")
    #expect(error(["data.train=[]"]).contains("data.train is empty"))
    #expect(error(["data.held_out=1"]).contains("data.held_out must be at least 0 and below 1, not 1.0"))
    #expect(error(["run=a/b"]).contains("run may hold letters"))
    #expect(throws: RecipeError.self) { try Recipe.parse("run: x", path: "r.yaml") }
  }

  @Test("overrides that cannot be read are errors") func overridesThatCannotBeReadSaySo() {
    #expect(message("", overrides: ["train.epochs"]).hasPrefix("--set train.epochs: expected key=value"))
    #expect(message("", overrides: ["train.epochs="]).hasPrefix("--set train.epochs=: has no value"))
    #expect(message("", overrides: ["train.epoch=1"]).contains("did you mean train.epochs?"))
    #expect(message("", overrides: ["capture.layers=[1, 2"]).contains("no valid YAML"))
  }

  @Test("broken YAML and keys that occur twice are errors") func brokenYAMLNamesTheLine() {
    // The missing brace is detected at the end of the text.
    #expect(message("train: {epochs: 1").hasPrefix("r.yaml:6: no valid YAML"))
    #expect(message("train:\n  epochs: 1\n  epochs: 2").contains("has a key twice: 'epochs'"))
    #expect(message("- a").contains("no valid YAML"))
  }

  @Test("files that are missing, empty or no recipe are errors") func filesThatAreNoRecipeSaySo() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("recipe-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func error(_ name: String, _ bytes: Data?) throws -> String {
      let path = folder.appendingPathComponent(name).path
      try bytes?.write(to: URL(fileURLWithPath: path))
      do { _ = try Recipe.load(path: path) } catch { return "\(error)" }
      return "no error"
    }
    #expect(try error("none.yaml", nil).hasSuffix("none.yaml: no such recipe file"))
    #expect(try error("bytes.yaml", Data([0xff, 0xfe, 0x00])).contains("is not UTF-8 text"))
    #expect(try error("empty.yaml", Data()).contains("is empty"))
    #expect(try error("list.yaml", Data("- a\n".utf8)).contains("a recipe must be a section"))
  }

  @Test("the edit distance counts a swap as one edit") func editDistanceCountsSwapsAsOne() {
    #expect(NearestKey.editDistance("train", "trian") == 1)
    #expect(NearestKey.editDistance("", "abc") == 3)
    #expect(NearestKey.editDistance("epoch", "epochs") == 1)
    #expect(NearestKey.editDistance("kitten", "sitting") == 3)
  }
}
