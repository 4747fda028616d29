import Foundation

/// An error about a place: where, what, and what the reader of the message can do.
public protocol LocatedError: LocalizedError, CustomStringConvertible, Equatable {
  /// File, folder or key.
  var path: String { get }
  var problem: String { get }
  var advice: String? { get }
}

extension LocatedError {
  public var description: String {
    guard let advice else { return "\(path): \(problem)" }
    return "\(path): \(problem); \(advice)"
  }

  public var errorDescription: String? { description }
}
