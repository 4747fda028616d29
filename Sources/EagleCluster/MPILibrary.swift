import CMPI

/// The one checked door to MPI: every status passes here and becomes an error with the library's own words.
///
/// - Parameter call: name of the MPI function, for the message.
func checkedMPI(_ call: String, _ body: () -> Int32) throws {
  let status = body()
  guard status != MPI_SUCCESS else { return }
  throw ClusterError.mpi(call: call, message: mpiMessage(of: status))
}

private func mpiMessage(of status: Int32) -> String {
  var text = [CChar](repeating: 0, count: Int(MPI_MAX_ERROR_STRING) + 1)
  var length: Int32 = 0
  guard MPI_Error_string(status, &text, &length) == MPI_SUCCESS else { return "status \(status)" }
  return String(decoding: text.prefix(Int(length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
}
