import CMPI
import EagleCluster

/// The one check of calls to MPI: every status passes here and becomes an error with the library's own words.
///
/// - Parameter call: name of the MPI function, for the message.
func checkedMPI(_ call: String, _ body: () -> Int32) throws {
  let status = body()
  guard status != 0 else { return }  // MPI_SUCCESS
  throw ClusterError.mpi(call: call, message: mpiText { eagle_mpi_error_text(status, $0, $1) } ?? "status \(status)")
}

/// The text that a call writes to a buffer, with its length.
private func mpiText(_ body: (UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Int32) -> String? {
  var text = [CChar](repeating: 0, count: 8193)  // the longest that any library announces, and an end
  var length: Int32 = 0
  guard body(&text, &length) == 0 else { return nil }
  return String(decoding: text.prefix(Int(length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
}

extension Cluster {
  /// Name and version of the MPI library, its first line. Starts nothing.
  package static var library: String {
    let text = mpiText { eagle_mpi_library($0, $1) } ?? "MPI"
    let line = text.split(whereSeparator: { $0.isNewline || $0 == "," || $0 == "\0" }).first ?? "MPI"
    return line.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }
}
