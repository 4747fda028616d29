import Foundation

/// Memory of this machine, as the system reports it.
package enum SystemMemory {
  /// Bytes that a program may still take: what the kernel calls available, within the limit of the control group and
  /// that of the process (`ulimit -v`).
  package static var available: Int {
    let limits = [meminfo("MemAvailable"), groupLimit, addressLimit].compactMap(\.self)
    return limits.min() ?? 0
  }

  /// Bytes that this machine has; 0 where the system does not say.
  package static var total: Int { meminfo("MemTotal") ?? 0 }

  /// The largest resident set of this process so far, in bytes; 0 where the system does not say.
  package static var peak: Int { field("VmHWM", of: "/proc/self/status") ?? 0 }

  private static func meminfo(_ name: String) -> Int? { field(name, of: "/proc/meminfo") }

  private static func field(_ name: String, of path: String) -> Int? {
    let line = text(path)?.split(separator: "\n").first { $0.hasPrefix("\(name):") }
    let words = line?.split(whereSeparator: \.isWhitespace) ?? []
    return words.count > 1 ? Int(words[1]).map { 1024 * $0 } : nil
  }

  /// The memory left within the limits of a container or a job: of the control group of this process and all above it.
  private static var groupLimit: Int? {
    let lines = text("/proc/self/cgroup")?.split(separator: "\n") ?? []
    return lines.flatMap { line -> [Int] in
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 3 else { return [] }
      if parts[1].isEmpty {
        return folders("/sys/fs/cgroup", parts[2]).compactMap { left($0, limit: "memory.max", used: "memory.current") }
      }
      guard parts[1].split(separator: ",").contains("memory") else { return [] }
      return folders("/sys/fs/cgroup/memory", parts[2]).compactMap {
        left($0, limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes")
      }
    }.min()
  }

  /// The folders of a group and of those above it. In a container its own is the root.
  private static func folders(_ root: String, _ group: String) -> [String] {
    var (found, path) = ([root], root)
    for part in group.split(separator: "/") {
      path += "/\(part)"
      found.append(path)
    }
    return found
  }

  /// The limit less what is used, where pages of files, which the kernel drops first, count as free.
  private static func left(_ folder: String, limit: String, used: String) -> Int? {
    guard let limit = number("\(folder)/\(limit)"), let used = number("\(folder)/\(used)") else { return nil }
    let statistics = text("\(folder)/memory.stat")?.split(separator: "\n") ?? []
    let files = statistics.first { $0.hasPrefix("inactive_file ") }.flatMap {
      Int($0.dropFirst("inactive_file ".count))
    }
    return max(0, limit - used + (files ?? 0))
  }

  private static var addressLimit: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max) else {
      return nil
    }
    let pages = text("/proc/self/statm")?.split(separator: " ").first.flatMap { Int($0) } ?? 0
    return max(0, Int(limit.rlim_cur) - pages * Int(sysconf(Int32(_SC_PAGESIZE))))
  }

  private static func number(_ path: String) -> Int? {
    text(path).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
  }

  private static func text(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }
}
