import EagleCore
import EagleStorage
import EagleTensor

// D draft vocabulary · V target vocabulary.

/// The draft vocabulary in a head's folder.
enum HeadVocabulary {
  /// `d2t` holds offsets: draft id i is target id `i + d2t[i]`. A head over the whole vocabulary may leave it out.
  static func read(_ folder: SafetensorsFolder, draftSize: Int, targetSize: Int) throws -> DraftVocabulary {
    if draftSize == targetSize, !folder.contains("d2t") {
      return DraftVocabulary(targetIDs: (0..<Int32(targetSize)).map { $0 }, targetSize: targetSize)
    }
    let ids = try offsets(folder, draftSize).enumerated().map { Int32(clamping: Int64($0.offset) &+ $0.element) }
    let vocabulary = try DraftVocabulary(checking: ids, targetSize: targetSize, path: folder.path)
    try checkMembers(folder, vocabulary)
    return vocabulary
  }

  private static func offsets(_ folder: SafetensorsFolder, _ draftSize: Int) throws -> [Int64] {
    let tensor = try folder.tensor("d2t")
    if tensor.shape == [draftSize] {
      if tensor.dtype == .int64 { return Array(tensor.buffer(Int64.self)) }
      if tensor.dtype == .int32 { return tensor.buffer(Int32.self).map(Int64.init) }
    }
    throw LocatedError(
      path: folder.path, problem: "`d2t` is \(tensor.dtype) \(tensor.shape), and must be int64 or int32 [\(draftSize)]",
      advice: "check that config.json and the weights belong together")
  }

  /// Throws unless `t2d`, where there is one, marks the ids of `d2t`. It does not where `d2t` holds ids instead of
  /// offsets.
  private static func checkMembers(_ folder: SafetensorsFolder, _ vocabulary: DraftVocabulary) throws {
    guard folder.contains("t2d") else { return }
    let tensor = try folder.tensor("t2d")
    guard [.bool, .uint8].contains(tensor.dtype), tensor.shape == [vocabulary.targetSize] else {
      throw LocatedError(
        path: folder.path,
        problem: "`t2d` is \(tensor.dtype) \(tensor.shape), and must be bool or uint8 [\(vocabulary.targetSize)]",
        advice: "check that config.json and the weights belong together")
    }
    guard
      zip(tensor.buffer(UInt8.self), vocabulary.draftIDs).allSatisfy({ ($0 != 0) == ($1 >= 0) })
    else {
      throw LocatedError(
        path: folder.path, problem: "`t2d` does not mark the tokens of `d2t`",
        advice: "d2t[i] must be the target id of draft id i, minus i")
    }
  }
}
