import Foundation

/// A path as its folder and its last component, with the temporary names next to it.
package struct FilePath {
  package let parent: String
  package let name: String

  package init(_ path: String) {
    let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    let cut = trimmed.lastIndex(of: "/")
    name = cut.map { String(trimmed[trimmed.index(after: $0)...]) } ?? trimmed
    let folder = cut.map { String(trimmed[..<$0]) } ?? "."
    parent = folder.isEmpty ? "/" : folder
  }

  /// The name under which this process writes before it renames: hidden, next to the target, so that the rename stays
  /// on one file system; with process and host, as other hosts may write to a shared disk.
  package var temporary: String { "\(parent)/.\(name).tmp-\(getpid())@\(Self.host)" }

  /// This host's name, with what a file name cannot hold replaced.
  private static let host = String(
    ProcessInfo.processInfo.hostName.prefix(64).map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })

  /// The process that wrote under a temporary name.
  package struct Writer: Equatable {
    let process: Int32
    /// Nil in names of earlier versions, which count as this host's.
    let host: String?

    /// Reads a temporary name; nil when `entry` is none.
    init?(ofTemporary entry: String) {
      guard entry.hasPrefix("."), let mark = entry.range(of: ".tmp-", options: .backwards) else { return nil }
      let parts = entry[mark.upperBound...].split(separator: "@", maxSplits: 1)
      guard let process = parts.first.flatMap({ Int32($0) }) else { return nil }
      (self.process, host) = (process, parts.count > 1 ? String(parts[1]) : nil)
    }

    var isHere: Bool { host == nil || host == FilePath.host }
  }

  /// The final name of what was written under the temporary name `entry`; nil when `entry` is no temporary name.
  package static func target(ofTemporary entry: String) -> String? {
    guard Writer(ofTemporary: entry) != nil, let mark = entry.range(of: ".tmp-", options: .backwards) else {
      return nil
    }
    return String(entry[..<mark.lowerBound].dropFirst())
  }

  /// Removes what a killed process left under this path's temporary names.
  package func removeLeftovers() {
    let (new, old) = (".\(name).tmp-", ".\(name).old.tmp-")
    Self.removeLeftovers(in: parent) { $0.hasPrefix(new) || $0.hasPrefix(old) }
  }

  /// Removes temporary files and folders in `parent` that satisfy `matches` and whose writer no longer runs here, or
  /// ran on another host and has not written for a day. Removal is best effort: a leftover costs space, not
  /// correctness.
  ///
  /// - Parameter time: the time at which the file system of a folder writes
  package static func removeLeftovers(
    in parent: String, time: (String) -> Date? = clock, where matches: (String) -> Bool
  ) {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    var now: Date?
    for entry in entries where matches(entry) {
      guard let writer = Writer(ofTemporary: entry) else { continue }
      now = now ?? (writer.isHere ? nil : time(parent))
      guard hasEnded(writer, of: "\(parent)/\(entry)", now: now) else { continue }
      try? FileManager.default.removeItem(atPath: "\(parent)/\(entry)")
    }
  }

  /// The time at which the file system of a folder writes: the clock of this host may be days ahead of it.
  package static func clock(of folder: String) -> Date? {
    let probe = FilePath("\(folder)/clock").temporary
    let file = open(probe, O_CREAT | O_WRONLY, 0o600)
    guard file >= 0 else { return nil }
    defer { close(file) }
    unlink(probe)
    var status = stat()
    guard fstat(file, &status) == 0 else { return nil }
    return Date(timeIntervalSince1970: Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9)
  }

  private static func hasEnded(_ writer: Writer, of path: String, now: Date?) -> Bool {
    if writer.isHere { return writer.process == getpid() || !isRunning(writer.process) }
    let files = [path] + ((try? FileTree.files(under: path))?.map { "\(path)/\($0)" } ?? [])
    let changes = files.compactMap {
      (try? FileManager.default.attributesOfItem(atPath: $0))?[.modificationDate] as? Date
    }
    guard let last = changes.max(), let now else { return false }
    return now.timeIntervalSince(last) > 86400
  }

  /// A killed process that its parent has not noticed yet (state Z) counts as ended.
  private static func isRunning(_ process: Int32) -> Bool {
    guard process > 0, kill(process, 0) == 0 || errno != ESRCH else { return false }
    guard let status = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return true }
    // The state follows the name, which is in parentheses and may hold anything: ` Z ...`.
    let fields = String(decoding: status, as: UTF8.self)
    return fields.range(of: ")", options: .backwards).map { !fields[$0.upperBound...].hasPrefix(" Z") } ?? true
  }
}
