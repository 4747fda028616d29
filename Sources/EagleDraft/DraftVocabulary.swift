import EagleCore
import EagleTensor

/// The target tokens that the draft can propose.
package struct DraftVocabulary: Sendable, Equatable {
  /// The target id of each draft id, ascending, [D].
  package let targetIDs: [Int32]
  /// The draft id of each target id, -1 outside, [V].
  package let draftIDs: [Int32]

  package var size: Int { targetIDs.count }
  package var targetSize: Int { draftIDs.count }
  /// Whether it holds all tokens of the target.
  package var isWhole: Bool { size == targetSize }

  /// Ascending target ids of a target with `targetSize` tokens.
  package init(targetIDs: [Int32], targetSize: Int) {
    precondition(zip(targetIDs, targetIDs.dropFirst()).allSatisfy { $0 < $1 }, "draft vocabulary is not ascending")
    precondition((targetIDs.first ?? 0) >= 0 && Int(targetIDs.last ?? 0) < targetSize, "id outside 0..<\(targetSize)")
    self.targetIDs = targetIDs
    var draftIDs = [Int32](repeating: -1, count: targetSize)
    for (draft, target) in targetIDs.enumerated() { draftIDs[Int(target)] = Int32(draft) }
    self.draftIDs = draftIDs
  }

  /// Ids from a file.
  ///
  /// - Throws: `LocatedError` unless they are ascending ids of the target
  package init(checking ids: [Int32], targetSize: Int, path: String) throws {
    let ascending = zip(ids, ids.dropFirst()).allSatisfy { $0 < $1 }
    guard ascending, !ids.isEmpty, ids[0] >= 0, Int(ids[ids.count - 1]) < targetSize else {
      throw LocatedError(
        path: path, problem: "its draft vocabulary is not an ascending list of the \(targetSize) target ids")
    }
    self.init(targetIDs: ids, targetSize: targetSize)
  }

  /// The `size` most frequent ids, with `always` among them; ties go to the lower id; padded with the lowest unused
  /// ids.
  ///
  /// - Parameters:
  ///   - counts: occurrences of each target id among trained tokens, [V]
  ///   - size: D
  ///   - always: ids that are included whatever their count, such as the end of a turn
  package static func mostFrequent(counts: [Int], size: Int, always: [Int32]) -> DraftVocabulary {
    precondition(size <= counts.count && always.count <= size, "draft vocabulary of \(size) from \(counts.count) ids")
    let forced = Set(always)
    let ranked = counts.indices.lazy.filter { !forced.contains(Int32($0)) }
      .sorted { (counts[$0], -$0) > (counts[$1], -$1) }
    let chosen = always + ranked.prefix(size - forced.count).map(Int32.init)
    return DraftVocabulary(targetIDs: Set(chosen).sorted(), targetSize: counts.count)
  }

  /// `d2t[i] = target id − i`, int64 [D].
  var d2t: Tensor {
    let tensor = Tensor([size], dtype: .int64)
    let values = tensor.buffer(Int64.self)
    for (i, id) in targetIDs.enumerated() { values[i] = Int64(id) - Int64(i) }
    return tensor
  }

  /// Membership, bool [V].
  var t2d: Tensor {
    let tensor = Tensor([targetSize], dtype: .bool)
    let values = tensor.buffer(UInt8.self)
    for (i, id) in draftIDs.enumerated() { values[i] = id >= 0 ? 1 : 0 }
    return tensor
  }
}
