import Foundation

/// The error of a request that cannot be decoded.
public struct GenerationError: Error, CustomStringConvertible, LocalizedError, Equatable {
  /// The sentence that says what cannot be decoded, and why.
  public let description: String

  /// Creates an error with its sentence.
  public init(_ description: String) { self.description = description }

  public var errorDescription: String? { description }
}
