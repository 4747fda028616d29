import EagleCore
import EagleRunFiles
import Foundation

/// The content of a run's folder. Values that an older run does not have are nil or empty.
struct RunRecord {
  let folder: RunFolder
  let name: String
  /// Folder of the target; nil if no file of the run names it.
  let targetPath: String?
  let targetFingerprint: String?
  let history: MetricsHistory
  let evaluations: [EvaluationRecord]
  let examples: [EpochExamples]
  let timing: RunTiming?
  let data: PreparedSummary?
  let draftShape: CheckpointSummary.Draft?
  /// The head's architecture, as recipes name it.
  let architecture: String
  /// The recipe's canonical text.
  let recipe: String?
  /// The date of the newest file, for runs whose files hold no date.
  let changed: Date?

  /// The fields of `prepared/manifest.json` that the page shows.
  struct PreparedSummary: Decodable {
    let fingerprint: String
    let draftVocabulary: [Int32]
    let statistics: DataStatistics

    enum CodingKeys: String, CodingKey {
      case fingerprint, statistics
      case draftVocabulary = "draft_vocabulary"
    }
  }

  /// The fields of a recipe that the page shows.
  private struct RecipeNames: Decodable {
    struct Target: Decodable { let path: String }
    struct Draft: Decodable { let architecture: String? }
    let run: String
    let target: Target
    let draft: Draft?
  }

  /// - Parameter recipe: the canonical text, for a run that has not stored its recipe
  /// - Throws: when the folder contains no run
  init(folder path: String, recipe given: String?) throws {
    folder = RunFolder(path)
    history = MetricsHistory(path: folder.metrics)
    evaluations = try EvaluationFile.read(folder.evaluation)
    examples = ExamplesFile.read(folder.examples)
    timing = RunTiming.read(folder.timing)
    data = Self.decoded(folder.preparedManifest)
    recipe = FileManager.default.contents(atPath: folder.recipe).map { String(decoding: $0, as: UTF8.self) } ?? given
    guard !(history.steps.isEmpty && evaluations.isEmpty && data == nil) else {
      throw LocatedError(
        path: path, problem: "there is no run in this folder: no metrics.jsonl, evaluation.json or prepared data",
        advice: "name the output folder of a run, or its recipe")
    }
    let names = recipe.flatMap { try? JSONDecoder().decode(RecipeNames.self, from: Data($0.utf8)) }
    let info = CheckpointSummary.best(in: folder)
    name = names?.run ?? URL(fileURLWithPath: path).lastPathComponent
    architecture = names?.draft?.architecture ?? "eagle3"
    targetPath = names?.target.path ?? info?.targetPath
    targetFingerprint = info?.targetFingerprint
    draftShape = info?.draftShape
    changed = [folder.evaluation, folder.metrics].compactMap(Self.changed).max()
  }

  /// The steps that are shown.
  var steps: [StepMetrics] { history.steps }
  var skipped: [SkippedStep] { history.skipped }

  /// The evaluation that the exported head comes from.
  var best: EvaluationRecord? { evaluations.best }

  private static func decoded<Value: Decodable>(_ path: String) -> Value? {
    FileManager.default.contents(atPath: path).flatMap { try? JSONDecoder().decode(Value.self, from: $0) }
  }

  private static func changed(_ path: String) -> Date? {
    (try? FileManager.default.attributesOfItem(atPath: path))?[.modificationDate] as? Date
  }
}
