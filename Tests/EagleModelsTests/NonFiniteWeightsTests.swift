import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

@Suite struct NonFiniteWeightsTests {
  static let types = [DType.float32, .bfloat16, .float16]
  static let values = [Float.nan, .infinity, -.infinity]

  /// A writable copy in another type.
  private func copy(_ tensor: Tensor, as dtype: DType) -> Tensor {
    let wide = tensor.float32()
    let result = Tensor(tensor.shape, dtype: dtype)
    switch dtype {
    case .bfloat16:
      _ = result.buffer(UInt16.self).initialize(from: (0..<wide.count).map { wide.bfloat16().bfloats[$0] })
    case .float16:
      _ = result.buffer(UInt16.self).initialize(
        from: wide.values.map { UInt16($0.sign == .minus ? 0x8000 : 0) | half($0) })
    default: _ = result.buffer(Float.self).initialize(from: wide.values)
    }
    return result
  }

  /// Exponent and the first bits of the fraction of a number between 2⁻¹⁴ and 2¹⁵; smaller ones become 0.
  private func half(_ value: Float) -> UInt16 {
    let bits = value.bitPattern & 0x7fff_ffff
    return bits < 0x3880_0000 ? 0 : UInt16((bits - 0x3800_0000) >> 13)
  }

  private func put(_ value: Float, at place: Int, in tensor: Tensor) {
    switch tensor.dtype {
    case .bfloat16: tensor.bfloats[place] = UInt16(value.bitPattern >> 16)
    case .float16: tensor.buffer(UInt16.self)[place] = value.isNaN ? 0x7e00 : value > 0 ? 0x7c00 : 0xfc00
    default: tensor.floats[place] = value
    }
  }

  /// A tiny target in `dtype` after `edit` of its tensors.
  private func target(_ scratch: ModelScratch, _ dtype: DType, edit: ([String: Tensor]) -> Void) throws -> String {
    let folder = try scratch.copy(of: "tiny-llama") { _ in }
    try rewrite("\(folder)/model.safetensors", as: dtype, edit: edit)
    return folder
  }

  private func rewrite(_ path: String, as dtype: DType, edit: ([String: Tensor]) -> Void) throws {
    let file = try SafetensorsFile(path: path)
    let tensors = try file.names.map { name in
      let stored = try file.tensor(name)
      return (name: name, tensor: stored.dtype == .int64 || stored.dtype == .bool ? stored : copy(stored, as: dtype))
    }
    edit(Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0.tensor) }))
    try SafetensorsWriter.write(path: path, tensors: tensors)
  }

  @Test("a target with a NaN or infinite weight is refused by tensor, count and first index", arguments: types, values)
  func targetsAreRefused(dtype: DType, value: Float) throws {
    let scratch = try ModelScratch()
    let name = "model.layers.2.mlp.down_proj.weight"
    let folder = try target(scratch, dtype) { tensors in
      for place in [41, 7, 99] { put(value, at: place, in: tensors[name]!) }
    }
    let error = try #require(#expect(throws: LocatedError.self) { try TargetModel(folder: folder) })
    #expect(error.path == "\(folder)/model.safetensors")
    #expect(error.problem == "`\(name)` holds 3 non-finite values, the first at index 7")
    #expect(error.advice?.contains("download it again") == true)
  }

  @Test("vectors are looked at, too, and other tensors are counted", arguments: types)
  func severalTensorsAreCounted(dtype: DType) throws {
    let scratch = try ModelScratch()
    let folder = try target(scratch, dtype) { tensors in
      for name in ["model.norm.weight", "model.layers.0.input_layernorm.weight"] {
        put(.nan, at: 3, in: tensors[name]!)
      }
    }
    let error = try #require(#expect(throws: LocatedError.self) { try TargetModel(folder: folder) })
    #expect(
      error.problem
        == "`model.layers.0.input_layernorm.weight` holds 1 non-finite value, the first at index 3, and 1 other "
        + "tensor does, too")
  }

  @Test("a target of finite weights of any size is read", arguments: types)
  func finiteTargetsAreRead(dtype: DType) throws {
    let scratch = try ModelScratch()
    let folder = try target(scratch, dtype) { tensors in
      let embedding = tensors["model.embed_tokens.weight"]!
      switch dtype {
      case .bfloat16: embedding.bfloats[0] = 0x7f7f
      case .float16: embedding.buffer(UInt16.self)[0] = 0x7bff
      default: embedding.floats[0] = .greatestFiniteMagnitude
      }
    }
    #expect(try TargetModel(folder: folder).shape.layers == 4)
  }

  @Test(
    "a head with a NaN or infinite weight is refused, whether it is for decoding or for training", arguments: values)
  func headsAreRefused(value: Float) throws {
    let scratch = try ModelScratch()
    let model = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    var config = DraftConfig()
    config.vocabularySize = 24
    let head = DraftModel.random(
      shape: Eagle3Shape(of: model.shape, config, captureLayers: [0, 1, 2]),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: model.shape.vocabularySize), size: 24, always: [3]),
      seed: 1)
    let path = "\(scratch.path)/head"
    for dtype in Self.types {
      try DraftFolder.write(head, target: model.shape, to: path)
      _ = try DraftFolder.read(path, target: model)
      try rewrite("\(path)/model.safetensors", as: dtype) { put(value, at: 5, in: $0["fc.weight"]!) }
      for trainable in [false, true] {
        let error = try #require(
          #expect(throws: LocatedError.self) { try DraftFolder.read(path, target: model, trainable: trainable) })
        #expect(error.description.contains("`fc.weight` holds 1 non-finite value, the first at index 5"), "\(dtype)")
      }
    }
  }

  @Test("a weight in another file of the model is named with its file, and blocks behind the first are read")
  func shardsAreNamed() throws {
    let scratch = try ModelScratch()
    let (large, small) = (Tensor.zeros([1 << 20]), Tensor.zeros([3], dtype: .bfloat16))
    large.floats[700_000] = .nan
    large.floats[1_000_000] = .infinity
    small.bfloats[2] = 0xff80
    try SafetensorsWriter.write(path: "\(scratch.path)/a.safetensors", tensors: [("large", large)])
    try SafetensorsWriter.write(path: "\(scratch.path)/b.safetensors", tensors: [("small", small)])
    try Data(#"{"weight_map": {"large": "a.safetensors", "small": "b.safetensors"}}"#.utf8)
      .write(to: URL(fileURLWithPath: "\(scratch.path)/model.safetensors.index.json"))
    let found = try SafetensorsFolder(path: scratch.path).nonFiniteTensors(among: ["small", "large"])
    #expect(found.map(\.name) == ["small", "large"])
    #expect(found.map(\.file) == ["\(scratch.path)/b.safetensors", "\(scratch.path)/a.safetensors"])
    #expect(found.map(\.values.count) == [1, 2] && found.map(\.values.first) == [2, 700_000])
  }
}
