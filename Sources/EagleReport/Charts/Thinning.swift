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

/// Makes long curves short enough for a page.
package enum Thinning {
  /// Points of one curve, at most.
  package static let mostPoints = 1000

  /// Neighbouring points in buckets of equal size, at most `limit` buckets; a bucket for each point when they are few.
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

  /// The mean of each point and those before it, `window` in all or as many as there are.
  package static func runningMean(_ points: [Point], window: Int) -> [Point] {
    var sum = 0.0
    return points.indices.map { index in
      sum += points[index].y
      if index >= window { sum -= points[index - window].y }
      return Point(x: points[index].x, y: sum / Double(min(index + 1, window)))
    }
  }
}
