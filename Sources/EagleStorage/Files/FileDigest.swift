import Crypto
import EagleCore
import Foundation

/// SHA-256 of files and bytes, as 64 lower-case hexadecimal digits.
package enum FileDigest {
  /// The digest of a file. What is digested is read again later, so anything but a regular file throws.
  ///
  /// - Parameters:
  ///   - path: the file
  ///   - each: called for each 64 chunks of 1 MiB, to report progress or to end the work with an error
  package static func sha256(path: String, each: () throws -> Void = {}) throws -> String {
    try requireRegular(path)
    var (hash, chunks) = (SHA256(), 0)
    try FileChunks.forEach(of: path) { bytes in
      chunks += 1
      if chunks % 64 == 0 { try each() }
      hash.update(bufferPointer: bytes)
    }
    return hex(hash.finalize())
  }

  /// Throws for a pipe before it is opened, which would wait for a writer.
  private static func requireRegular(_ path: String) throws {
    var status = stat()
    // The reason why a file is not there is told where it is opened.
    guard stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return }
    throw LocatedError(
      path: path, problem: "is no regular file, and is read twice: for its fingerprint and for its content",
      advice: "write what a pipe gives to a file first, and name that")
  }

  /// The digest of bytes in memory, in lower-case hexadecimal.
  package static func sha256(_ data: Data) -> String { hex(SHA256.hash(data: data)) }

  /// The first 128 bits of the digest.
  package static func short(_ data: Data) -> (high: UInt64, low: UInt64) {
    SHA256.hash(data: data).withUnsafeBytes {
      ($0.loadUnaligned(as: UInt64.self).bigEndian, $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian)
    }
  }

  /// What a fingerprint covers of large data: 64 evenly spaced chunks of 64 KiB, or all of it up to 4 MiB.
  static func samples(of data: UnsafeRawBufferPointer) -> [UnsafeRawBufferPointer] {
    let chunks = 64
    let length = 65536
    guard data.count > chunks * length else { return [data] }
    return (0..<chunks).map { chunk in
      let start = (data.count - length) * chunk / (chunks - 1)
      return UnsafeRawBufferPointer(rebasing: data[start..<start + length])
    }
  }

  package static func hex(_ digest: SHA256.Digest) -> String { Format.hex(digest) }
}

/// SHA-256 of bytes that come chunk by chunk.
package struct StreamDigest {
  private var hash = SHA256()

  package init() {}

  package mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

  /// 64 lower-case hexadecimal digits.
  package func finish() -> String { FileDigest.hex(hash.finalize()) }
}
