/// Settings of one component: plain values whose defaults are written once, as the initial values of the properties.
public protocol Config: Codable, Equatable, Sendable {
  /// Creates the settings with all defaults.
  init()

  /// Checks ranges, and nothing outside the settings themselves: no files, no models.
  ///
  /// - Throws: `ConfigError` for the first value that cannot work.
  func validate() throws
}

/// A setting whose value cannot work.
public struct ConfigError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The name of the setting as recipes spell it, for example `clip_norm`.
  public let key: String
  /// The rule that the value breaks, and the value that was found.
  public let message: String

  /// Creates an error about the setting `key`.
  public init(key: String, message: String) {
    self.key = key
    self.message = message
  }

  public var description: String { "\(key) \(message)" }
}

/// Throws unless `condition` holds: `try require(clipNorm > 0, "clip_norm", "must be above 0, not \(clipNorm)")`.
package func require(_ condition: Bool, _ key: String, _ message: @autoclosure () -> String) throws {
  guard condition else { throw ConfigError(key: key, message: message()) }
}

/// Throws when there is a complaint about a setting.
package func require(_ key: String, _ complaint: String?) throws {
  if let complaint { throw ConfigError(key: key, message: complaint) }
}

/// Throws unless a count is between `least` and 2^30, so that products of two counts fit 64 bits:
/// `try requireCount(batch, "batch")`.
package func requireCount(_ value: Int, _ key: String, atLeast least: Int = 1) throws {
  let most = 1 << 30
  try require(value >= least, key, "must be \(least) or more, not \(value)")
  try require(value <= most, key, "must be \(most) or less, not \(value)")
}

/// Decodes one of a few names, with an error that lists them all.
package func decodeChoice<Choice>(from decoder: any Decoder) throws -> Choice
where Choice: RawRepresentable<String> & CaseIterable {
  let container = try decoder.singleValueContainer()
  let name = try container.decode(String.self)
  if let choice = Choice(rawValue: name) { return choice }
  let names = Choice.allCases.map(\.rawValue).joined(separator: " or ")
  throw DecodingError.dataCorruptedError(in: container, debugDescription: "must be \(names), not '\(name)'")
}
