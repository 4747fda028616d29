import Foundation

/// A limit of CPU time by control groups of Linux, as `docker run --cpus` and Kubernetes set it. More threads than that
/// are stopped for parts of each period.
package struct CPUQuota: Equatable, Sendable {
  /// A text without spaces that identifies the group: processes with the same text share the limit.
  package let group: String
  /// The processors' worth of time, rounded up.
  package let processors: Int

  package init(group: String, processors: Int) { (self.group, self.processors) = (group, processors) }

  /// The tightest limit of this process; nil without one.
  package static var ofThisProcess: CPUQuota? { CPUQuota(root: "") }

  /// The tightest limit of the process's group and those above it: `cpu.max` of version 2, `cpu.cfs_quota_us` of
  /// version 1. In a container, paths may begin above the folder that it sees as the root.
  ///
  /// - Parameter root: the folder that holds `proc` and `sys`
  package init?(root: String) {
    var tightest: (group: String, processors: Double)?
    for line in (Self.text("\(root)/proc/self/cgroup") ?? "").split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard fields.count == 3 else { continue }
      let controllers = fields[1].split(separator: ",")
      guard controllers.isEmpty || controllers.contains("cpu") else { continue }
      for mount in controllers.isEmpty ? ["", "/unified"] : ["/cpu", "/cpu,cpuacct"] {
        var names = fields[2].split(separator: "/")
        while true {
          let group = names.map { "/\($0)" }.joined()
          if let limit = Self.limit("\(root)/sys/fs/cgroup\(mount)\(group)"), limit < tightest?.processors ?? .infinity
          {
            tightest = (group, limit)
          }
          if names.popLast() == nil { break }
        }
      }
    }
    guard let tightest else { return nil }
    let namespace = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(root)/proc/self/ns/cgroup")
    self.init(
      group: "\(namespace ?? "")\(tightest.group)".replacing(" ", with: "_"),
      processors: max(1, Int(tightest.processors.rounded(.up))))
  }

  /// The quota of a group's folder over its period; nil for none.
  private static func limit(_ folder: String) -> Double? {
    let unified = text("\(folder)/cpu.max")?.split(separator: " ").map(String.init)
    let values = unified ?? ["quota", "period"].map { text("\(folder)/cpu.cfs_\($0)_us") ?? "" }
    guard values.count == 2, let quota = Double(values[0]), let period = Double(values[1]) else { return nil }
    return quota > 0 && period > 0 ? quota / period : nil
  }

  private static func text(_ path: String) -> String? {
    (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
