import Foundation

/// Memory of this machine, as the system tells it.
public enum SystemMemory {
  /// Bytes that a program may still take: what the kernel calls available, within the limit of the control group and that of
  /// the process (`ulimit -v`).
  public static var available: Int {
    let limits = [meminfo("MemAvailable"), groupLimit, addressLimit].compactMap(\.self)
    return limits.min() ?? 0
  }

  private static func meminfo(_ name: String) -> Int? {
    let line = text("/proc/meminfo")?.split(separator: "\n").first { $0.hasPrefix("\(name):") }
    let words = line?.split(whereSeparator: \.isWhitespace) ?? []
    return words.count > 1 ? Int(words[1]).map { 1024 * $0 } : nil
  }

  /// What is left of a limit that a container or a job sets.
  private static var groupLimit: Int? {
    guard let limit = number("/sys/fs/cgroup/memory.max"), let used = number("/sys/fs/cgroup/memory.current") else {
      return nil
    }
    // Pages of files, which the kernel drops first, count as used there.
    let files = text("/sys/fs/cgroup/memory.stat")?.split(separator: "\n").first { $0.hasPrefix("file ") }
      .flatMap { Int($0.dropFirst("file ".count)) }
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
