/// What the captured states of a shard or store belong to.
public struct CaptureAttributes: Sendable, Equatable {
  /// H, the width of a hidden state.
  public var hiddenSize: Int
  /// V, the vocabulary of the target.
  public var vocabularySize: Int
  /// The three captured layers, 0-based, in rising order.
  public var layers: [Int]
  public var targetFingerprint: String
  /// How states are kept.
  public var format: StateFormat

  public init(
    hiddenSize: Int, vocabularySize: Int, layers: [Int], targetFingerprint: String, format: StateFormat = .bfloat16
  ) {
    self.hiddenSize = hiddenSize
    self.vocabularySize = vocabularySize
    self.layers = layers
    self.targetFingerprint = targetFingerprint
    self.format = format
  }

  static let kind = "eagle-capture"
  static let version = 1

  /// Throws an error that names both values of the first attribute that differs from `expected`.
  func check(against expected: CaptureAttributes, path: String) throws {
    let pairs: [(name: String, found: String, expected: String)] = [
      ("hidden_size", "\(hiddenSize)", "\(expected.hiddenSize)"),
      ("vocab_size", "\(vocabularySize)", "\(expected.vocabularySize)"),
      ("layers", "\(layers)", "\(expected.layers)"),
      ("target_fingerprint", targetFingerprint, expected.targetFingerprint),
      ("dtype", format.rawValue, expected.format.rawValue),
    ]
    if let pair = pairs.first(where: { $0.found != $0.expected }) {
      throw Self.mismatch(pair.name, found: pair.found, expected: pair.expected, path: path)
    }
  }

  static func mismatch(_ name: String, found: String, expected: String, path: String) -> StorageError {
    StorageError(
      path: path, problem: "captured with \(name) \(found), but this run has \(expected)",
      advice: "capture again, or name the store that belongs to this target and data")
  }
}
