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
    let own = CoreSet.ofThisProcess
    let cores = min(own.count, own.quota?.processors ?? .max)
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
    let limited = CoreSet(node: "a", cores: [3], quota: CPUQuota(group: "cgroup:[4026531835]/x", processors: 2))
    #expect(CoreSet(encoded: limited.encoded) == limited)
  }

  @Test("a quota of CPU time limits the threads")
  func quota() {
    #expect(Cluster.defaultThreads(localSize: 1, environment: [:], cores: 64, quota: 4) == 4)
    #expect(Cluster.defaultThreads(localSize: 1, environment: [:], cores: 2, quota: 4) == 2)
    #expect(Cluster.defaultThreads(localSize: 2, environment: [:], cores: 64, quota: 0) == 1)
    #expect(Cluster.defaultThreads(localSize: 1, environment: ["OMP_NUM_THREADS": "9"], cores: 64, quota: 4) == 9)
  }

  @Test(
    "the tightest quota of a control group and those above it counts, in both versions",
    arguments: [
      ("0::/pod/box\n", ["pod/cpu.max": "150000 100000", "pod/box/cpu.max": "max 100000"], 2),
      ("0::/pod/box\n", ["pod/cpu.max": "800000 100000", "pod/box/cpu.max": "300000 100000"], 3),
      ("0::/not/seen/here\n", ["cpu.max": "20000 100000"], 1), ("0::/\n", ["cpu.max": "max 100000"], nil),
      ("0::/\n", ["cpu.max": "damaged"], nil), ("", [:], nil),
      (
        "4:memory:/m\n3:cpu,cpuacct:/docker/x\n0::/\n",
        ["cpu/docker/x/cpu.cfs_quota_us": "400000", "cpu/docker/x/cpu.cfs_period_us": "100000"], 4
      ),
      ("1:cpu:/\n", ["cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"], nil),
    ] as [(String, [String: String], Int?)])
  func controlGroups(groups: String, files: [String: String], processors: Int?) throws {
    let root = NSTemporaryDirectory() + "/eagle-quota-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: root) }
    for (path, text) in files.map({ ("sys/fs/cgroup/\($0)", $1) }) + [("proc/self/cgroup", groups)] {
      let file = URL(fileURLWithPath: "\(root)/\(path)")
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data("\(text)\n".utf8).write(to: file)
    }
    #expect(CPUQuota(root: root)?.processors == processors)
  }

  @Test("lists of cores are read") func listsOfCoresAreRead() {
    #expect(CoreSet.parse(list: "0-3,8") == [0, 1, 2, 3, 8])
    #expect(CoreSet.parse(list: " 5\n") == [5])
    #expect(CoreSet.parse(list: "").isEmpty)
    #expect(CoreSet.ofThisProcess.count >= 1)
  }
}
