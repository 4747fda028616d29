import Foundation

/// The ends of a 95 % interval. JSON holds them as a list of two numbers.
public struct Interval: Codable, Sendable, Equatable {
  /// The lower end.
  public var low: Double
  /// The upper end.
  public var high: Double

  /// Creates an interval from its ends.
  public init(low: Double, high: Double) { (self.low, self.high) = (low, high) }

  public init(from decoder: any Decoder) throws {
    var list = try decoder.unkeyedContainer()
    (low, high) = (try list.decode(Double.self), try list.decode(Double.self))
  }

  public func encode(to encoder: any Encoder) throws {
    var list = encoder.unkeyedContainer()
    try list.encode(low)
    try list.encode(high)
  }

  /// Both ends with two digits: `[2.11, 2.43]`.
  package var text: String { String(format: "[%.2f, %.2f]", low, high) }
}
