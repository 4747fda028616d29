import EagleCore

/// Finds texts that say nearly the same as an earlier one, by MinHash (Broder 1997) with locality-sensitive hashing.
///
/// A text is the set of its runs of three words. The fraction of hash functions whose least values agree estimates the
/// Jaccard similarity of two sets. Texts that agree in one of 20 bands of six values are compared: all but one in 400
/// of the pairs with a similarity of 0.8, and one in 200 of those with 0.25.
package struct NearDuplicates {
  private static let functions = 120
  private static let bandRows = 6
  private static let wordsTogether = 3

  private let threshold: Double
  private var signatures: [[UInt32]] = []
  /// Texts by a band's number and values.
  private var bands: [UInt64: [Int]] = [:]

  /// - Parameter threshold: the least similarity of two texts that count as the same
  package init(threshold: Double = 0.7) { self.threshold = threshold }

  /// Adds a text unless one like it is there.
  ///
  /// - Returns: whether it was added
  package mutating func insert(_ text: String) -> Bool {
    let signature = Self.signature(text)
    let keys = Self.bandKeys(signature)
    for key in keys {
      let isKnown = (bands[key] ?? []).contains { Self.agreement(signatures[$0], signature) >= threshold }
      if isKnown { return false }
    }
    for key in keys { bands[key, default: []].append(signatures.count) }
    signatures.append(signature)
    return true
  }

  private static func agreement(_ a: [UInt32], _ b: [UInt32]) -> Double {
    Double(zip(a, b).count { $0 == $1 }) / Double(functions)
  }

  /// The least value of each hash function over the runs of words.
  private static func signature(_ text: String) -> [UInt32] {
    let words = Words.of(text.lowercased())
    var least = [UInt32](repeating: .max, count: functions)
    let count = max(1, words.count - wordsTogether + 1)
    for start in 0..<count {
      let run = words[min(start, words.count)..<min(start + wordsTogether, words.count)]
      let base = FNV1a.hash(run.joined(separator: " "))
      for i in 0..<functions {
        least[i] = min(least[i], UInt32(truncatingIfNeeded: mix(base &+ UInt64(i) &* 0x9e37_79b9_7f4a_7c15) >> 32))
      }
    }
    return least
  }

  private static func bandKeys(_ signature: [UInt32]) -> [UInt64] {
    stride(from: 0, to: functions, by: bandRows).map { start in
      signature[start..<start + bandRows].reduce(UInt64(start)) { mix($0 ^ UInt64($1)) }
    }
  }

  /// SplitMix64's last step.
  private static func mix(_ x: UInt64) -> UInt64 {
    var z = x &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}
