import CMPI
import Foundation

/// Something that the MPI thread does for another thread. The methods below run on the MPI thread alone.
class MPIWork: @unchecked Sendable {
  /// Name of the MPI function, for messages.
  let call: String
  // Guarded by the thread's lock.
  fileprivate(set) var isDone = false
  fileprivate(set) var failure: (any Error)?

  init(_ call: String) { self.call = call }

  /// Called when the work is submitted, in the order of all work.
  func isSubmitted(to thread: MPIThread) {}
  /// Whether the work may start now; later work of its kind waits until it may. Only averaging may return false.
  func canStart(_ thread: MPIThread) -> Bool { true }
  /// Starts the first request.
  func start(_ thread: MPIThread) throws {}
  /// Tests the request; true once all is done.
  func advance(_ thread: MPIThread) throws -> Bool { true }
  /// Whether it is an all-reduce or all-gather of buffers, which has communicators of its own and whose time is
  /// counted.
  var isAveraging: Bool { false }

  func complete(with failure: (any Error)? = nil) {
    self.failure = failure
    isDone = true
  }
}

/// One MPI request.
final class MPICall: MPIWork, @unchecked Sendable {
  private let begin: (UnsafeMutablePointer<eagle_mpi_request>) -> Int32
  private var request = eagle_mpi_request()

  init(_ call: String, _ begin: @escaping (UnsafeMutablePointer<eagle_mpi_request>) -> Int32) {
    self.begin = begin
    super.init(call)
  }

  override func start(_ thread: MPIThread) throws { try checkedMPI(call) { begin(&request) } }
  override func advance(_ thread: MPIThread) throws -> Bool { try testMPI(&request, call) }
}

/// A call that returns at once, or that ends the process.
final class MPIAction: MPIWork, @unchecked Sendable {
  private let body: () throws -> Void

  init(_ call: String, _ body: @escaping () throws -> Void) {
    self.body = body
    super.init(call)
  }

  override func start(_ thread: MPIThread) throws { try body() }
}

func testMPI(_ request: inout eagle_mpi_request, _ call: String) throws -> Bool {
  var done: Int32 = 0
  try checkedMPI(call) { eagle_mpi_test(&request, &done) }
  return done != 0
}
