import EagleCore
import EagleTensor
import Foundation
import Testing

/// A folder of its own for one test, removed afterwards.
final class Scratch {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/eagle-storage-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes bytes to a file directly.
  @discardableResult
  func put(_ name: String, _ data: Data) throws -> String {
    try data.write(to: URL(fileURLWithPath: self(name)))
    return self(name)
  }

  @discardableResult
  func put(_ name: String, _ text: String) throws -> String { try put(name, Data(text.utf8)) }

  func read(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: self(name))) }

  /// Names in the folder, hidden ones too, sorted.
  func entries(_ name: String = "") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: self(name)).sorted()
  }
}

/// Runs `body`, which must throw a `LocatedError`, and returns its message.
func message(_ location: SourceLocation = #_sourceLocation, of body: () throws -> Void) throws -> String {
  let error = #expect(throws: LocatedError.self, sourceLocation: location) { try body() }
  return try #require(error, sourceLocation: location).description
}

/// Bytes that look random and are always the same.
func noise(_ count: Int, seed: UInt64 = 1) -> Data {
  var state = seed
  return Data(
    (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(state >> 56)
    })
}

/// A copy of a tensor's bytes.
func bytes(_ tensor: Tensor) -> Data {
  withExtendedLifetime(tensor.storage) { Data(tensor.rawBytes) }
}
