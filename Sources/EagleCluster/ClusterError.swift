/// What can go wrong between ranks.
public enum ClusterError: Error, Equatable, Sendable {
  /// An MPI call returned an error; `message` is the library's own text.
  case mpi(call: String, message: String)
  /// Ranks hold different texts where all must hold the same.
  case disagreement(about: String, ranks: [Int], detail: String)
  /// Another rank has given up.
  case aborted(rank: Int, code: Int32)
  /// A rank passed a buffer of another length than rank 0.
  case lengthMismatch(call: String, rank: Int, length: Int, expected: Int)
  /// A call whose result is known gave another one.
  case wrongResult(call: String, library: String)
}

extension ClusterError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .mpi(let call, let message):
      "\(call) failed: \(message)"
    case .disagreement(let about, let ranks, let detail):
      "ranks disagree about \(about): \(ranks.count == 1 ? "rank" : "ranks") "
        + "\(ranks.map(String.init).joined(separator: ", ")) \(ranks.count == 1 ? "differs" : "differ") from rank 0 "
        + "(\(detail)); start every rank with the same files and flags"
    case .aborted(let rank, let code):
      "rank \(rank) has failed (status \(code)); its own message says why"
    case .lengthMismatch(let call, let rank, let length, let expected):
      "\(call): rank \(rank) passed \(length) bytes, rank 0 passed \(expected); every rank must pass the same length"
    case .wrongResult(let call, let library):
      "\(call) gave a wrong result: this MPI library or network cannot be trained on (\(library))"
    }
  }
}
