import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleTraining
import Foundation

/// All settings of a run: the sources of its data, the output folder, and the settings of every component.
///
/// Paths are relative to the current directory of the process, not to the recipe file.
public struct Recipe: Codable, Equatable, Sendable {
  /// The name of the run, for logs and tables.
  public var run = ""
  /// The folder that holds everything the run makes.
  public var output = ""
  /// The settings of the frozen target.
  public var target = TargetConfig()
  /// The settings of regeneration: new answers to given prompts.
  public var regenerate = RegenerateConfig()
  /// The settings of synthetic conversations.
  public var synthesize = SynthesizeConfig()
  /// The settings of the training conversations.
  public var data = DataConfig()
  /// The settings of captured states.
  public var capture = CaptureConfig()
  /// The settings of the draft head.
  public var draft = DraftConfig()
  /// The settings of training.
  public var train = TrainConfig()
  /// The settings of the measurement by speculative decoding.
  public var evaluate = EvaluateConfig()
  /// The settings of the ranks.
  public var cluster = ClusterConfig()

  /// Creates a recipe with all defaults.
  public init() {}

  /// Every setting with its value, one per line, with sorted keys: the same text for the same settings.
  ///
  /// It is JSON and therefore YAML, so it is a valid recipe. Fingerprints and the comparison between ranks use it.
  public var canonicalText: String {
    get throws { try JSONStyle.indented.text(self) + "\n" }
  }

  /// Keys of `train` that have other values than their defaults but no effect on the architecture of the head.
  package var unreadKeys: [String] {
    let plain = TrainConfig()
    let changed =
      draft.architecture == .eagle3
      ? [
        ("anchor_share", train.anchorShare != plain.anchorShare),
        ("num_anchors", train.anchorLimit != plain.anchorLimit),
      ]
      : [
        ("ttt_length", train.tttLength != plain.tttLength), ("ttt_share", train.tttShare != plain.tttShare),
        ("step_decay", train.stepDecay != plain.stepDecay),
      ]
    return changed.filter(\.1).map { "train.\($0.0)" }
  }

  /// Checks the ranges of all settings.
  ///
  /// - Throws: `ConfigError` with the full key, for example `train.clip_norm`.
  public func validate() throws {
    let isName = run.allSatisfy { $0.isLetter || $0.isNumber || "._-".contains($0) }
    try check(!run.isEmpty, "run", "is missing: give the run a name")
    try check(isName, "run", "may hold letters, digits, '.', '_' and '-' only, not '\(run)'")
    try check(!output.isEmpty, "output", "is missing: name the folder for what the run makes")
    try validate(target, under: "target")
    try validate(regenerate, under: "regenerate")
    try validate(synthesize, under: "synthesize")
    try validate(data, under: "data")
    try validate(capture, under: "capture")
    try validate(draft, under: "draft")
    try validate(train, under: "train")
    try validate(evaluate, under: "evaluate")
    try validate(cluster, under: "cluster")
  }

  private func check(_ condition: Bool, _ key: String, _ message: String) throws {
    guard condition else { throw ConfigError(key: key, message: message) }
  }

  private func validate(_ config: some Config, under section: String) throws {
    do {
      try config.validate()
    } catch let error as ConfigError {
      throw ConfigError(key: "\(section).\(error.key)", message: error.message)
    }
  }
}
