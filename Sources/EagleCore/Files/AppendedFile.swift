import Foundation

/// Files that grow at their end.
package enum AppendedFile {
  /// Adds bytes behind what the file holds; creates the file when it is missing.
  package static func append(_ bytes: Data, to path: String) throws {
    if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    defer { try? file.close() }
    try file.seekToEnd()
    try file.write(contentsOf: bytes)
  }
}
