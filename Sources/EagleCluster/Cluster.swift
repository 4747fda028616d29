import Foundation

/// The cluster of a run as a process finds it, and the cores that the process may use.
package enum Cluster {
  /// Threads that this rank should use: `OMP_NUM_THREADS` when set, else an equal part of the cores it may run on.
  ///
  /// A core is shared by the ranks of the node whose affinity holds it: with `mpirun --bind-to none` all of them, with
  /// `--bind-to numa` those of one NUMA node, with `--bind-to core` (the default for two ranks) this rank alone, which
  /// then has one thread. Collective.
  package static func defaultThreads(
    for communicator: any Communicator, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> Int {
    let cores = CoreSet.ofThisProcess
    let coresOfRanks = try communicator.allGather(cores.encoded).map(CoreSet.init(encoded:))
    let localSize = coresOfRanks.count { $0.overlaps(cores) }
    return defaultThreads(localSize: localSize, environment: environment, cores: cores.count)
  }

  /// `OMP_NUM_THREADS` when set, else an equal part of the cores, and at least 1.
  ///
  /// - Parameters:
  ///   - localSize: ranks that share the cores.
  ///   - environment: where the variable is looked for.
  ///   - cores: how many there are to share.
  package static func defaultThreads(
    localSize: Int,
    environment: [String: String] = ProcessInfo.processInfo.environment,
    cores: Int = CoreSet.ofThisProcess.count
  ) -> Int {
    // OpenMP allows one number per nesting level: "4,2". The first is ours.
    let wished = environment["OMP_NUM_THREADS"]?.split(separator: ",").first
    if let wished, let threads = Int(wished.trimmingCharacters(in: .whitespaces)), threads > 0 { return threads }
    return max(1, cores / max(1, localSize))
  }
}

/// The cores of one node that a process may run on.
package struct CoreSet: Equatable, Sendable {
  /// A text that identifies the node: two processes with the same text run under the same kernel.
  package let node: String
  package let cores: Set<Int>

  package init(node: String, cores: Set<Int>) {
    self.node = node
    self.cores = cores
  }

  /// How many cores there are.
  package var count: Int { cores.count }

  /// The cores that Linux names in `/proc`; every active core where it does not.
  package static var ofThisProcess: CoreSet {
    let process = ProcessInfo.processInfo
    let boot = text(of: "/proc/sys/kernel/random/boot_id")?.trimmingCharacters(in: .whitespacesAndNewlines)
    let status = text(of: "/proc/self/status")?.split(separator: "\n")
    let list = status?.first { $0.hasPrefix("Cpus_allowed_list:") }?.split(separator: "\t").last
    let cores = list.map(parse(list:)) ?? []
    return CoreSet(
      node: boot ?? process.hostName, cores: cores.isEmpty ? Set(0..<process.activeProcessorCount) : cores)
  }

  private static func text(of path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

  /// The cores of a list such as `0-3,8`.
  package static func parse(list: some StringProtocol) -> Set<Int> {
    let ranges = list.split(separator: ",").map { range in
      range.split(separator: "-").compactMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
    return Set(ranges.flatMap { ends in ends.isEmpty ? [] : Array(ends[0]...max(ends[0], ends[ends.count - 1])) })
  }

  /// Whether both name a core of the same node.
  package func overlaps(_ other: CoreSet) -> Bool { node == other.node && !cores.isDisjoint(with: other.cores) }

  /// The form in which ranks send it: `node 0 1 5`.
  package var encoded: Data {
    Data(([node] + cores.sorted().map(String.init)).joined(separator: " ").utf8)
  }

  package init(encoded: Data) {
    let parts = String(decoding: encoded, as: UTF8.self).split(separator: " ")
    self.init(node: String(parts.first ?? ""), cores: Set(parts.dropFirst().compactMap { Int($0) }))
  }
}
