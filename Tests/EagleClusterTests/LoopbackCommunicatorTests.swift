import EagleCluster
import Foundation
import Testing

@Suite struct LoopbackCommunicatorTests {
  @Test("sums are taken in rank order and are the same bits on all ranks")
  func sumsAreTakenInRankOrderAndEqualOnAllRanks() throws {
    // 1e8 + 1 - 1e8 depends on the order in fp32: rank order gives ((1e8 + 1) - 1e8) = 0.
    let parts: [Float] = [1e8, 1, -1e8]
    let sums = try LoopbackCommunicator.run(size: 3) { try $0.allReduceSum([parts[$0.rank], Float($0.rank)]) }
    #expect(sums == Array(repeating: [0, 3], count: 3))
  }

  @Test("an all-reduce adds doubles and 64-bit integers") func sumsEveryNumberType() throws {
    let sums = try LoopbackCommunicator.run(size: 4) { communicator in
      let doubles = try communicator.allReduceSum([0.5, Double(communicator.rank)])
      let integers = try communicator.allReduceSum([Int64.max / 8, Int64(communicator.rank)])
      return (doubles, integers)
    }
    for (doubles, integers) in sums {
      #expect(doubles == [2, 6])
      #expect(integers == [Int64.max / 8 * 4, 6])
    }
  }

  @Test("a broadcast takes its length from the root") func broadcastTakesTheLengthFromTheRoot() throws {
    let texts = try LoopbackCommunicator.run(size: 3) { communicator in
      try communicator.broadcast(data: Data(repeating: 65, count: communicator.rank * 2), root: 2)
    }
    #expect(texts == Array(repeating: Data("AAAA".utf8), count: 3))
  }

  @Test("a value of rank 0 reaches all ranks, and is made there alone")
  func valuesComeFromTheRoot() throws {
    let values = try LoopbackCommunicator.run(size: 3) { communicator in
      try communicator.fromRoot {
        #expect(communicator.isRoot)
        return ["rank": communicator.rank]
      }
    }
    #expect(values == [["rank": 0], ["rank": 0], ["rank": 0]])
  }

  @Test("gathered data keep their ranks and lengths")
  func gatherKeepsRanksAndLengthsApart() throws {
    let gathered = try LoopbackCommunicator.run(size: 3) { communicator in
      try communicator.allGather(Data(repeating: UInt8(communicator.rank), count: communicator.rank))
    }
    #expect(gathered == Array(repeating: [Data(), Data([1]), Data([2, 2])], count: 3))
  }

  @Test("collective calls in a row do not mix their data")
  func manyExchangesInARowDoNotMix() throws {
    let totals = try LoopbackCommunicator.run(size: 4) { communicator in
      try (0..<200).map { try communicator.allReduceSum([Int64($0 * (communicator.rank + 1))])[0] }
    }
    #expect(totals == Array(repeating: (0..<200).map { Int64($0 * 10) }, count: 4))
  }

  @Test("anyTrue is true on all ranks when one rank says so")
  func anyTrueAsksAllRanks() throws {
    let answers = try LoopbackCommunicator.run(size: 3) { communicator in
      let one = try communicator.anyTrue(communicator.rank == 2)
      let none = try communicator.anyTrue(false)
      return [one, none]
    }
    #expect(answers == Array(repeating: [true, false], count: 3))
  }

  @Test("ranks with equal texts agree") func agreementPassesOnEqualTexts() throws {
    let passed = try LoopbackCommunicator.run(size: 3) { communicator in
      try communicator.agree(on: "a: 1\nb: 2", about: "the recipe")
      return true
    }
    #expect(passed == [true, true, true])
  }

  @Test("a disagreement names the ranks and the line that differ") func disagreementNamesRanksAndLine() throws {
    let messages = try LoopbackCommunicator.run(size: 4) { communicator in
      let epochs = communicator.rank % 2 == 0 ? 3 : 5
      do {
        try communicator.agree(on: "run: x\nepochs: \(epochs)", about: "the recipe")
        return ""
      } catch {
        return "\(error)"
      }
    }
    for message in messages {
      #expect(message.contains("ranks disagree about the recipe: ranks 1, 3 differ from rank 0"))
      #expect(message.contains("line 2: rank 0 has 'epochs: 3', rank 1 has 'epochs: 5'"))
    }
  }

  @Test("a rank that fails ends the waiting of the others, and its error is the one thrown")
  func aFailingRankFreesTheOthers() throws {
    struct Broken: Error, Equatable {}
    #expect(throws: Broken()) {
      try LoopbackCommunicator.run(size: 3) { communicator in
        if communicator.rank == 1 { throw Broken() }
        try communicator.barrier()
      }
    }
  }

  @Test("abort ends the waiting of another rank")
  func abortReachesARankThatWaits() throws {
    let errors = try LoopbackCommunicator.run(size: 2) { communicator -> ClusterError? in
      if communicator.rank == 1 {
        communicator.abort(code: 7)
        return nil
      }
      do { try communicator.barrier() } catch let error as ClusterError { return error }
      return nil
    }
    #expect(errors == [.aborted(rank: 1, code: 7), nil])
  }

  @Test("an all-reduce of buffers with different lengths is an error")
  func buffersOfDifferentLengthAreAnError() throws {
    #expect(throws: ClusterError.lengthMismatch(call: "allReduceSum", rank: 1, length: 8, expected: 4)) {
      try LoopbackCommunicator.run(size: 2) { try $0.allReduceSum([Float](repeating: 0, count: $0.rank + 1)) }
    }
  }
}
