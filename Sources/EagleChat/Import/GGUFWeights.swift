import EagleCore
import EagleStorage
import EagleTensor
import Foundation

/// The weights of a GGUF model under their Hugging Face names, written as bfloat16 one tensor at a time.
struct GGUFWeights {
  /// A tensor to write.
  private struct Item {
    let source: String
    let target: String
    let shape: [Int]
    /// Heads whose rows llama.cpp has permuted; 0 when the order is Hugging Face's.
    let permutedHeads: Int
  }

  private let file: GGUFFile
  private let items: [Item]
  /// Whether the LM head is the embedding.
  let isTied: Bool
  /// Whether the attention projections have biases.
  let hasAttentionBias: Bool

  /// Elements that are decoded at a time, rounded to whole rows.
  private static let chunkElements = 1 << 20

  /// Finds all tensors and checks their shapes.
  ///
  /// - Throws: `LocatedError` for a missing tensor, and for one that the architecture does not have
  init(of file: GGUFFile, _ sizes: GGUFModelSizes) throws {
    self.file = file
    isTied = try Self.isTied(file)
    var items = [
      try Self.item("token_embd.weight", "model.embed_tokens.weight", [sizes.vocabulary, sizes.hidden], file)
    ]
    for layer in 0..<sizes.layers { items += try Self.layer(layer, file, sizes) }
    items.append(try Self.item("output_norm.weight", "model.norm.weight", [sizes.hidden], file))
    if !isTied {
      items.append(try Self.item("output.weight", "lm_head.weight", [sizes.vocabulary, sizes.hidden], file))
    }
    self.items = items
    hasAttentionBias = items.contains { $0.source.hasSuffix(".bias") }
    let known = Set(items.map(\.source)).union(["output.weight"])
    if let stray = file.tensors.first(where: { !known.contains($0.name) }) {
      throw LocatedError(
        path: file.path, problem: "the tensor `\(stray.name)` has no place in a \(sizes.architecture.rawValue) model",
        advice: "this variant of the architecture cannot be imported")
    }
  }

  /// Writes model.safetensors.
  func write(to path: String, progress: (String) -> Void) throws {
    let announced = items.map { SafetensorsWriter.Announcement(name: $0.target, dtype: .bfloat16, shape: $0.shape) }
    try SafetensorsWriter.write(path: path, announced: announced, metadata: ["format": "pt"]) { index, output in
      let item = items[index]
      progress("weights \(index + 1)/\(items.count): \(item.target) \(item.shape)")
      if item.permutedHeads > 0 { try writePermuted(item, to: output) } else { try writePlain(item, to: output) }
    }
  }

  private func writePlain(_ item: Item, to output: OutputFile) throws {
    let count = item.shape.reduce(1, *)
    let columns = item.shape.last ?? 1
    let chunk = max(1, Self.chunkElements / columns) * columns
    for start in stride(from: 0, to: count, by: chunk) {
      let values = try decode(item, start..<min(start + chunk, count))
      try withExtendedLifetime(values) { try output.write(UnsafeRawBufferPointer(values.rawBytes)) }
    }
  }

  /// llama.cpp lays the d rows of a head out as d/2 pairs (first half, second half); Hugging Face as two halves:
  /// row (h, j, i) here is row (h, i, j) there, i < d/2, j < 2.
  private func writePermuted(_ item: Item, to output: OutputFile) throws {
    let rows = item.shape[0]
    let values = try decode(item, 0..<item.shape.reduce(1, *))
    let rowBytes = values.byteCount / rows
    let half = rows / item.permutedHeads / 2
    try withExtendedLifetime(values) {
      for row in 0..<rows {
        let (head, index) = row.quotientAndRemainder(dividingBy: 2 * half)
        let source = head * 2 * half + index % half * 2 + index / half
        try output.write(UnsafeRawBufferPointer(rebasing: values.rawBytes[source * rowBytes..<(source + 1) * rowBytes]))
      }
    }
  }

  private func decode(_ item: Item, _ elements: Range<Int>) throws -> Tensor {
    let values = Tensor([elements.count])
    try file.decode(item.source, elements: elements, to: values.floats)
    return values.bfloat16()
  }
}

extension GGUFWeights {
  private static func layer(_ layer: Int, _ file: GGUFFile, _ sizes: GGUFModelSizes) throws -> [Item] {
    try sizes.architecture.layerTensors.compactMap { names in
      let source = "blk.\(layer).\(names.gguf)"
      if sizes.architecture.mayLack(names.gguf) && !file.contains(tensor: source) { return nil }
      return try item(
        source, "model.layers.\(layer).\(names.huggingFace)", shape(of: names.gguf, sizes), file,
        permutedHeads: permutedHeads(names.gguf, sizes))
    }
  }

  private static func item(
    _ source: String, _ target: String, _ shape: [Int], _ file: GGUFFile, permutedHeads: Int = 0
  ) throws -> Item {
    let found = try file.info(source).shape
    guard found == shape else {
      throw LocatedError(
        path: file.path, problem: "tensor `\(source)` has the shape \(found), the metadata says \(shape)",
        advice: "the file is damaged: copy or download it again")
    }
    return Item(source: source, target: target, shape: shape, permutedHeads: permutedHeads)
  }

  private static func shape(of tensor: String, _ sizes: GGUFModelSizes) -> [Int] {
    let query = sizes.heads * sizes.headDimension
    let keyValue = sizes.keyValueHeads * sizes.headDimension
    switch tensor {
    case "attn_q.weight": return [query, sizes.hidden]
    case "attn_q.bias": return [query]
    case "attn_k.weight", "attn_v.weight": return [keyValue, sizes.hidden]
    case "attn_k.bias", "attn_v.bias": return [keyValue]
    case "attn_output.weight": return [sizes.hidden, query]
    case "attn_q_norm.weight", "attn_k_norm.weight": return [sizes.headDimension]
    case "ffn_gate.weight", "ffn_up.weight": return [sizes.intermediate, sizes.hidden]
    case "ffn_down.weight": return [sizes.hidden, sizes.intermediate]
    default: return [sizes.hidden]
    }
  }

  private static func permutedHeads(_ tensor: String, _ sizes: GGUFModelSizes) -> Int {
    guard sizes.architecture.permutesQueryAndKey else { return 0 }
    if tensor.hasPrefix("attn_q.") { return sizes.heads }
    return tensor.hasPrefix("attn_k.") ? sizes.keyValueHeads : 0
  }

  /// Whether the head is the embedding: the file has no head, or the same bytes again.
  private static func isTied(_ file: GGUFFile) throws -> Bool {
    guard file.contains(tensor: "output.weight") else { return true }
    let embedding = try file.info("token_embd.weight")
    let head = try file.info("output.weight")
    guard embedding.type == head.type, embedding.shape == head.shape else { return false }
    return try file.withBytes(of: "token_embd.weight") { first in
      try file.withBytes(of: "output.weight") { second in
        guard let first = first.baseAddress, let second = second.baseAddress else { return true }
        return memcmp(first, second, head.range.count) == 0
      }
    }
  }
}
