import EagleCaptureStore
import EagleCluster
import EagleDraft
import EagleModels
import EagleTensor

/// Provides rank 0 with a sample of the conversations, chosen by the seed from all of the data, on any node.
///
/// The other ranks send the conversations that rank 0's node does not store, chunk by chunk, until rank 0 has enough. A
/// stop on any rank ends the work on all of them before the next chunk.
struct StateSample {
  /// The number of conversations of one exchange.
  private static let chunk = 8

  private let conversations: [Int]
  private let feed: ConversationFeed
  private let cluster: any Communicator
  private let stop: StopRequest

  /// - Parameters:
  ///   - trained: the conversations of an epoch; one that occurs several times counts once
  ///   - leftOut: the conversations that are not read
  ///   - seed: the seed of the sample
  ///   - feed: the source of their states
  init(
    _ trained: [Int], leftOut: Set<Int>, seed: UInt64, feed: ConversationFeed, cluster: any Communicator,
    stop: StopRequest
  ) {
    var random = RandomSource(seed: seed, purpose: "sample of states")
    conversations = Set(trained).subtracting(leftOut).sorted().shuffled(using: &random)
    (self.feed, self.cluster, self.stop) = (feed, cluster, stop)
  }

  /// Runs `body` on rank 0 and returns its result there; nil on other ranks. `body` may visit the sample several times.
  /// Collective.
  ///
  /// - Throws: `StoppedRun` on all ranks when a stop was requested
  func onRoot<Result>(_ body: () throws -> Result) throws -> Result? {
    guard cluster.isRoot else {
      while let first = try agree(on: nil) { try fetch(from: first) }
      return nil
    }
    let result = try body()
    _ = try agree(on: nil)
    return result
  }

  /// Calls `take` with one numbered conversation after the other until it returns that it has enough. Only on rank 0,
  /// within `onRoot`.
  func visit(_ take: (Int, CapturedConversation) throws -> Bool) throws {
    let clock = PhaseClock()
    for first in stride(from: 0, to: conversations.count, by: Self.chunk) {
      _ = try agree(on: first)
      try fetch(from: first)
      for conversation in chunk(from: first) {
        guard try take(conversation, try feed.read([.whole(conversation)], clock)[0]) else { return }
      }
    }
  }

  private func chunk(from first: Int) -> ArraySlice<Int> { conversations[first...].prefix(Self.chunk) }

  /// The position at which rank 0 reads next, on all ranks; nil if it has enough. Collective.
  private func agree(on first: Int?) throws -> Int? {
    let sums = try cluster.allReduceSum([Int64(first.map { $0 + 1 } ?? 0), stop.isMade ? 1 : 0])
    if sums[1] > 0 {
      stop.make("another rank")
      try stop.throwIfMade(during: "train, before the first step")
    }
    return sums[0] > 0 ? Int(sums[0]) - 1 : nil
  }

  private func fetch(from first: Int) throws {
    try feed.fetch((0..<cluster.size).map { $0 == 0 ? chunk(from: first).map { .whole($0) } : [] }, PhaseClock())
    cluster.tick()
  }
}
