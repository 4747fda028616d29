import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Random heads for a tiny target.
struct TinyHead {
  let target: TargetModel

  func draft(layers: [Int] = [0, 1, 2]) -> DraftModel {
    var config = DraftConfig()
    config.vocabularySize = 24
    let counts = (0..<target.shape.vocabularySize).map { ($0 * 13) % 17 }
    return .random(
      shape: Eagle3Shape(of: target.shape, config, captureLayers: layers),
      vocabulary: .mostFrequent(counts: counts, size: 24, always: [3]), seed: 1)
  }

  /// The folder of a written head after `edit` of its config and tensors.
  func edited(
    _ scratch: ModelScratch, config edit: (inout [String: Any]) -> Void = { _ in },
    tensors change: (inout [String: Tensor]) -> Void = { _ in }
  ) throws -> String {
    let path = "\(scratch.path)/edited-\(UUID().uuidString)"
    try DraftFolder.write(draft(), target: target.shape, to: path)
    try Self.edit(path, config: edit, tensors: change)
    return path
  }

  /// Edits the config and the tensors of a written head.
  static func edit(
    _ path: String, config edit: (inout [String: Any]) -> Void, tensors change: (inout [String: Tensor]) -> Void
  ) throws {
    let config = URL(fileURLWithPath: "\(path)/config.json")
    var values = try JSONSerialization.jsonObject(with: Data(contentsOf: config)) as? [String: Any] ?? [:]
    edit(&values)
    try JSONSerialization.data(withJSONObject: values).write(to: config)
    let file = try SafetensorsFile(path: "\(path)/model.safetensors")
    var tensors = try file.names.reduce(into: [String: Tensor]()) { $0[$1] = try file.tensor($1) }
    change(&tensors)
    try SafetensorsWriter.write(
      path: "\(path)/model.safetensors",
      tensors: tensors.sorted { $0.key < $1.key }.map { (name: $0.key, tensor: $0.value) })
  }
}
