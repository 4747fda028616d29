import Foundation

/// The layout of a run's output folder; checkpoints/README.md says what each part holds.
package struct RunFolder: Sendable {
  package let path: String

  package init(_ path: String) { self.path = path }

  package var prepared: String { "\(path)/prepared" }
  package var preparedManifest: String { "\(prepared)/manifest.json" }
  package var capture: String { "\(path)/capture" }
  package var export: String { "\(path)/export" }
  package var recipe: String { "\(path)/recipe.json" }
  package var metrics: String { "\(path)/metrics.jsonl" }
  package var changes: String { "\(path)/changes.jsonl" }
  package var evaluation: String { "\(path)/evaluation.json" }
  /// Evaluations in progress, for a restart.
  package var evaluationJournal: String { "\(path)/evaluation.partial" }
  package var examples: String { "\(path)/examples.json" }
  package var timing: String { "\(path)/timing.json" }
  /// The levels in which the ranks of a run with `cluster.averaging: auto` add gradients up.
  package var averaging: String { "\(path)/averaging.json" }
  package var tensorboard: String { "\(path)/tensorboard" }
  package var report: String { "\(path)/report.html" }
  /// Text that names the best checkpoint.
  package var best: String { "\(path)/best" }

  /// Removes evaluations and changes of settings, which a new run in the same folder would take for its own.
  package func removeRecordsOfEarlierRun() throws {
    for path in [evaluation, changes] where FileManager.default.fileExists(atPath: path) {
      try FileManager.default.removeItem(atPath: path)
    }
  }

  /// What a checkpoint says of its run.
  package func checkpointInfo(_ name: String) -> String { "\(path)/\(name)/info.json" }
}
