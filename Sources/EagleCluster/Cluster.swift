import Foundation

/// The cluster of a run as a process finds it, and the cores that the process may use.
package enum Cluster {
  /// Threads that this rank should use: `OMP_NUM_THREADS` when set, else an equal part of the cores it may run on, and
  /// of the CPU time that its control group may use.
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
    let sharing = coresOfRanks.count { $0.node == cores.node && $0.quota == cores.quota }
    return defaultThreads(
      localSize: localSize, environment: environment, cores: cores.count,
      quota: cores.quota.map { $0.processors / max(1, sharing) })
  }

  /// `OMP_NUM_THREADS` when set, else an equal part of the cores but no more than the quota, and at least 1.
  ///
  /// - Parameters:
  ///   - localSize: ranks that share the cores.
  ///   - environment: where the variable is looked for.
  ///   - cores: how many there are to share.
  ///   - quota: the rank's part of its control group's CPU time, in processors; nil without a limit.
  package static func defaultThreads(
    localSize: Int,
    environment: [String: String] = ProcessInfo.processInfo.environment,
    cores: Int = CoreSet.ofThisProcess.count,
    quota: Int? = nil
  ) -> Int {
    // OpenMP allows one number per nesting level: "4,2". The first is ours.
    let wished = environment["OMP_NUM_THREADS"]?.split(separator: ",").first
    if let wished, let threads = Int(wished.trimmingCharacters(in: .whitespaces)), threads > 0 { return threads }
    return max(1, min(cores / max(1, localSize), quota ?? .max))
  }
}

/// The cores of one node that a process may run on.
package struct CoreSet: Equatable, Sendable {
  /// A text that identifies the node: two processes with the same text run under the same kernel.
  package let node: String
  package let cores: Set<Int>
  /// The limit of the process's CPU time; nil for none.
  package let quota: CPUQuota?

  package init(node: String, cores: Set<Int>, quota: CPUQuota? = nil) {
    (self.node, self.cores, self.quota) = (node, cores, quota)
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
      node: boot ?? process.hostName, cores: cores.isEmpty ? Set(0..<process.activeProcessorCount) : cores,
      quota: CPUQuota.ofThisProcess)
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

  /// The form in which ranks send it: `node group 4 0 1 5` with the quota, and `node - - 0 1 5` without one.
  package var encoded: Data {
    let limit = quota.map { [$0.group, "\($0.processors)"] } ?? ["-", "-"]
    return Data(([node] + limit + cores.sorted().map(String.init)).joined(separator: " ").utf8)
  }

  package init(encoded: Data) {
    let parts = String(decoding: encoded, as: UTF8.self).split(separator: " ").map(String.init)
    let quota = parts.count > 2 ? Int(parts[2]).map { CPUQuota(group: parts[1], processors: $0) } : nil
    self.init(node: parts.first ?? "", cores: Set(parts.dropFirst(3).compactMap { Int($0) }), quota: quota)
  }
}
