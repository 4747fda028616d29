import Foundation

/// A request that cannot be decoded.
public struct GenerationError: Error, CustomStringConvertible, LocalizedError, Equatable {
  public let description: String

  public init(_ description: String) { self.description = description }

  public var errorDescription: String? { description }
}
