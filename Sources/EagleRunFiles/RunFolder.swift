/// The layout of a run's output folder; checkpoints/README.md says what each part holds.
public struct RunFolder: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public var prepared: String { "\(path)/prepared" }
  public var preparedManifest: String { "\(prepared)/manifest.json" }
  public var capture: String { "\(path)/capture" }
  public var export: String { "\(path)/export" }
  public var recipe: String { "\(path)/recipe.json" }
  public var metrics: String { "\(path)/metrics.jsonl" }
  public var changes: String { "\(path)/changes.jsonl" }
  public var evaluation: String { "\(path)/evaluation.json" }
  /// Evaluations in progress, for a restart.
  public var evaluationJournal: String { "\(path)/evaluation.partial" }
  public var examples: String { "\(path)/examples.json" }
  public var timing: String { "\(path)/timing.json" }
  public var tensorboard: String { "\(path)/tensorboard" }
  public var report: String { "\(path)/report.html" }
  /// Text that names the best checkpoint.
  public var best: String { "\(path)/best" }

  /// What a checkpoint says of its run.
  public func checkpointInfo(_ name: String) -> String { "\(path)/\(name)/info.json" }
}
