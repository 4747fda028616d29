import Foundation

/// The run of a checkpoint, from its `info.json`. Weights are not read, and so not checked.
package struct CheckpointSummary: Decodable, Sendable, Equatable {
  package let targetPath: String
  package let targetFingerprint: String
  package let draftShape: Draft

  /// Sizes of the draft head.
  package struct Draft: Decodable, Sendable, Equatable {
    package let hiddenSize: Int
    package let draftVocabularySize: Int
    /// 0-based target layers whose outputs the head reads.
    package let captureLayers: [Int]
  }

  enum CodingKeys: String, CodingKey {
    case targetPath = "target_path"
    case targetFingerprint = "target_fingerprint"
    case draftShape = "draft_shape"
  }

  /// The best checkpoint of a run, or the newest; nil when there is none.
  package static func best(in folder: RunFolder) -> CheckpointSummary? {
    let files = FileManager.default
    let best = files.contents(atPath: folder.best).map { String(decoding: $0, as: UTF8.self) }
    let steps = ((try? files.contentsOfDirectory(atPath: folder.path)) ?? []).compactMap { name in
      Int(name.dropFirst("step-".count)).flatMap { name.hasPrefix("step-") ? (step: $0, name: name) : nil }
    }
    let names =
      [best?.trimmingCharacters(in: .whitespacesAndNewlines)].compactMap(\.self)
      + steps.sorted { $0.step > $1.step }.map(\.name)
    return names.lazy.compactMap { name in
      files.contents(atPath: folder.checkpointInfo(name)).flatMap {
        try? JSONDecoder().decode(CheckpointSummary.self, from: $0)
      }
    }.first
  }
}
