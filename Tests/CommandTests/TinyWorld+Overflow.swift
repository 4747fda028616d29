import EagleStorage
import EagleTensor
import Foundation

extension TinyWorld {
  /// A character that makes states overflow, once `letCharacterOverflow` has been called.
  static let overflowing: Character = "Z"

  /// Changes the target so that the states of a character, and of all characters after it in the text, are non-finite.
  /// Weights stay finite, since others are rejected at load. Sequences without the character have finite states as
  /// before.
  ///
  /// Column 0 of the states marks the character: its embedding is 1 there, that of others is 0, and the attention of
  /// the first layer adds nothing. A unit of the first MLP then multiplies it by 1e25 twice.
  func letCharacterOverflow() throws {
    let path = self("target/model.safetensors")
    let file = try SafetensorsFile(path: path)
    let tensors = try file.names.map { name in (name: name, tensor: try Self.copy(of: file.tensor(name))) }
    let named = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0.tensor) })
    let (h, one, huge) = (Self.hidden, Float(1), Float(1e25))
    let embedding = named["model.embed_tokens.weight"]!
    for token in 0..<embedding.rows { embedding.bfloats[token * h] = 0 }
    embedding.bfloats[Int(Self.overflowing.asciiValue!) * h] = UInt16(one.bitPattern >> 16)
    for i in 0..<h {
      named["model.layers.0.self_attn.o_proj.weight"]!.bfloats[i] = 0
      for name in ["gate_proj", "up_proj"] {
        named["model.layers.0.mlp.\(name).weight"]!.bfloats[i] = i == 0 ? UInt16(huge.bitPattern >> 16) : 0
      }
    }
    try SafetensorsWriter.write(path: path, tensors: tensors)
  }

  private static func copy(of tensor: Tensor) -> Tensor {
    let copy = Tensor(tensor.shape, dtype: tensor.dtype)
    copy.rawBytes.copyMemory(from: UnsafeRawBufferPointer(tensor.rawBytes))
    return copy
  }
}
