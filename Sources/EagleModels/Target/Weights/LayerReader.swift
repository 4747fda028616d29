import EagleTensor

// H hidden · M MLP · d head dimension · E experts.

/// Reads the layers of a target: the names of their tensors, and what is fused in them.
struct LayerReader {
  let reader: WeightReader
  /// The part of a name before a layer's number.
  let prefix: String
  let facts: FamilyFacts
  let hiddenSize: Int

  func layer(_ index: Int, _ shape: LayerShape) throws -> DecoderLayer {
    let name = "\(prefix).\(index)"
    let (attention, names) = (shape.attention, facts.norms)
    return DecoderLayer(
      shape: shape, attentionNorms: try norms(name, names.beforeAttention, names.afterAttention),
      projections: try projections("\(name).self_attn", shape),
      queryNorm: try headNorm("\(name).self_attn.q_norm", shape, attention.queryWidth),
      keyNorm: try headNorm("\(name).self_attn.k_norm", shape, attention.keyWidth),
      sinks: shape.hasSinks ? try reader.vector("\(name).self_attn.sinks", attention.heads) : nil,
      output: try group([("\(name).self_attn.o_proj", hiddenSize)], attention.queryWidth, hasBias: shape.biases.output),
      feedForwardNorms: try norms(name, names.beforeFeedForward, names.afterFeedForward),
      feedForward: try feedForward(name, shape))
  }

  /// The weight of a norm, with the family's offset.
  func norm(_ name: String, _ count: Int) throws -> Tensor {
    // A copy: what is read may be mapped from the file.
    Tensor(try reader.vector("\(name).weight", count).values.map { $0 + facts.normOffset }, [count])
  }

  private func norms(_ layer: String, _ before: String?, _ after: String?) throws -> DecoderLayer.BlockNorms {
    func read(_ name: String?) throws -> Tensor? { try name.map { try norm("\(layer).\($0)", hiddenSize) } }
    return DecoderLayer.BlockNorms(before: try read(before), after: try read(after))
  }

  private func headNorm(_ name: String, _ shape: LayerShape, _ width: Int) throws -> Tensor? {
    switch shape.queryKeyNorm {
    case .none: nil
    case .perHead: try norm(name, shape.attention.headDimension)
    case .fullWidth: try norm(name, width)
    }
  }

  private func projections(_ name: String, _ shape: LayerShape) throws -> WeightGroup {
    let (q, kv) = (shape.attention.queryWidth, shape.attention.keyWidth)
    let hasBias = shape.biases.queryKeyValue
    if facts.fusesQueryKeyValue { return try split("\(name).qkv_proj", [q, kv, kv], hasBias: hasBias) }
    return try group(
      [("\(name).q_proj", q), ("\(name).k_proj", kv), ("\(name).v_proj", kv)], hiddenSize, hasBias: hasBias)
  }

  private func feedForward(_ layer: String, _ shape: LayerShape) throws -> DecoderLayer.FeedForward {
    if let experts = shape.feedForward.experts, let layout = facts.experts?.layout {
      return .experts(try self.experts(layer, layout, experts, shape.feedForward))
    }
    let (name, m, hasBias) = ("\(layer).mlp", shape.feedForward.intermediateSize, shape.biases.feedForward)
    let gateAndUp =
      facts.fusesGateAndUp
      ? try split("\(name).gate_up_proj", [m, m], hasBias: hasBias)
      : try group([("\(name).gate_proj", m), ("\(name).up_proj", m)], hiddenSize, hasBias: hasBias)
    return .dense(
      gateAndUp: gateAndUp, down: try group([("\(name).down_proj", hiddenSize)], m, hasBias: hasBias))
  }

  /// Matrices of the same input, with their biases.
  private func group(_ parts: [(name: String, outputs: Int)], _ inputs: Int, hasBias: Bool) throws -> WeightGroup {
    WeightGroup(
      try parts.map { part in
        (
          try reader.matrix("\(part.name).weight", [part.outputs, inputs]),
          hasBias ? try reader.vector("\(part.name).bias", part.outputs) : nil
        )
      })
  }

  /// The parts of a fused matrix, consecutive ranges of its rows.
  private func split(_ name: String, _ heights: [Int], hasBias: Bool) throws -> WeightGroup {
    let total = heights.reduce(0, +)
    let fused = try reader.matrix("\(name).weight", [total, hiddenSize])
    let bias = hasBias ? try reader.vector("\(name).bias", total).values : nil
    var first = 0
    return WeightGroup(
      heights.map { height in
        defer { first += height }
        let rows = first..<first + height
        return (fused.slice(rows), bias.map { Tensor(Array($0[rows]), [height]) })
      })
  }

  // MARK: experts

  private func experts(
    _ layer: String, _ layout: FamilyFacts.ExpertFacts.Layout, _ experts: ExpertShape, _ block: FeedForwardShape
  ) throws -> Experts {
    let (h, m) = (hiddenSize, block.intermediateSize)
    switch layout {
    case .single(let name, let gate, let up, let down):
      let weights = try (0..<experts.count).map { index in
        let expert = "\(layer).\(name).experts.\(index)"
        return ExpertWeights(
          matrices: .init(
            gate: try reader.matrix("\(expert).\(gate).weight", [m, h]),
            up: try reader.matrix("\(expert).\(up).weight", [m, h]),
            down: try reader.matrix("\(expert).\(down).weight", [h, m])))
      }
      return Experts(
        shape: experts, activation: block.activation,
        router: try group([("\(layer).\(name).gate", experts.count)], h, hasBias: false), weights: weights)
    case .stacked:
      return Experts(
        shape: experts, activation: block.activation,
        router: try group([("\(layer).mlp.router", experts.count)], h, hasBias: true),
        weights: try StackedExperts(
          reader: reader, name: "\(layer).mlp.experts", count: experts.count, m: m, h: h
        ).weights())
    }
  }
}
