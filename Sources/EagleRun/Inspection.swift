import EagleCaptureStore
import EagleCore
import EagleDraft
import EagleModels
import EagleRecipe
import EagleStorage
import EagleTraining
import Foundation

/// Describes the content of a file or folder of this project.
package enum Inspection {
  /// The kind and the content of the file or folder at `path`, line by line; throws if it is damaged or of an unknown
  /// kind.
  package static func lines(of path: String) throws -> [String] {
    switch URL(fileURLWithPath: path).pathExtension {
    case "safetensors": try safetensors(path)
    case "gguf": try gguf(path)
    case "h5": try shard(path)
    case "yaml", "yml": [try Recipe.load(path: path).canonicalText]
    default: try folder(path)
    }
  }

  private static func safetensors(_ path: String) throws -> [String] {
    let file = try SafetensorsFile(path: path)
    let metadata = file.metadata.sorted { $0.key < $1.key }.map { "metadata \($0.key): \($0.value)" }
    return metadata + file.entries.map { "\($0.name)  \($0.dtype.rawValue) \($0.shape)" }
  }

  /// The supported model, if the file is a target; its metadata and tensors.
  private static func gguf(_ path: String) throws -> [String] {
    let file = try GGUFFile(path: path)
    let head = try DraftGGUF.summary(file).map { [$0] } ?? []
    let target = file.contains(tensor: "token_embd.weight") ? try TargetShape(folder: path).lines + [formats(file)] : []
    let metadata = file.metadata.sorted { $0.key < $1.key }.map { key, value in "\(key): \(preview(value))" }
    return head + (head.isEmpty ? target : []) + metadata + file.tensors.map { "\($0.name)  \($0.type) \($0.shape)" }
  }

  /// The share of each type in the bytes of all tensors, the largest first.
  private static func formats(_ file: GGUFFile) -> String {
    let bytes = file.tensors.reduce(into: [:]) { $0[$1.type.ggmlName, default: 0] += $1.range.count }
    let total = max(1, bytes.values.reduce(0, +))
    let shares = bytes.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { name, count in
      "\(Format.percent(Double(count) / Double(total))) \(name)"
    }
    return "weights: \(Format.bytes(Double(total))), \(shares.joined(separator: ", "))"
  }

  /// A short form of a value. For long arrays such as vocabularies it is the number of entries.
  private static func preview(_ value: GGUFValue) -> String {
    if let array = value.array { return "\(array.count) values" }
    return value.string ?? value.int.map(String.init) ?? value.float.map { "\($0)" } ?? "\(value)"
  }

  private static func shard(_ path: String) throws -> [String] {
    let shard = try CaptureShard(path: path)
    let a = shard.attributes
    return try [
      "capture shard: \(shard.conversationCount) conversations, \(shard.rowCount) rows",
      "hidden_size \(a.hiddenSize), vocab_size \(a.vocabularySize), layers \(a.layers)",
      "target \(a.targetFingerprint), computed in \(a.precision?.rawValue ?? "unknown")",
    ] + contents(shard)
  }

  /// The recorded fingerprint of a shard, checked against its conversations.
  private static func contents(_ shard: CaptureShard) throws -> [String] {
    let computed = try shard.computedFingerprint()
    if let recorded = shard.fingerprint, recorded != computed {
      throw LocatedError(
        path: shard.path,
        problem: "holds other \(recorded.tokens == computed.tokens ? "loss masks" : "tokens") than it says",
        advice: "remove the shard and capture it again")
    }
    return ["tokens \(computed.tokens)", "loss masks \(computed.masks)"]
  }

  /// The architecture of a head's folder, or the reason why it is not supported.
  private static func headLine(_ path: String) -> String {
    do { return try DraftFolder.summary(path) } catch { return "not computed here: \(error)" }
  }

  private static func folder(_ path: String) throws -> [String] {
    // A checkpoint also has a manifest, and in addition info.json.
    let files = FileManager.default
    if files.fileExists(atPath: CaptureManifest.path(in: path)), !files.fileExists(atPath: "\(path)/info.json") {
      let m = try CaptureManifest(folder: path)
      let here = m.shards.filter { files.fileExists(atPath: "\(path)/\($0.file)") }
      for entry in here { try CaptureStore.check(try CaptureShard(path: "\(path)/\(entry.file)"), entry, m) }
      let (conversations, tokens) = m.shards.reduce((0, 0)) { ($0.0 + $1.conversations, $0.1 + $1.rows) }
      return [
        "capture store: \(conversations) conversations, \(tokens) tokens, \(m.shards.count) shards, "
          + (here.count == m.shards.count
            ? "all of them here and right" : "\(here.count) of them here, which are right"),
        "hidden_size \(m.hiddenSize), vocab_size \(m.vocabularySize), layers \(m.layers), states in \(m.dtype)",
        "target \(m.targetFingerprint), computed in \(m.attributes.precision?.rawValue ?? "unknown")",
        "data \(m.dataFingerprint)",
      ]
    }
    if files.fileExists(atPath: "\(path)/config.json"), !DraftFolder.isHead(path) {
      return try TargetShape(folder: path).lines
    }
    if files.fileExists(atPath: "\(path)/model.safetensors") {
      let head = files.fileExists(atPath: "\(path)/config.json") ? [headLine(path)] : []
      return try head + safetensors("\(path)/model.safetensors")
    }
    let checkpoint = try CheckpointFolder.open(path)
    let info = try TrainingCheckpoint.info(checkpoint)
    return [
      "checkpoint of step \(info.step), all checksums right", "target \(info.targetPath) \(info.targetFingerprint)",
      "architecture \(info.draftShape.shape.architecture)"
        + info.draftShape.shape.details.map { ", \($0)" }.joined(),
      "layers \(info.draftShape.shape.captureLayers), draft vocabulary \(info.draftVocabulary.count)",
    ]
  }
}
