import EagleCore
import EagleTensor
import Foundation

/// The weights of a Hugging Face folder: `model.safetensors`, or the shards of `model.safetensors.index.json`.
package final class SafetensorsFolder: TensorSource {
  package let path: String
  /// The names of all tensors, sorted.
  package let names: [String]
  /// The safetensors files, sorted by name.
  package let files: [SafetensorsFile]
  private let fileOfTensor: [String: SafetensorsFile]

  /// Maps all weight files. A missing shard, or a tensor that its shard does not hold, throws.
  package init(path: String) throws {
    self.path = path
    let listing = try Listing(folder: path)
    let files = try listing.files.map { try SafetensorsFile(path: "\(path)/\($0)") }
    let byName = Dictionary(uniqueKeysWithValues: zip(listing.files, files))
    self.files = files
    if let map = listing.fileOfTensor {
      fileOfTensor = try map.reduce(into: [:]) { try $0[$1.key] = Self.shard(for: $1.key, in: byName[$1.value]) }
    } else {
      fileOfTensor = files[0].names.reduce(into: [:]) { $0[$1] = files[0] }
    }
    names = fileOfTensor.keys.sorted()
  }

  package func contains(_ name: String) -> Bool { fileOfTensor[name] != nil }

  /// Type and shape of a tensor; throws when there is none of that name.
  package func entry(_ name: String) throws -> SafetensorsFile.Entry { try file(holding: name).entry(name) }

  /// The tensor over the mapped file, read-only.
  package func tensor(_ name: String) throws -> Tensor { try file(holding: name).tensor(name) }

  package func stored(_ names: [String]) throws -> [StoredTensor] {
    try names.map { name in
      let file = try file(holding: name)
      let (entry, start) = (try file.entry(name), file.headerByteCount)
      return StoredTensor(
        name: name, file: file.path, dtype: entry.dtype,
        range: start + entry.range.lowerBound..<start + entry.range.upperBound)
    }
  }

  private func file(holding name: String) throws -> SafetensorsFile {
    guard let file = fileOfTensor[name] else {
      throw LocatedError(
        path: path, problem: "the weights have no tensor `\(name)`",
        advice: "check that config.json and the weights belong together")
    }
    return file
  }

  private static func shard(for name: String, in file: SafetensorsFile?) throws -> SafetensorsFile? {
    guard let file, file.contains(name) else {
      throw LocatedError(
        path: file?.path ?? name, problem: "has no tensor `\(name)`, although model.safetensors.index.json says so",
        advice: "download the shards and the index again")
    }
    return file
  }
}

extension SafetensorsFolder {
  /// The files that hold a folder's weights.
  struct Listing {
    /// Sorted names.
    let files: [String]
    /// The file of each tensor, from the index; nil for a single file.
    let fileOfTensor: [String: String]?

    private struct Index: Decodable {
      let weight_map: [String: String]
    }

    init(folder: String) throws {
      let indexPath = "\(folder)/model.safetensors.index.json"
      if FileTree.isFile("\(folder)/model.safetensors") {
        files = ["model.safetensors"]
        fileOfTensor = nil
        return
      }
      guard FileTree.isFile(indexPath) else { throw Self.nothingThere(folder) }
      let map = try Self.weightMap(indexPath)
      files = Set(map.values).sorted()
      fileOfTensor = map
    }

    private static func nothingThere(_ folder: String) -> LocatedError {
      guard FileTree.isFolder(folder) else {
        return LocatedError(path: folder, problem: "there is no such folder", advice: "check the path")
      }
      let names = (try? FileTree.entries(of: folder)) ?? []
      if let pickle = names.first(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".pt") || $0.hasSuffix(".pth") }) {
        return LocatedError(
          path: folder,
          problem: "has its weights in \(pickle), PyTorch's own format, which can run code and is not read here",
          advice: "look for a safetensors version, or write one with safetensors.torch.save_file")
      }
      return LocatedError(
        path: folder, problem: "has neither model.safetensors nor model.safetensors.index.json",
        advice: "name a Hugging Face folder with safetensors weights")
    }

    private static func weightMap(_ path: String) throws -> [String: String] {
      let data = try FileTree.read(path)
      guard let index = try? JSONDecoder().decode(Index.self, from: data), !index.weight_map.isEmpty else {
        throw LocatedError(path: path, problem: "has no valid `weight_map`", advice: "download the index again")
      }
      if let invalid = index.weight_map.values.first(where: { $0.contains("/") || $0.hasPrefix(".") || $0.isEmpty }) {
        throw LocatedError(path: path, problem: "names the shard `\(invalid)`, which is not a file of this folder")
      }
      return index.weight_map
    }
  }
}
