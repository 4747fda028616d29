import Foundation

extension Communicator {
  /// The value that `make` returns on rank 0, on every rank. Collective.
  ///
  /// - Parameter make: called on rank 0 alone
  public func fromRoot<Value: Codable>(_ make: () throws -> Value) throws -> Value {
    let data = try broadcast(data: isRoot ? JSONEncoder().encode(make()) : Data())
    return try JSONDecoder().decode(Value.self, from: data)
  }
}
