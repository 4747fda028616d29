import Foundation

/// A request from outside, by a signal or a test, that a run ends soon with everything written.
public final class StopRequest: @unchecked Sendable {
  private let lock = NSLock()
  private var text: String?

  /// Creates a request that is not made yet.
  public init() {}

  /// Makes the request. The first reason stays.
  ///
  /// - Parameter reason: what requested it, for example SIGTERM
  public func make(_ reason: String) { lock.withLock { text = text ?? reason } }

  /// Whether the request was made.
  public var isMade: Bool { lock.withLock { text != nil } }

  /// Throws `StoppedRun` when the request was made; `stage` names what the error says was stopped.
  public func throwIfMade(during stage: String) throws {
    if let reason = lock.withLock({ text }) { throw StoppedRun(stage: stage, reason: reason) }
  }
}

extension StopRequest {
  /// Ends the stage on every rank with `StoppedRun` when a stop of one of them was requested. Collective.
  public func throwIfAnyRankStops(_ cluster: any Communicator, during stage: String) throws {
    guard try cluster.anyTrue(isMade) else { return }
    make("another rank")
    try throwIfMade(during: stage)
  }
}

/// The error of a run that has stopped on request with everything written.
public struct StoppedRun: Error, Equatable, CustomStringConvertible {
  /// The name of the stage that was stopped.
  public let stage: String
  /// The cause of the request, for example SIGTERM.
  public let reason: String

  /// Creates the error of a stage that was stopped.
  public init(stage: String, reason: String) {
    self.stage = stage
    self.reason = reason
  }

  public var description: String { "stopped during \(stage) by \(reason); the same command goes on from here" }
}
