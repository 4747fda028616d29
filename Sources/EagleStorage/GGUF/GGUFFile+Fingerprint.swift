import Crypto
import EagleCore
import Foundation

extension GGUFFile {
  /// A short name for the model: `sha256:` and 64 hexadecimal digits, independent of the path.
  ///
  /// Covers of each part its size, its header with all metadata, and `FileDigest.samples` of its data. It tells models
  /// apart; it does not protect against a person who wants two models to look alike.
  package func fingerprint() -> String {
    var hash = SHA256()
    hash.update(data: Data("gguf \(parts.count)\n".utf8))
    for part in parts {
      part.file.withBytes { bytes in
        let header = min(part.header.dataStart, bytes.count)
        hash.update(data: Data("\(bytes.count) \(header)\n".utf8))
        hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes[..<header]))
        for chunk in FileDigest.samples(of: UnsafeRawBufferPointer(rebasing: bytes[header...])) {
          hash.update(bufferPointer: chunk)
        }
      }
    }
    return "sha256:" + FileDigest.hex(hash.finalize())
  }

  /// The SHA-256 of the header of the first part, which has all metadata, in hexadecimal.
  package func metadataDigest() -> String {
    let part = parts[0]
    return part.file.withBytes { bytes in
      let header = UnsafeRawBufferPointer(rebasing: bytes[..<min(part.header.dataStart, bytes.count)])
      return FileDigest.sha256(Data(header))
    }
  }
}
