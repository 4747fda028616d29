import EagleCore
import Foundation

/// Size and SHA-256 of every file of a folder, written last: a folder without a valid one does not exist for a
/// reader.
package struct FolderManifest: Codable, Sendable, Equatable {
  package struct File: Codable, Sendable, Equatable {
    package let path: String
    package let size: Int
    package let sha256: String

    package init(path: String, size: Int, sha256: String) {
      self.path = path
      self.size = size
      self.sha256 = sha256
    }

    /// Measures and hashes a file, which gets the name `path` in the manifest.
    package init(measuring file: String, as path: String) throws {
      self.init(path: path, size: try FileTree.size(of: file), sha256: try FileDigest.sha256(path: file))
    }
  }

  package let format: String
  package let version: Int
  /// What the folder was made from; nil when that does not matter.
  package let source: File?
  package let files: [File]

  private static let version = 1

  /// Syncs and hashes all files of `folder`, then writes the manifest under `name`.
  @discardableResult
  package static func seal(
    _ folder: String, as name: String, format: String, source: File? = nil
  ) throws -> FolderManifest {
    let files = try FileTree.files(under: folder).filter { $0 != name }.map { path in
      try DiskSync.sync("\(folder)/\(path)")
      return try File(measuring: "\(folder)/\(path)", as: path)
    }
    let manifest = FolderManifest(format: format, version: version, source: source, files: files)
    try AtomicFile.writeJSON(manifest, to: "\(folder)/\(name)", style: .indented)
    return manifest
  }

  /// Reads the manifest `name` of `folder`.
  package init(folder: String, name: String, format: String) throws {
    let path = "\(folder)/\(name)"
    guard let manifest = try? JSONDecoder().decode(FolderManifest.self, from: try FileTree.read(path)) else {
      throw LocatedError(path: path, problem: "is missing or not a manifest", advice: "the folder is not complete")
    }
    guard manifest.format == format, manifest.version == Self.version else {
      throw LocatedError(
        path: path,
        problem: "holds \(manifest.format) version \(manifest.version), not \(format) version \(Self.version)")
    }
    if let outside = manifest.files.first(where: {
      $0.path.hasPrefix("/") || $0.path.split(separator: "/").contains("..")
    }) {
      throw LocatedError(path: path, problem: "names the file `\(outside.path)`, which is outside the folder")
    }
    self = manifest
  }

  /// Whether the file is a manifest of another program, or of other folders: JSON that does not name this format. A
  /// damaged one is not.
  package static func isForeign(_ path: String, format: String) -> Bool {
    guard let data = try? FileTree.read(path), let value = try? JSONSerialization.jsonObject(with: data) else {
      return false
    }
    return (value as? [String: Any])?["format"] as? String != format
  }

  private init(format: String, version: Int, source: File?, files: [File]) {
    self.format = format
    self.version = version
    self.source = source
    self.files = files
  }

  /// Checks that all files are there with their sizes: cheap, no reading.
  package func checkSizes(in folder: String) throws {
    for file in files {
      let size = try FileTree.size(of: "\(folder)/\(file.path)")
      guard size == file.size else {
        throw LocatedError(path: "\(folder)/\(file.path)", problem: "has \(size) bytes, the manifest says \(file.size)")
      }
    }
  }

  /// Checks that all files are there with their sizes, and that they have their checksums, or one of them.
  ///
  /// - Parameter name: the file to read; all when nil
  package func verify(_ folder: String, only name: String? = nil) throws {
    try checkSizes(in: folder)
    for file in files where name == nil || file.path == name {
      let sum = try FileDigest.sha256(path: "\(folder)/\(file.path)")
      guard sum == file.sha256 else {
        throw LocatedError(
          path: "\(folder)/\(file.path)", problem: "its SHA-256 is \(sum), the manifest says \(file.sha256)")
      }
    }
  }
}
