import EagleTensor

extension TargetShape {
  /// What the model computes, for people to read: its sizes, then its layers, equal ones in one line.
  package var lines: [String] {
    var lines = [
      "target: \(family.rawValue), \(layers) layers of \(hiddenSize), vocabulary \(vocabularySize)"
        + (tiedHead ? ", LM head tied to the embedding" : ""),
      "longest text: \(maxPositions) tokens",
    ]
    let scales: [(String, Bool)] = [
      ("embedding times \(embeddingScale)", embeddingScale != 1),
      ("logits divided by \(logitsDivisor)", logitsDivisor != 1),
      ("logits capped at \(logitsSoftcap ?? 0)", logitsSoftcap != nil),
    ]
    let used = scales.filter(\.1).map(\.0)
    if !used.isEmpty { lines.append(used.joined(separator: ", ")) }
    return lines + groups.map { "layers \(Self.ranges($0.indices)): \($0.shape.description)" }
  }

  /// The layers that compute the same, in the order of their first one.
  private var groups: [(shape: LayerShape, indices: [Int])] {
    var groups: [(shape: LayerShape, indices: [Int])] = []
    for (index, shape) in layerShapes.enumerated() {
      if let known = groups.firstIndex(where: { $0.shape == shape }) {
        groups[known].indices.append(index)
      } else {
        groups.append((shape, [index]))
      }
    }
    return groups
  }

  /// 0-4, 6, 8-9
  private static func ranges(_ indices: [Int]) -> String {
    var ranges: [ClosedRange<Int>] = []
    for index in indices {
      if let last = ranges.last, last.upperBound + 1 == index {
        ranges[ranges.count - 1] = last.lowerBound...index
      } else {
        ranges.append(index...index)
      }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ", ")
  }
}

extension LayerShape: CustomStringConvertible {
  package var description: String {
    [attentionText, rotary?.description ?? "no rotary embedding", feedForwardText, normText].joined(separator: "; ")
  }

  private var attentionText: String {
    let a = attention
    var text = "\(a.heads) heads of \(a.headDimension)"
    if a.kvHeads != a.heads { text += ", \(a.kvHeads) of keys and values" }
    if let window { text += ", window \(window)" }
    switch queryKeyNorm {
    case .none: break
    case .perHead: text += ", norms of q and k"
    case .fullWidth: text += ", norms of q and k over all heads"
    }
    if biases.queryKeyValue { text += biases.output ? ", biases" : ", biases of q, k and v" }
    if a.ownScale != nil { text += ", scale \(a.scale)" }
    if let cap = a.softcap { text += ", scores capped at \(cap)" }
    return text + (hasSinks ? ", sinks" : "")
  }

  private var feedForwardText: String {
    let name =
      switch feedForward.activation {
      case .silu: "SiLU"
      case .geluTanh: "GELU (tanh)"
      case .clippedSiLU(let limit): "SiLU clipped at \(limit)"
      }
    guard let experts = feedForward.experts else { return "MLP of \(feedForward.intermediateSize), \(name)" }
    return "\(experts.perToken) of \(experts.count) experts of \(feedForward.intermediateSize), \(name)"
  }

  private var normText: String {
    let place =
      switch norms {
      case .before: "norms before each block"
      case .after: "norms after each block"
      case .around: "norms before and after each block"
      }
    return residualScale == 1 ? place : "\(place), residual times \(residualScale)"
  }
}

extension RotaryShape: CustomStringConvertible {
  package var description: String {
    var text = "rotary base \(theta)"
    if rotated != headDimension { text += " on \(rotated) elements" }
    if isInterleaved { text += ", neighbours paired" }
    if let scaling { text += ", \(scaling.description)" }
    return queryGrowth == nil ? text : "\(text), queries that grow"
  }
}

extension RotaryScaling: CustomStringConvertible {
  package var description: String {
    switch self {
    case .linear(let factor): "linear scaling by \(factor)"
    case .dynamic(let factor, let length): "dynamic scaling by \(factor) beyond \(length)"
    case .llama3(let factor, _, _, let length): "llama3 scaling by \(factor) of \(length)"
    case .yarn(let yarn): "YaRN by \(yarn.factor) of \(yarn.originalLength)"
    case .longRoPE(let longRoPE): "LongRoPE beyond \(longRoPE.originalLength)"
    }
  }
}
