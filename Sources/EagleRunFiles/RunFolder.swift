/// Where the parts of a run lie under its output folder; checkpoints/README.md says what each holds.
public struct RunFolder: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public var prepared: String { "\(path)/prepared" }
  public var capture: String { "\(path)/capture" }
  public var export: String { "\(path)/export" }
  public var recipe: String { "\(path)/recipe.json" }
  public var metrics: String { "\(path)/metrics.jsonl" }
  public var changes: String { "\(path)/changes.jsonl" }
  public var evaluation: String { "\(path)/evaluation.json" }
  public var examples: String { "\(path)/examples.json" }
  public var timing: String { "\(path)/timing.json" }
  public var tensorboard: String { "\(path)/tensorboard" }
  public var report: String { "\(path)/report.html" }
}
