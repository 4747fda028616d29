/// An error between ranks.
public enum ClusterError: Error, Equatable, Sendable {
  /// An MPI call that returned an error; `message` is the library's own text.
  case mpi(call: String, message: String)
  /// Different texts on ranks where all must hold the same.
  case disagreement(about: String, ranks: [Int], detail: String)
  /// A failure of another rank, which ended with status `code`.
  case aborted(rank: Int, code: Int32)
  /// A buffer with another length than that of rank 0, in bytes.
  case lengthMismatch(call: String, rank: Int, length: Int, expected: Int)
  /// A wrong result of a call whose result is known.
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
