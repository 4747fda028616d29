import EagleCore
import Foundation

/// The texts of one evaluation: an entry of `examples.json`.
package struct EpochExamples: Codable, Sendable, Equatable {
  /// The epoch as `evaluation.json` counts it.
  package var epoch: Int
  package var step: Int
  package var texts: [ExampleText]
}

/// `examples.json`: the example texts of a run's evaluations, oldest first.
package enum ExamplesFile {
  /// The entries of a file; none when there is no such file, or none that can be read.
  package static func read(_ path: String) -> [EpochExamples] {
    FileManager.default.contents(atPath: path)
      .flatMap { try? JSONDecoder().decode([EpochExamples].self, from: $0) } ?? []
  }

  /// Adds the texts of an evaluation, and removes those of its epoch and later ones.
  package static func write(_ texts: [ExampleText], epoch: Int, step: Int, to path: String) throws {
    let all = read(path).filter { $0.epoch < epoch } + [EpochExamples(epoch: epoch, step: step, texts: texts)]
    try AtomicFile.writeJSON(all, to: path, style: .compact)
  }
}
