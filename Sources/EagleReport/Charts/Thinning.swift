/// A point of a curve.
package struct Point: Equatable, Sendable {
  package var x: Double
  package var y: Double

  package init(x: Double, y: Double) { (self.x, self.y) = (x, y) }
}

/// The mean of neighbouring points, and their range.
package struct Bucket: Equatable, Sendable {
  package var x: Double
  package var low: Double
  package var mean: Double
  package var high: Double
}

/// Reduces long curves to few enough points for a page.
package enum Thinning {
  /// The maximum number of points of one curve.
  package static let mostPoints = 1000

  /// Groups neighbouring points into at most `limit` buckets of equal size; few points get a bucket each.
  package static func buckets(_ points: [Point], limit: Int = mostPoints) -> [Bucket] {
    let count = min(points.count, limit)
    return (0..<count).map { index in
      let part = points[index * points.count / count..<(index + 1) * points.count / count]
      let ys = part.map(\.y)
      return Bucket(
        x: part.reduce(0) { $0 + $1.x } / Double(part.count), low: ys.min()!,
        mean: ys.reduce(0, +) / Double(part.count), high: ys.max()!)
    }
  }

  /// The curve of bucket means.
  package static func thinned(_ points: [Point], limit: Int = mostPoints) -> [Point] {
    buckets(points, limit: limit).map { Point(x: $0.x, y: $0.mean) }
  }

  /// The running mean of each point and the points before it, over at most `window` points.
  package static func runningMean(_ points: [Point], window: Int) -> [Point] {
    var sum = 0.0
    return points.indices.map { index in
      sum += points[index].y
      if index >= window { sum -= points[index - window].y }
      return Point(x: points[index].x, y: sum / Double(min(index + 1, window)))
    }
  }
}
