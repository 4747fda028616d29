import EagleCore
import EagleDraft
import EagleModels
import Foundation

/// Everything that determines the steps of a run. A checkpoint records it, and a start that resumes is compared with
/// it.
///
/// Evaluations, the number of epochs and ranks, and the location of states and checkpoints do not affect the steps.
package struct RunIdentity: Codable, Sendable, Equatable {
  /// Recipe keys, for example `train.ttt_length`, with their values as JSON.
  package var settings: [String: String]
  /// Fingerprint of the prepared conversations, the held-out split and the draft vocabulary.
  package var dataFingerprint: String
  package var targetFingerprint: String

  package init(settings: [String: String] = [:], dataFingerprint: String = "", targetFingerprint: String = "") {
    self.settings = settings
    self.dataFingerprint = dataFingerprint
    self.targetFingerprint = targetFingerprint
  }

  enum CodingKeys: String, CodingKey {
    case settings
    case dataFingerprint = "data_fingerprint"
    case targetFingerprint = "target_fingerprint"
  }

  /// Keys that may change when a run resumes, so that it can get past failing steps. Each change is recorded.
  package static let changeable: Set<String> = ["train.learning_rate", "train.leave_out"]

  /// Keys of `train` that do not affect the steps.
  private static let freeTrainKeys: Set<String> = [
    "epochs", "checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "shard_optimizer", "max_skipped_steps",
    "tensorboard",
  ]
  /// Keys of `capture` that affect the states.
  private static let captureKeys: Set<String> = ["layers", "states"]

  /// - Parameters:
  ///   - train, draft, capture: settings of the run
  ///   - precision: the precision of the target's GEMMs
  ///   - layers: the captured layers, resolved to numbers
  ///   - data: fingerprint of the prepared data
  ///   - target: fingerprint of the target
  package init(
    train: TrainConfig, draft: DraftConfig, capture: CaptureConfig, precision: ComputePrecision, layers: [Int],
    data: String,
    target: String
  ) throws {
    self.init(dataFingerprint: data, targetFingerprint: target)
    try add(train, "train") { !Self.freeTrainKeys.contains($0) }
    try add(draft, "draft") { _ in true }
    try add(capture, "capture") { Self.captureKeys.contains($0) }
    settings["capture.layers"] = "\(layers)"
    // Checkpoints of versions without defaults by architecture contain the table and the loss explicitly.
    if draft.architecture == .eagle3, train.loss == nil { settings["train.loss"] = "\"\(TrainingLoss.kl.rawValue)\"" }
    settings["draft.lm_head"] = "\"\(draft.headTable.rawValue)\""
    settings["target.precision"] = precision.rawValue
  }

  private mutating func add(_ config: some Encodable, _ section: String, where isKept: (String) -> Bool) throws {
    let fields = try JSONSerialization.jsonObject(with: try JSONEncoder().encode(config)) as? [String: Any] ?? [:]
    for (key, value) in fields where isKept(key) {
      let text = try JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys])
      settings["\(section).\(key)"] = String(decoding: text, as: UTF8.self)
    }
  }

  private static var defaults: [String: String] {
    let identity = try? RunIdentity(
      train: TrainConfig(), draft: DraftConfig(), capture: CaptureConfig(), precision: TargetConfig().precision,
      layers: [], data: "", target: "")
    return identity?.settings ?? [:]
  }

  /// A setting whose value differs when a run resumes.
  struct Difference: Equatable {
    let key: String
    let from: String
    let to: String
  }

  /// Settings that differ from those of a checkpoint, sorted by key.
  ///
  /// - Throws: if one of them must not change within a run, or if the data or the target has changed
  func changes(from earlier: RunIdentity, of checkpoint: String) throws -> [Difference] {
    try check(targetOf: earlier, checkpoint)
    try check(dataOf: earlier, checkpoint)
    return try settingChanges(from: earlier, of: checkpoint)
  }

  /// Checks the settings that can be compared with a checkpoint before the data is prepared.
  package func check(settingsOf earlier: RunIdentity, _ checkpoint: String) throws {
    try check(targetOf: earlier, checkpoint)
    _ = try settingChanges(from: earlier, of: checkpoint)
  }

  /// Throws if a checkpoint belongs to other data.
  package func check(dataOf earlier: RunIdentity, _ checkpoint: String) throws {
    guard earlier.dataFingerprint == dataFingerprint else {
      throw Self.refusal(
        checkpoint, "other data",
        "restore the data and its settings, or choose another output folder; train.leave_out takes conversations out")
    }
  }

  private func check(targetOf earlier: RunIdentity, _ checkpoint: String) throws {
    guard earlier.targetFingerprint == targetFingerprint else {
      throw Self.refusal(checkpoint, "another target model", "name the target that it was made with")
    }
  }

  private func settingChanges(from earlier: RunIdentity, of checkpoint: String) throws -> [Difference] {
    let keys = Set(settings.keys).union(earlier.settings.keys).sorted()
    let defaults = Self.defaults
    let differences = keys.compactMap { key -> Difference? in
      // If the checkpoint is older than a key, the run behaved as with the key's default.
      let old = earlier.settings[key] ?? defaults[key] ?? "none"
      let new = settings[key] ?? "none"
      return old == new ? nil : Difference(key: key, from: old, to: new)
    }
    if let fixed = differences.first(where: { !Self.changeable.contains($0.key) }) {
      throw Self.refusal(
        checkpoint, "other settings: \(fixed.key) \(fixed.from), and now it is \(fixed.to)",
        "resume with the recipe that it was made with, or choose another output folder")
    }
    return differences
  }

  private static func refusal(_ checkpoint: String, _ what: String, _ advice: String) -> LocatedError {
    LocatedError(path: checkpoint, problem: "the checkpoint belongs to a run with \(what)", advice: advice)
  }
}

/// One line of `changes.jsonl`: a setting that has changed when a run resumed after a step.
package struct RunChange: Codable, Sendable, Equatable {
  /// The number of steps that were done with the old value.
  package var step: Int
  /// Seconds since 1970.
  package var time: Double
  package var key: String
  package var from: String
  package var to: String
}

/// `changes.jsonl` of a run.
enum RunChanges {
  static func read(_ path: String) -> [RunChange] {
    let lines = FileManager.default.contents(atPath: path)?.split(separator: UInt8(ascii: "\n")) ?? []
    return lines.compactMap { try? JSONDecoder().decode(RunChange.self, from: Data($0)) }
  }

  /// Records the settings that have changed when a run resumes after a step. They replace the records of earlier starts
  /// from this step or a later one.
  static func set(_ differences: [RunIdentity.Difference], step: Int, in path: String) throws {
    let before = read(path)
    let changes = differences.map {
      RunChange(step: step, time: Date().timeIntervalSince1970, key: $0.key, from: $0.from, to: $0.to)
    }
    let all = before.filter { $0.step < step } + changes
    if all.isEmpty && before.isEmpty { return }
    let lines = try all.reduce(into: Data()) { $0 += try JSONStyle.compact.encode($1) + Data("\n".utf8) }
    try AtomicFile.write(path: path, data: lines)
  }
}
