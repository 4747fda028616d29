import EagleCluster
import EagleStorage
import EagleTensor

/// Conversations in the order in which a few of them are looked at: drawn from all of the data by the seed.
struct StateSample {
  let conversations: [Int]

  /// - Parameters:
  ///   - trained: conversations of an epoch; one that comes several times counts once
  ///   - leftOut: those that are not looked at
  init(_ trained: [Int], leftOut: Set<Int>, seed: UInt64) {
    var random = RandomSource(seed: seed, purpose: "sample of states")
    conversations = Set(trained).subtracting(leftOut).sorted().shuffled(using: &random)
  }
}

extension StateSource {
  /// Calls `take` with those of the sample that this rank can read by itself, until it says that it has enough.
  ///
  /// - Parameter stop: looked at before each; ends the work with `StoppedRun`
  func forEach(
    of sample: StateSample, cluster: any Communicator, stop: StopRequest,
    _ take: (Int, CapturedConversation) throws -> Bool
  ) throws {
    for conversation in sample.conversations where isHere(conversation) {
      try stop.throwIfMade(during: "train, before the first step")
      cluster.tick()
      if try !take(conversation, try read([conversation])[0]) { return }
    }
  }
}
