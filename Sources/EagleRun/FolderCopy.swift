import EagleCluster
import EagleCore
import EagleStorage
import Foundation

/// Copies of a folder on nodes that share no disk with rank 0.
enum FolderCopy {
  /// The maximum number of bytes of a message.
  private static let chunkBytes = 16 << 20

  /// SHA-256 of names and contents. `each` is called for each 64 MiB.
  static func digest(of folder: String, each: () -> Void) throws -> String {
    let lines = try files(of: folder).map { "\($0) \(try FileDigest.sha256(path: "\(folder)/\($0)", each: each))" }
    return FileDigest.sha256(Data(lines.joined(separator: "\n").utf8))
  }

  private static func files(of folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).filter { !$0.hasPrefix(".") }.sorted()
  }

  /// Broadcasts the files of rank 0's folder; the ranks with `receives` write them atomically. Collective.
  static func broadcast(_ folder: String, receives: Bool, cluster: any Communicator) throws {
    let list = cluster.isRoot ? try files(of: folder).joined(separator: "\n") : ""
    let names = String(decoding: try cluster.broadcast(data: Data(list.utf8)), as: UTF8.self)
      .split(separator: "\n").map(String.init)
    guard receives && !cluster.isRoot else {
      for name in names { try send(cluster.isRoot ? "\(folder)/\(name)" : nil, cluster) { _ in } }
      return
    }
    try AtomicFolder.write(path: folder, replacing: true) { temporary in
      for name in names {
        try AtomicFile.write(path: "\(temporary)/\(name)") { file in try send(nil, cluster) { try file.write($0) } }
      }
    }
  }

  /// Sends one file, chunk by chunk; an empty chunk ends it.
  private static func send(_ path: String?, _ cluster: any Communicator, _ write: (Data) throws -> Void) throws {
    let source = try path.map { try FileHandle(forReadingFrom: URL(fileURLWithPath: $0)) }
    defer { try? source?.close() }
    while true {
      let bytes = try cluster.broadcast(data: try source?.read(upToCount: chunkBytes) ?? Data())
      guard !bytes.isEmpty else { return }
      try write(bytes)
    }
  }
}
