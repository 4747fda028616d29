import EagleCore
import EagleStorage
import EagleTensor

// V vocabulary · H hidden · M width of the feed-forward block, or of an expert · E experts.

/// A tensor by its Hugging Face name, and the tensors of the file that it is made of.
struct GGUFItem: Sendable {
  /// How the tensor is computed from the file's.
  enum Content: Sendable {
    /// Rows as they are, after llama.cpp's order of `permutedHeads` heads (0: none) is undone and `offset` subtracted.
    case rows(String, first: Int = 0, permutedHeads: Int = 0, offset: Float = 0)
    /// Rows of two tensors, interleaved: gate and up.
    case interleaved(String, String)
    /// [E, O, I] as [E, I, O], or two such tensors with interleaved outputs.
    case transposed([String])
    /// Blocks of MXFP4 as Hugging Face orders them, or their scales; rows of two tensors interleaved.
    case mxfp4Blocks([String])
    case mxfp4Scales([String])
  }

  let target: String
  let dtype: DType
  let shape: [Int]
  let content: Content

  init(_ target: String, _ shape: [Int], _ content: Content, dtype: DType = .bfloat16) {
    (self.target, self.shape, self.content, self.dtype) = (target, shape, content, dtype)
  }

  /// The row of the file that is row `row` in Hugging Face's order. llama.cpp stores the d rows of a head as d/2 pairs
  /// (first half, second half); Hugging Face as two halves: row (h, j, i) here is row (h, i, j) there, i < d/2, j < 2.
  static func storedRow(of row: Int, rows: Int, heads: Int) -> Int {
    let half = rows / heads / 2
    let (head, index) = row.quotientAndRemainder(dividingBy: 2 * half)
    return head * 2 * half + index % half * 2 + index / half
  }

  var sources: [String] {
    switch content {
    case .rows(let name, _, _, _): [name]
    case .interleaved(let first, let second): [first, second]
    case .transposed(let names), .mxfp4Blocks(let names), .mxfp4Scales(let names): names
    }
  }
}

/// Finds the tensors of a model by its facts and sizes, and checks their shapes.
struct GGUFTensorList {
  let file: GGUFFile
  let sizes: GGUFModelSizes
  /// Whether the tensors are views of the file's, with each expert separate, or are stacked as Hugging Face stacks
  /// them.
  let isMapped: Bool
  private var facts: GGUFFacts { sizes.facts }

  /// All tensors of the model.
  ///
  /// - Throws: `LocatedError` for a missing tensor, and for one that the family does not have
  func items(isTied: Bool) throws -> [GGUFItem] {
    let vocabulary = [sizes.vocabulary, sizes.hidden]
    var items = [try plain("token_embd.weight", "model.embed_tokens.weight", vocabulary)]
    for layer in 0..<sizes.layers { items += try self.layer(layer) }
    items.append(try norm("output_norm.weight", "model.norm.weight", sizes.hidden))
    if !isTied { items.append(try plain("output.weight", "lm_head.weight", vocabulary)) }
    let known = Set(items.flatMap(\.sources)).union(["output.weight"] + GGUFRotary.tensors)
    if let stray = file.tensors.first(where: { !known.contains($0.name) }) {
      throw LocatedError(
        path: file.path, problem: "the tensor `\(stray.name)` has no place in a \(sizes.family.rawValue) model",
        advice: "this variant of the architecture is not computed")
    }
    return items
  }

  private func layer(_ index: Int) throws -> [GGUFItem] {
    let (a, b) = ("blk.\(index).", "model.layers.\(index).")
    var items = try facts.norms.map { try norm("\(a)\($0.0).weight", "\(b)\($0.1).weight", sizes.hidden) }
    items += try attention(a, "\(b)self_attn.")
    switch facts.experts {
    case .none: items += try feedForward(a, "\(b)mlp.")
    case .single(let block, let gate, let up, let down):
      let names = [("ffn_gate_exps", gate), ("ffn_up_exps", up), ("ffn_down_exps", down)]
      items += try singleExperts(a, "\(b)\(block).", names)
    case .stacked: items += try stackedExperts(a, "\(b)mlp.")
    }
    return items
  }

  // MARK: attention

  private func attention(_ a: String, _ b: String) throws -> [GGUFItem] {
    let (q, kv, h) = (sizes.queryWidth, sizes.keyWidth, sizes.hidden)
    var items: [GGUFItem] = []
    if facts.fusesQueryKeyValue {
      items.append(try plain("\(a)attn_qkv.weight", "\(b)qkv_proj.weight", [q + 2 * kv, h]))
    } else {
      let permuted = facts.permutesQueryAndKey
      items += try projection("\(a)attn_q", "\(b)q_proj", [q, h], heads: permuted ? sizes.heads : 0)
      items += try projection("\(a)attn_k", "\(b)k_proj", [kv, h], heads: permuted ? sizes.keyValueHeads : 0)
      items += try projection("\(a)attn_v", "\(b)v_proj", [kv, h])
    }
    items += try matrix("\(a)attn_output", "\(b)o_proj", [h, q], bias: facts.bias.output)
    switch facts.queryKeyNorm {
    case .none: break
    case .perHead: items += try headNorms(a, b, sizes.headDimension, sizes.headDimension)
    case .fullWidth: items += try headNorms(a, b, q, kv)
    }
    if facts.hasSinks { items.append(try plain("\(a)attn_sinks.weight", "\(b)sinks", [sizes.heads])) }
    return items
  }

  private func projection(_ a: String, _ b: String, _ shape: [Int], heads: Int = 0) throws -> [GGUFItem] {
    try matrix(a, b, shape, bias: facts.bias.queryKeyValue, heads: heads)
  }

  private func headNorms(_ a: String, _ b: String, _ query: Int, _ key: Int) throws -> [GGUFItem] {
    [
      try norm("\(a)attn_q_norm.weight", "\(b)q_norm.weight", query),
      try norm("\(a)attn_k_norm.weight", "\(b)k_norm.weight", key),
    ]
  }

  // MARK: feed-forward blocks

  private func feedForward(_ a: String, _ b: String) throws -> [GGUFItem] {
    let (m, h, bias) = (sizes.intermediate, sizes.hidden, facts.bias.feedForward)
    let down = try matrix("\(a)ffn_down", "\(b)down_proj", [h, m], bias: bias)
    if facts.fusesGateAndUp {
      return try matrix("\(a)ffn_up", "\(b)gate_up_proj", [2 * m, h], bias: bias) + down
    }
    return try matrix("\(a)ffn_gate", "\(b)gate_proj", [m, h], bias: bias)
      + matrix("\(a)ffn_up", "\(b)up_proj", [m, h], bias: bias) + down
  }

  private func singleExperts(_ a: String, _ b: String, _ names: [(String, String)]) throws -> [GGUFItem] {
    guard let experts = sizes.experts else { return [] }
    let (m, h) = (experts.intermediate, sizes.hidden)
    var items = [try plain("\(a)ffn_gate_inp.weight", "\(b)gate.weight", [experts.count, h])]
    for (source, target) in names {
      let shape = source == "ffn_down_exps" ? [h, m] : [m, h]
      try check("\(a)\(source).weight", [experts.count] + shape)
      items += (0..<experts.count).map { expert in
        GGUFItem(
          "\(b)experts.\(expert).\(target).weight", shape, .rows("\(a)\(source).weight", first: expert * h * m))
      }
    }
    return items
  }

  private func stackedExperts(_ a: String, _ b: String) throws -> [GGUFItem] {
    guard let experts = sizes.experts else { return [] }
    let (e, m, h) = (experts.count, experts.intermediate, sizes.hidden)
    let (gate, up, down) = ("\(a)ffn_gate_exps", "\(a)ffn_up_exps", "\(a)ffn_down_exps")
    for name in [gate, up] { try check("\(name).weight", [e, m, h], bias: [e, m]) }
    try check("\(down).weight", [e, h, m], bias: [e, h])
    let block = "\(b)experts."
    let router = [
      try plain("\(a)ffn_gate_inp.weight", "\(b)router.weight", [e, h]),
      try plain("\(a)ffn_gate_inp.bias", "\(b)router.bias", [e]),
    ]
    if isMapped {
      let parts = [(gate, "gate_proj", [m, h]), (up, "up_proj", [m, h]), (down, "down_proj", [h, m])]
      return router + parts.flatMap { separate($0.0, block, $0.1, $0.2) }
    }
    let matrices =
      try isMXFP4(a)
      ? packed("\(block)gate_up_proj", [e, 2 * m, h], [gate, up]) + packed("\(block)down_proj", [e, h, m], [down])
      : [
        GGUFItem("\(block)gate_up_proj", [e, h, 2 * m], .transposed(["\(gate).weight", "\(up).weight"])),
        GGUFItem("\(block)down_proj", [e, m, h], .transposed(["\(down).weight"])),
      ]
    return router + [
      GGUFItem("\(block)gate_up_proj_bias", [e, 2 * m], .interleaved("\(gate).bias", "\(up).bias")),
      try plain("\(down).bias", "\(block)down_proj_bias", [e, h]),
    ] + matrices
  }

  /// A stack's matrix and bias of each expert.
  private func separate(_ source: String, _ block: String, _ target: String, _ shape: [Int]) -> [GGUFItem] {
    (0..<(sizes.experts?.count ?? 0)).flatMap { expert in
      let (name, count) = ("\(block)\(expert).\(target)", shape.reduce(1, *))
      return [
        GGUFItem("\(name).weight", shape, .rows("\(source).weight", first: expert * count)),
        GGUFItem("\(name).bias", [shape[0]], .rows("\(source).bias", first: expert * shape[0])),
      ]
    }
  }

  /// Whether the experts of a layer stay in MXFP4.
  private func isMXFP4(_ a: String) throws -> Bool {
    try ["gate", "up", "down"].allSatisfy { try file.info("\(a)ffn_\($0)_exps.weight").type == .mxfp4 }
  }

  private func packed(_ target: String, _ shape: [Int], _ names: [String]) -> [GGUFItem] {
    let (groups, weights) = (shape[2] / 32, names.map { "\($0).weight" })
    return [
      GGUFItem("\(target)_blocks", [shape[0], shape[1], groups, 16], .mxfp4Blocks(weights), dtype: .uint8),
      GGUFItem("\(target)_scales", [shape[0], shape[1], groups], .mxfp4Scales(weights), dtype: .uint8),
    ]
  }

  // MARK: single tensors

  private func plain(_ source: String, _ target: String, _ shape: [Int]) throws -> GGUFItem {
    try check(source, shape)
    return GGUFItem(target, shape, .rows(source))
  }

  private func norm(_ source: String, _ target: String, _ width: Int) throws -> GGUFItem {
    try check(source, [width])
    return GGUFItem(target, [width], .rows(source, offset: facts.normOffset))
  }

  private func matrix(
    _ a: String, _ b: String, _ shape: [Int], bias: GGUFFacts.Biases.Presence, heads: Int = 0
  ) throws -> [GGUFItem] {
    try check("\(a).weight", shape)
    var items = [GGUFItem("\(b).weight", shape, .rows("\(a).weight", permutedHeads: heads))]
    if bias == .always || bias == .maybe && file.contains(tensor: "\(a).bias") {
      try check("\(a).bias", [shape[0]])
      items.append(GGUFItem("\(b).bias", [shape[0]], .rows("\(a).bias", permutedHeads: heads)))
    }
    return items
  }

  private func check(_ source: String, _ shape: [Int], bias: [Int]? = nil) throws {
    let found = try file.info(source)
    guard found.type.weightType != nil else { throw file.noWeights(found) }
    guard found.shape == shape else {
      throw LocatedError(
        path: file.path, problem: "tensor `\(source)` has the shape \(found.shape), the metadata says \(shape)",
        advice: "the file is damaged: copy or download it again")
    }
    if let bias { try check(source.replacing(".weight", with: ".bias"), bias) }
  }
}
