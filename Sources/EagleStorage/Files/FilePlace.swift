import Foundation

/// A path cut into its folder and its last component.
struct FilePlace {
  let parent: String
  let name: String

  init(_ path: String) {
    let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    let cut = trimmed.lastIndex(of: "/")
    name = cut.map { String(trimmed[trimmed.index(after: $0)...]) } ?? trimmed
    let folder = cut.map { String(trimmed[..<$0]) } ?? "."
    parent = folder.isEmpty ? "/" : folder
  }

  /// The name under which this process writes before it renames: hidden, beside the target, so that the rename stays
  /// on one file system.
  var temporary: String { "\(parent)/.\(name).tmp-\(getpid())" }

  /// The process that wrote under the temporary name `entry`, or nil when `entry` is not such a name.
  static func writer(ofTemporary entry: String) -> Int32? {
    guard entry.hasPrefix("."), let mark = entry.range(of: ".tmp-", options: .backwards) else { return nil }
    return Int32(entry[mark.upperBound...])
  }

  /// The name that whoever wrote under the temporary name `entry` had in mind, or nil when `entry` is not such a name.
  static func target(ofTemporary entry: String) -> String? {
    guard writer(ofTemporary: entry) != nil, let mark = entry.range(of: ".tmp-", options: .backwards) else {
      return nil
    }
    return String(entry[..<mark.lowerBound].dropFirst())
  }

  /// Removes what a killed process left under this place's temporary names.
  func removeLeftovers() {
    Self.removeLeftovers(in: parent) { $0.hasPrefix(".\(name).tmp-") || $0.hasPrefix(".\(name).old.tmp-") }
  }

  /// Removes temporary files and folders in `parent` that satisfy `matches` and whose writer no longer runs here.
  /// Removal is best effort: a leftover costs space, not correctness.
  static func removeLeftovers(in parent: String, where matches: (String) -> Bool) {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    for entry in entries where matches(entry) {
      guard let writer = writer(ofTemporary: entry), writer == getpid() || !isRunning(writer) else { continue }
      try? FileManager.default.removeItem(atPath: "\(parent)/\(entry)")
    }
  }

  /// A killed process that its parent has not noticed yet (state Z) counts as ended.
  private static func isRunning(_ process: Int32) -> Bool {
    guard process > 0, kill(process, 0) == 0 || errno != ESRCH else { return false }
    guard let status = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return true }
    // Behind the name, which stands in parentheses and may hold anything: ` Z ...`.
    let fields = String(decoding: status, as: UTF8.self)
    return fields.range(of: ")", options: .backwards).map { !fields[$0.upperBound...].hasPrefix(" Z") } ?? true
  }
}
