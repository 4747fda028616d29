/// Finds the key that a user probably meant.
package enum NearestKey {
  /// The known key nearest to an unknown one, or nil when none is near.
  ///
  /// A key with the same name in another section comes first. Otherwise it is the sibling with the smallest edit
  /// distance, if at most a third of its letters change.
  static func find(for key: String, siblings: [String], all: [String]) -> String? {
    let name = lastPart(of: key)
    if let moved = all.first(where: { lastPart(of: $0) == name && $0 != key }) { return moved }
    let ranked = siblings.map { (key: $0, distance: editDistance(lastPart(of: $0), name)) }
    guard let best = ranked.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(1, max(name.count, lastPart(of: best.key).count) / 3) ? best.key : nil
  }

  private static func lastPart(of key: String) -> Substring {
    key.lastIndex(of: ".").map { key[key.index(after: $0)...] } ?? key[...]
  }

  /// The number of edits (insert, delete, replace, swap two neighbours) that turn one string into the other.
  package static func editDistance(_ a: some StringProtocol, _ b: some StringProtocol) -> Int {
    let a = Array(a)
    let b = Array(b)
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
        row.append(cost)
      }
      (beforeLast, last) = (last, row)
    }
    return last[b.count]
  }
}
