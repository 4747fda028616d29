import EagleCore

/// The model and the layers that the captured states of a shard or store come from.
package struct CaptureAttributes: Sendable, Equatable {
  /// H, the width of a hidden state.
  package var hiddenSize: Int
  /// V, the vocabulary of the target.
  package var vocabularySize: Int
  /// The captured layers, 0-based, in rising order.
  package var layers: [Int]
  package var targetFingerprint: String
  /// The format of the stored states.
  package var format: StateFormat
  /// The precision in which the processor computed the states, whatever was requested; nil where a shard of version 1
  /// does not record it.
  package var precision: ComputePrecision?

  package init(
    hiddenSize: Int, vocabularySize: Int, layers: [Int], targetFingerprint: String, format: StateFormat = .bf16,
    precision: ComputePrecision?
  ) {
    self.hiddenSize = hiddenSize
    self.vocabularySize = vocabularySize
    self.layers = layers
    self.targetFingerprint = targetFingerprint
    self.format = format
    self.precision = precision
  }

  static let kind = "eagle-capture"
  /// Version 2 added the precision and the fingerprints of the shard's own conversations; version 1 can be read.
  static let version = 2
  static let readableVersions = 1...2

  /// Throws an error that names both values of the first attribute that differs from `expected`. An unknown precision
  /// differs from none.
  package func check(against expected: CaptureAttributes, path: String) throws {
    let pairs: [(name: String, found: String, expected: String)] = [
      ("hidden_size", "\(hiddenSize)", "\(expected.hiddenSize)"),
      ("vocab_size", "\(vocabularySize)", "\(expected.vocabularySize)"),
      ("layers", "\(layers)", "\(expected.layers)"),
      ("target_fingerprint", targetFingerprint, expected.targetFingerprint),
      ("dtype", format.dtype, expected.format.dtype),
    ]
    if let pair = pairs.first(where: { $0.found != $0.expected }) {
      throw Self.mismatch(pair.name, found: pair.found, expected: pair.expected, path: path)
    }
    guard let precision, let computed = expected.precision, precision != computed else { return }
    throw LocatedError(
      path: path,
      problem: "captured with precision \(precision.rawValue), but this run computes \(computed.rawValue)",
      advice: "states of both would be mixed: set target.precision to \(precision.rawValue) where the processor can do "
        + "it, or remove the capture folder")
  }

  static func mismatch(_ name: String, found: String, expected: String, path: String) -> LocatedError {
    LocatedError(
      path: path, problem: "captured with \(name) \(found), but this run has \(expected)",
      advice: "remove the capture folder, or name the store that belongs to this target and data")
  }
}
