/// Single bfloat16 values by their bit patterns. `Tensor.float32()` and `Tensor.bfloat16()` convert whole tensors.
package enum BFloat16 {
  /// The bits of the quiet NaN.
  package static let nan: UInt16 = 0x7FC0

  /// The value of a bit pattern, which float32 holds exactly.
  @inlinable
  package static func widen(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

  /// The bits of the nearest bfloat16, ties to even; every NaN becomes the quiet one.
  @inlinable
  package static func round(_ x: Float) -> UInt16 {
    if x.isNaN { return 0x7FC0 }
    let bits = x.bitPattern
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
  }
}
