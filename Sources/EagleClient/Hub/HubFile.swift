import Crypto
import EagleCore
import Foundation

/// A file of a repository as the hub lists it.
struct HubFile: Sendable, Equatable {
  enum Digest: Sendable, Equatable {
    /// SHA-256 of the content, for files in Git LFS.
    case sha256(String)
    /// Git's object name: SHA-1 of `blob`, the size and the content.
    case git(String)

    /// The name of the file in the cache.
    var text: String {
      switch self {
      case .sha256(let text), .git(let text): text
      }
    }
  }

  let path: String
  let size: Int
  let digest: Digest

  /// All files of a commit.
  ///
  /// - Throws: `HubClient.Failure` for a list that cannot be read as a whole
  static func list(_ client: HubClient, _ repository: String, _ commit: String) async throws -> [HubFile] {
    var (files, next, pages) = ([HubFile](), Optional("/api/models/\(repository)/tree/\(commit)?recursive=true"), 0)
    while let page = next {
      let (list, more) = try await client.list(page)
      guard let entries = list.array, pages < 1000 else { throw HubClient.Failure.odd("it gives no list of files") }
      for entry in entries {
        if let file = HubFile(entry) {
          files.append(file)
        } else if let path = entry.object?["path"]?.string, entry.object?["type"]?.string == "file", isSafe(path) {
          throw HubClient.Failure.odd("it lists \(path) without a size and a digest")
        }
      }
      (next, pages) = (more, pages + 1)
    }
    return files
  }

  /// - Parameter entry: an object of `/api/models/…/tree`; nil for anything but a file with a digest
  init?(_ entry: JSON) {
    guard let fields = entry.object, fields["type"]?.string == "file", let path = fields["path"]?.string,
      Self.isSafe(path)
    else { return nil }
    let large = fields["lfs"]?.object
    guard let size = (large?["size"] ?? fields["size"])?.int, size >= 0 else {
      return nil
    }
    if let oid = large?["oid"]?.string, Self.isHex(oid, 64) {
      digest = .sha256(oid)
    } else if let oid = fields["oid"]?.string, Self.isHex(oid, 40) {
      digest = .git(oid)
    } else {
      return nil
    }
    (self.path, self.size) = (path, size)
  }

  /// Prevents path traversal: a hub must not make this program write outside its cache.
  private static func isSafe(_ path: String) -> Bool {
    !path.isEmpty
      && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
        !$0.isEmpty && $0 != "." && $0 != ".." && !$0.contains("\\") && !$0.utf8.contains(0)
      }
  }

  private static func isHex(_ text: String, _ count: Int) -> Bool {
    text.utf8.count == count && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }

  /// Whether a file on disk is this one.
  func matches(_ path: String) throws -> Bool {
    guard Disk.size(of: path) == size else { return false }
    switch digest {
    case .sha256(let text): return try Self.hash(path, SHA256()) == text
    case .git(let text):
      var hash = Insecure.SHA1()
      hash.update(data: Data("blob \(size)\0".utf8))
      return try Self.hash(path, hash) == text
    }
  }

  /// The digest of the content of a file, continued from the state `start`.
  private static func hash(_ path: String, _ start: some HashFunction) throws -> String {
    var hash = start
    try FileChunks.forEach(of: path) { hash.update(bufferPointer: $0) }
    return Format.hex(hash.finalize())
  }
}
