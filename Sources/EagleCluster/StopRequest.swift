import Foundation

/// A request from outside, by a signal or a test, that a run ends soon with everything written.
public final class StopRequest: @unchecked Sendable {
  private let lock = NSLock()
  private var text: String?

  public init() {}

  /// - Parameter reason: what requested it, for example SIGTERM
  public func make(_ reason: String) { lock.withLock { text = text ?? reason } }

  public var isMade: Bool { lock.withLock { text != nil } }

  public func throwIfMade(during stage: String) throws {
    if let reason = lock.withLock({ text }) { throw StoppedRun(stage: stage, reason: reason) }
  }
}

extension StopRequest {
  /// Ends the stage on every rank when a stop of one of them was requested. Collective.
  public func throwIfAnyRankStops(_ cluster: any Communicator, during stage: String) throws {
    guard try cluster.anyTrue(isMade) else { return }
    make("another rank")
    try throwIfMade(during: stage)
  }
}

/// A run that has stopped on request with everything written.
public struct StoppedRun: Error, Equatable, CustomStringConvertible {
  public let stage: String
  public let reason: String

  public init(stage: String, reason: String) {
    self.stage = stage
    self.reason = reason
  }

  public var description: String { "stopped during \(stage) by \(reason); the same command goes on from here" }
}
