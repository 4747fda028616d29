import Crypto
import EagleCore
import Foundation

/// SHA-256 of files and bytes, as 64 lower-case hexadecimal digits.
package enum FileDigest {
  /// Reads the file in chunks of 1 MiB. What is digested is read again later, so anything but a regular file throws.
  ///
  /// - Parameters:
  ///   - path: the file
  ///   - each: called for each 64 MiB, to report progress or to end the work with an error
  package static func sha256(path: String, each: () throws -> Void = {}) throws -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "open the file") }
    defer { close(descriptor) }
    try requireRegular(descriptor, path)
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { chunk.deallocate() }
    var (hash, chunks) = (SHA256(), 0)
    while true {
      chunks += 1
      if chunks % 64 == 0 { try each() }
      let count = read(descriptor, chunk.baseAddress, chunk.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw LocatedError.system(path: path, "read") }
      if count == 0 { return hex(hash.finalize()) }
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: chunk[..<count]))
    }
  }

  private static func requireRegular(_ descriptor: Int32, _ path: String) throws {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw LocatedError.system(path: path, "read its kind") }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw LocatedError(
        path: path, problem: "is no regular file, and is read twice: for its fingerprint and for its content",
        advice: "write what a pipe gives to a file first, and name that")
    }
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

  package static func hex(_ digest: SHA256.Digest) -> String {
    digest.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}

/// SHA-256 of bytes that come chunk by chunk.
package struct StreamDigest {
  private var hash = SHA256()

  package init() {}

  package mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

  /// 64 lower-case hexadecimal digits.
  package func finish() -> String { FileDigest.hex(hash.finalize()) }
}
