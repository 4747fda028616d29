import EagleCluster
import Foundation
import Testing

@Suite struct ThreadShareTests {
  @Test("ranks divide the cores of their node")
  func ranksShareTheCores() {
    #expect(Cluster.defaultThreads(localSize: 1, environment: [:], cores: 16) == 16)
    #expect(Cluster.defaultThreads(localSize: 3, environment: [:], cores: 16) == 5)
    #expect(Cluster.defaultThreads(localSize: 8, environment: [:], cores: 2) == 1)
  }

  @Test("OMP_NUM_THREADS decides about the threads, where it is a number")
  func ompNumThreadsRules() {
    func threads(_ value: String) -> Int {
      Cluster.defaultThreads(localSize: 2, environment: ["OMP_NUM_THREADS": value], cores: 8)
    }
    #expect(threads("3") == 3)
    #expect(threads("6,2") == 6)
    #expect(threads("") == 4)
    #expect(threads("many") == 4)
    #expect(threads("0") == 4)
  }

  @Test("ranks of one process share all its cores") func ranksOfOneProcessShareAllItsCores() throws {
    let cores = CoreSet.ofThisProcess.count
    let threads = try LoopbackCommunicator.run(size: 2) { try Cluster.defaultThreads(for: $0, environment: [:]) }
    #expect(threads == [max(1, cores / 2), max(1, cores / 2)])
    #expect(try Cluster.defaultThreads(for: SoloCommunicator(), environment: [:]) == cores)
  }

  @Test("core sets overlap only in the same cores of the same node") func onlyTheSameCoresOfTheSameNodeAreShared() {
    let low = CoreSet(node: "a", cores: [0, 1])
    #expect(low.overlaps(CoreSet(node: "a", cores: [1, 2])))
    #expect(!low.overlaps(CoreSet(node: "a", cores: [2, 3])))
    #expect(!low.overlaps(CoreSet(node: "b", cores: [0, 1])))
    #expect(CoreSet(encoded: low.encoded) == low)
  }

  @Test("lists of cores are read") func listsOfCoresAreRead() {
    #expect(CoreSet.parse(list: "0-3,8") == [0, 1, 2, 3, 8])
    #expect(CoreSet.parse(list: " 5\n") == [5])
    #expect(CoreSet.parse(list: "").isEmpty)
    #expect(CoreSet.ofThisProcess.count >= 1)
  }
}
