import Foundation

/// The number of times that an epoch has each conversation, where that is not once: a bit for each conversation of a
/// file with a weight above 1, since a weight of w gives floor(w) or floor(w) + 1.
package struct Repeats: Codable, Equatable, Sendable {
  /// Neighbouring conversations of files with the same whole part of the weight.
  private struct Run: Codable, Equatable, Sendable {
    let first: Int
    var count: Int
    /// Times that an epoch has each of them, at least.
    let times: Int
    /// Bit i % 8 of byte i / 8: the i-th comes once more. Ends with the last bit that is set; base64 in JSON.
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

  /// Notes that an epoch has `conversation` so many times. Conversations come in ascending order.
  ///
  /// - Parameter whole: the whole part of its file's weight, which is `times` or one less
  package mutating func add(_ conversation: Int, times: Int, whole: Int) {
    precondition(times == whole || times == whole + 1, "a weight of \(whole) and more gives \(times) times")
    // A gap means once; but a run that has begun goes on, rather than be split into many.
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

  /// Whether all runs lie within the first `count` conversations.
  package func fits(count: Int) -> Bool {
    runs.allSatisfy {
      $0.first >= 0 && $0.count >= 0 && $0.times >= 0 && $0.first <= count && $0.count <= count - $0.first
    }
  }
}
