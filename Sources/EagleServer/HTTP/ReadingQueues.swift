import Dispatch

/// The queues on which bodies are parsed and prompts tokenised: two threads outside Swift's cooperative pool, so that
/// long prompts delay neither the streams nor /health, and use at most one core each.
///
/// Long bodies have a thread of their own, so that short bodies do not wait for them.
struct ReadingQueues: Sendable {
  /// The size in bytes from which a body is long; tokenising a prompt of this size takes a fraction of a second.
  static let longBody = 256 << 10

  private let short = DispatchQueue(label: "eagle-requests")
  private let long = DispatchQueue(label: "eagle-long-requests")

  /// Does the work for a body of this size, in the order of arrival.
  func run<Value: Sendable>(size: Int, _ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      (size < Self.longBody ? short : long).async { continuation.resume(with: Result(catching: work)) }
    }
  }
}
