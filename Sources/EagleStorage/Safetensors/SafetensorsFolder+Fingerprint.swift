import Crypto
import EagleCore
import Foundation

extension SafetensorsFolder {
  /// A short name for the model in `folder`: `sha256:` and 64 hexadecimal digits.
  ///
  /// Covers config.json and, of each safetensors file, its name, size, header and 64 evenly spaced chunks of 64 KiB of
  /// its data (all of it up to 4 MiB), so that 8 GB take a fraction of a second. It tells models apart; it does not
  /// protect against a person who wants two models to look alike.
  package static func fingerprint(folder: String) throws -> String {
    var hash = SHA256()
    try MappedFile(path: "\(folder)/config.json").withBytes { add("config.json", $0, to: &hash) }
    for name in try Listing(folder: folder).files {
      let headerBytes = try SafetensorsFile(path: "\(folder)/\(name)").headerByteCount
      try MappedFile(path: "\(folder)/\(name)").withBytes { bytes in
        add("\(name) \(bytes.count)", UnsafeRawBufferPointer(rebasing: bytes[..<headerBytes]), to: &hash)
        for chunk in FileDigest.samples(of: UnsafeRawBufferPointer(rebasing: bytes[headerBytes...])) {
          hash.update(bufferPointer: chunk)
        }
      }
    }
    return "sha256:" + FileDigest.hex(hash.finalize())
  }

  private static func add(_ title: String, _ bytes: UnsafeRawBufferPointer, to hash: inout SHA256) {
    hash.update(data: Data("\(title) \(bytes.count)\n".utf8))
    hash.update(bufferPointer: bytes)
  }
}
