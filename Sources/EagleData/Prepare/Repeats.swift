import Foundation

/// The number of times that an epoch has each conversation, stored for those that do not occur exactly once. It takes
/// one bit per conversation of a file with a weight above 1, since a weight of w gives floor(w) or floor(w) + 1.
package struct Repeats: Codable, Equatable, Sendable {
  /// A run of consecutive conversations whose weights have the same integer part.
  private struct Run: Codable, Equatable, Sendable {
    let first: Int
    var count: Int
    /// The minimum number of times that an epoch has each of them.
    let times: Int
    /// Bit i % 8 of byte i / 8: the i-th conversation occurs once more. It ends with the last bit that is set; base64
    /// in JSON.
    var more = Data()

    var end: Int { first + count }

    func times(at i: Int) -> Int { times + (i / 8 < more.count ? Int(more[i / 8] >> UInt8(i % 8) & 1) : 0) }

    mutating func add(more isMore: Bool) {
      if isMore {
        if more.count <= count / 8 { more.append(Data(count: count / 8 + 1 - more.count)) }
        more[count / 8] |= 1 << UInt8(count % 8)
      }
      count += 1
    }
  }

  private var runs: [Run] = []

  package init() {}

  /// Records how often an epoch has `conversation`. Calls must be in ascending order of conversations.
  ///
  /// - Parameter whole: the integer part of its file's weight, which is `times` or one less
  package mutating func add(_ conversation: Int, times: Int, whole: Int) {
    precondition(times == whole || times == whole + 1, "a weight of \(whole) and more gives \(times) times")
    // A conversation outside the runs occurs once. A conversation that continues a run is added to it anyway, so that
    // the run is not split.
    if times == 1 && (whole == 0 || (whole == 1 && runs.last?.end != conversation)) { return }
    if runs.last?.end != conversation || runs.last?.times != whole {
      runs.append(Run(first: conversation, count: 0, times: whole))
    }
    runs[runs.count - 1].add(more: times > whole)
  }

  /// Repeats of each of `count` conversations.
  package func times(count: Int) -> [Int] {
    var times = [Int](repeating: 1, count: count)
    for run in runs { for i in 0..<run.count { times[run.first + i] = run.times(at: i) } }
    return times
  }

  /// Whether all runs are within the first `count` conversations.
  package func fits(count: Int) -> Bool {
    runs.allSatisfy {
      $0.first >= 0 && $0.count >= 0 && $0.times >= 0 && $0.first <= count && $0.count <= count - $0.first
    }
  }
}
