import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// Heads as GGUF files.
@Suite struct HeadFileTests {
  private let target: TargetModel
  private let scratch: ModelScratch
  private let tokenizer: [GGUFField] = [.string("tokenizer.ggml.model", "gpt2")]

  init() throws {
    target = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    scratch = try ModelScratch()
  }

  private func draft() -> DraftModel { TinyHead(target: target).draft(layers: [1, 2, 3]) }

  private func written(_ head: DraftModel, _ type: DraftGGUF.MatrixType = .bf16) throws -> String {
    let path = "\(scratch.path)/\(UUID().uuidString).gguf"
    try DraftGGUF.write(head, target: target.shape, tokenizer: tokenizer, type: type, to: path)
    return path
  }

  /// The same file with other fields and tensors.
  private func edited(
    drop keys: [String] = [], add fields: [GGUFField] = [],
    tensors change: (inout [(name: String, tensor: Tensor)]) -> Void = { _ in }
  ) throws -> String {
    let file = try GGUFFile(path: try written(draft()))
    var tensors = try file.tensors.map { (name: $0.name, tensor: try file.stored($0.name)) }
    change(&tensors)
    let dropped = keys + fields.map(\.key)
    let path = "\(scratch.path)/\(UUID().uuidString).gguf"
    try GGUFWriter.write(
      path: path, fields: file.fields(prefix: "").filter { !dropped.contains($0.key) } + fields, tensors: tensors)
    return path
  }

  private func refuses(_ path: String, naming word: String, location: SourceLocation = #_sourceLocation) {
    let error = #expect(throws: LocatedError.self, sourceLocation: location) {
      try DraftFolder.read(path, target: target)
    }
    #expect(error?.description.contains(word) == true, "\(error?.description ?? "")", sourceLocation: location)
  }

  private func values(_ head: DraftModel) -> [[Float]] { head.parameters.map { $0.variable.value.float32().values } }

  @Test("a head that is written as bf16 is read back digit for digit")
  func roundTrip() throws {
    let head = draft()
    let path = try written(head)
    let back = try DraftFolder.read(path, target: target)
    #expect(back.shape == head.shape && back.vocabulary == head.vocabulary)
    #expect(values(back) == values(head.rounded()))
    #expect(back.parameters.map(\.variable.value.dtype) == head.rounded().parameters.map(\.variable.value.dtype))
    #expect(try DraftFolder.vocabulary(path, target: target) == head.vocabulary)
    let trainable = try DraftFolder.read(path, target: target, trainable: true)
    #expect(trainable.parameters.allSatisfy { $0.variable.requiresGradient && !$0.variable.value.storage.isReadOnly })
    // An earlier export is replaced.
    try DraftGGUF.write(head, target: target.shape, tokenizer: tokenizer, type: .bf16, to: path)
  }

  @Test("the file has llama.cpp's keys, names and order of rows")
  func content() throws {
    let head = draft()
    let file = try GGUFFile(path: try written(head))
    #expect(try file.ints("eagle3.target_layers") == [2, 3, 4])
    #expect(try file.int("eagle3.target_hidden_size") == target.shape.hiddenSize)
    let ids = try file.stored("d2t").buffer(Int64.self).map { Int32($0) }
    #expect(ids == head.vocabulary.targetIDs && !file.contains(tensor: "t2d"))
    let (a, h) = (head.eagle3!.shape.attention, head.eagle3!.shape.hiddenSize)
    for (name, ours, heads) in [
      ("blk.0.attn_q.weight", "midlayer.self_attn.q_proj.weight", a.heads),
      ("blk.0.attn_k.weight", "midlayer.self_attn.k_proj.weight", a.kvHeads),
    ] {
      let stored = try file.tensor(name).values
      let rounded = try #require(head.rounded().parameters.first { $0.name == ours }).variable.value.float32().values
      let (d, width) = (a.headDimension, 2 * h)
      for row in 0..<heads * d {
        // Pair i of a head: rows i and i + d / 2 here, 2i and 2i + 1 there.
        let (start, i, second) = (row / d * d, row % d / 2, row % 2)
        let source = start + i + second * d / 2
        #expect(
          stored[row * width..<(row + 1) * width].elementsEqual(rounded[source * width..<(source + 1) * width]))
      }
    }
    #expect(try file.info("output_norm.weight").type == .float32)
  }

  @Test("quantised heads are within the error of their format", arguments: [DraftGGUF.MatrixType.q8_0, .q4_0])
  func quantised(_ type: DraftGGUF.MatrixType) throws {
    let head = draft()
    let path = try written(head, type)
    let back = try DraftFolder.read(path, target: target)
    #expect(back.parameters.contains { $0.variable.value.dtype == (type == .q8_0 ? .q8_0 : .q4_0) })
    // Half a step of the largest element of a block, 1/127 or 1/8 of it, and at the far end of q4_0 a whole one.
    let step: Float = type == .q8_0 ? 0.5 / 127 : 1 / 8
    for (a, b) in zip(head.rounded().parameters, back.parameters) where a.variable.shape.count == 2 {
      let (x, y) = (a.variable.value.float32().values, b.variable.value.float32().values)
      let largest = x.map(abs).max() ?? 0
      #expect(zip(x, y).allSatisfy { abs($0 - $1) <= 1.01 * step * largest }, "\(a.name)")
    }
    // The same as quantisation of the head at load.
    let loaded = head.rounded().quantized(type == .q8_0 ? .q8_0 : .q4_0)
    #expect(values(loaded) == values(back))
    let widened = try DraftFolder.read(path, target: target, trainable: true)
    #expect(widened.parameters.allSatisfy { $0.variable.value.dtype == .float32 } && values(widened) == values(back))
    #expect(back.quantizedFormat == (type == .q8_0 ? "Q8_0" : "Q4_0"))
  }

  @Test("a scaled rotary embedding comes back; one that a file cannot describe is refused")
  func rotary() throws {
    func head(_ scaling: RotaryScaling) -> DraftModel {
      var shape = draft().eagle3!.shape
      shape.ropeScaling = scaling
      let tensors = Dictionary(uniqueKeysWithValues: draft().parameters.map { ($0.name, $0.variable.value) })
      return DraftModel(shape: shape, vocabulary: draft().vocabulary, tensors: tensors, trainable: false)
    }
    for scaling in [
      RotaryScaling.linear(factor: 4), .llama3(factor: 8, low: 1, high: 4, originalLength: 64),
    ] {
      let (ours, back) = (head(scaling), try DraftFolder.read(try written(head(scaling)), target: target))
      for (a, b) in zip(ours.eagle3!.rotary.frequencies, back.eagle3!.rotary.frequencies) {
        #expect(abs(a - b) <= 1e-6 * a)
      }
    }
    let error = #expect(throws: LocatedError.self) { try written(head(.dynamic(factor: 2, originalLength: 64))) }
    #expect(error?.description.contains("dynamic") == true)
  }

  @Test("a head for another target, a missing key and a variant are one clear error")
  func otherHeads() throws {
    refuses(try edited(add: [.uint32("eagle3.vocab_size", 7)]), naming: "another target")
    refuses(try edited(add: [.uint32("eagle3.target_hidden_size", 8)]), naming: "another target")
    refuses(try edited(add: [.uint32("eagle3.embedding_length", 8)]), naming: "no embedding of its own")
    refuses(try edited(add: [.int32s("eagle3.target_layers", [1, 2, 9])]), naming: "captured layers [0, 1, 8]")
    refuses(try edited(add: [.int32s("eagle3.target_layers", [1, 2])]), naming: "`fc.weight`")
    refuses(try edited(add: [.bool("eagle3.norm_before_fc", true)]), naming: "has no tensor `enc.output_norm.weight`")
    _ = try DraftFolder.read(try edited(add: [.bool("eagle3.norm_before_residual", true)]), target: target)
    refuses(try edited(add: [.uint32("eagle3.attention.sliding_window", 8)]), naming: "sliding_window")
    refuses(try edited(add: [.string("eagle3.rope.scaling.type", "yarn")]), naming: "yarn")
    refuses(try edited(add: [.uint32("eagle3.block_count", 2)]), naming: "block_count")
    refuses(try edited(add: [.string("general.architecture", "llama")]), naming: "no EAGLE-3 head")
    for key in [
      "general.architecture", "eagle3.target_layers", "eagle3.target_hidden_size", "eagle3.vocab_size",
      "eagle3.embedding_length", "eagle3.feed_forward_length", "eagle3.attention.head_count",
      "eagle3.attention.layer_norm_rms_epsilon", "eagle3.block_count",
    ] { refuses(try edited(drop: [key]), naming: "has no metadata key `\(key)`") }
  }

  @Test("missing, unknown and unfit tensors are named")
  func tensors() throws {
    refuses(try edited { $0.removeAll { $0.name == "fc.weight" } }, naming: "has no tensor `fc.weight`")
    refuses(try edited { $0.append(("t2d", Tensor([1], [1]))) }, naming: "`t2d`")
    refuses(
      try edited { tensors in
        let norm = tensors.firstIndex { $0.name == "output_norm.weight" }!
        tensors[norm].tensor = Tensor([1], [1])
      }, naming: "`output_norm.weight` is F32 [1]")
    refuses(
      try edited { tensors in
        let norm = tensors.firstIndex { $0.name == "output_norm.weight" }!
        tensors[norm].tensor = .filled(tensors[norm].tensor.shape, with: .nan)
      }, naming: "non-finite")
    let size = target.shape.vocabularySize
    func owner(_ table: Tensor) throws -> DraftTable {
      try DraftFolder.read(try edited { $0.append(("token_embd.weight", table)) }, target: target).eagle3!.shape.variant
        .embedding
    }
    #expect(try owner(.filled([size, target.shape.hiddenSize], with: 1)) == .own)
    #expect(try owner(target.embedding) == .target)
    refuses(
      try edited { tensors in
        let ids = tensors.firstIndex { $0.name == "d2t" }!
        tensors[ids].tensor = .zeros(tensors[ids].tensor.shape, dtype: .int64)
      }, naming: "ascending")
  }

  @Test("a truncated or damaged file, and a path without one, are one clear error")
  func damaged() throws {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: try written(draft())))
    let path = "\(scratch.path)/cut.gguf"
    for length in stride(from: 0, to: bytes.count - 32, by: 997) {
      try bytes.prefix(length).write(to: URL(fileURLWithPath: path))
      #expect(throws: LocatedError.self) { try DraftFolder.read(path, target: target) }
    }
    refuses("\(scratch.path)/none.gguf", naming: "none.gguf")
    let folder = "\(scratch.path)/folder"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try bytes.write(to: URL(fileURLWithPath: "\(folder)/head.gguf"))
    refuses(folder, naming: "name the file itself")
  }

  @Test("an export does not replace what is no head")
  func replacing() throws {
    let path = "\(scratch.path)/mine.gguf"
    try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: LocatedError.self) {
      try DraftGGUF.write(draft(), target: target.shape, tokenizer: tokenizer, type: .bf16, to: path)
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("mine".utf8))
  }
}
