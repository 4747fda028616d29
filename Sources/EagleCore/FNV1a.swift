/// The FNV-1a hash of 64 bits (Fowler, Noll and Vo): the same on every machine and in every process, which `Hasher` is
/// not. It finds accidental differences and spreads keys; it resists no attack.
package enum FNV1a {
  package static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    return hash
  }

  /// The hash of a text's UTF-8 bytes.
  package static func hash(_ text: String) -> UInt64 {
    var text = text
    return text.withUTF8 { hash($0) }
  }
}
