import Foundation

extension Communicator {
  /// The value that `make` returns on rank 0, on every rank. Collective.
  ///
  /// - Parameter make: called on rank 0 alone
  package func fromRoot<Value: Codable>(_ make: () throws -> Value) throws -> Value { try from(0, make) }

  /// The value that `make` returns on rank `root`, on every rank. Collective.
  ///
  /// - Parameter make: called on that rank alone
  package func from<Value: Codable>(_ root: Int, _ make: () throws -> Value) throws -> Value {
    let data = try broadcast(data: rank == root ? JSONEncoder().encode(make()) : Data(), root: root)
    return try JSONDecoder().decode(Value.self, from: data)
  }

  /// The values of all ranks, indexed by rank. Collective.
  package func allGather<Value: Codable>(value: Value) throws -> [Value] {
    try allGather(try JSONEncoder().encode(value)).map { try JSONDecoder().decode(Value.self, from: $0) }
  }
}
