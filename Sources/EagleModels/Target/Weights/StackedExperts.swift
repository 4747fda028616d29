import EagleStorage
import EagleTensor

// E experts · H hidden · M width of an expert.

/// The experts of gpt-oss, stacked in one tensor each: gate and up rows interleaved, with biases. Their matrices are
/// stored as [E, inputs, outputs], or as MXFP4 blocks of [E, outputs, inputs]. In a GGUF file each expert has its own.
struct StackedExperts {
  let reader: WeightReader
  let name: String
  let count: Int  // E
  let m, h: Int

  func weights() throws -> [ExpertWeights] {
    if reader.source.contains("\(name).0.down_proj.weight") { return try (0..<count).map(separate) }
    let biases = (
      gateAndUp: try reader.tensor("\(name).gate_up_proj_bias", [count, 2 * m]).float32().values,
      down: try reader.tensor("\(name).down_proj_bias", [count, h]).float32().values
    )
    let matrices = reader.source.contains("\(name).down_proj_blocks") ? try packed() : try stacked()
    return (0..<count).map { expert in
      let interleaved = Array(biases.gateAndUp[expert * 2 * m..<(expert + 1) * 2 * m])
      func parity(_ first: Int) -> Tensor { Tensor(stride(from: first, to: 2 * m, by: 2).map { interleaved[$0] }, [m]) }
      return ExpertWeights(
        matrices: matrices(expert),
        biases: .init(
          gate: parity(0), up: parity(1), down: Tensor(Array(biases.down[expert * h..<(expert + 1) * h]), [h])))
    }
  }

  private func separate(_ expert: Int) throws -> ExpertWeights {
    func matrix(_ part: String, _ shape: [Int]) throws -> Tensor {
      try reader.matrix("\(name).\(expert).\(part).weight", shape)
    }
    func bias(_ part: String, _ count: Int) throws -> Tensor {
      try reader.vector("\(name).\(expert).\(part).bias", count)
    }
    return ExpertWeights(
      matrices: .init(
        gate: try matrix("gate_proj", [m, h]), up: try matrix("up_proj", [m, h]), down: try matrix("down_proj", [h, m])),
      biases: .init(gate: try bias("gate_proj", m), up: try bias("up_proj", m), down: try bias("down_proj", h)))
  }

  private func packed() throws -> (Int) -> ExpertWeights.Matrices {
    let gateAndUp = try MXFP4Stack(reader, "\(name).gate_up_proj", count: count, outputs: 2 * m, inputs: h)
    let down = try MXFP4Stack(reader, "\(name).down_proj", count: count, outputs: h, inputs: m)
    return { expert in
      ExpertWeights.Matrices(
        gate: gateAndUp.matrix(expert, from: 0, step: 2), up: gateAndUp.matrix(expert, from: 1, step: 2),
        down: down.matrix(expert))
    }
  }

  private func stacked() throws -> (Int) -> ExpertWeights.Matrices {
    func matrix(_ part: String, _ inputs: Int, _ outputs: Int) throws -> (Int) -> Tensor {
      let stored = try reader.tensor("\(name).\(part)", [count, inputs, outputs])
      let rows = stored.reshaped([count * inputs, outputs])
      return { Rows.transposed(rows.slice($0 * inputs..<($0 + 1) * inputs)) }
    }
    let (gateAndUp, down) = (try matrix("gate_up_proj", h, 2 * m), try matrix("down_proj", m, h))
    return { expert in
      let fused = gateAndUp(expert)
      return ExpertWeights.Matrices(
        gate: Rows.every(2, of: fused, from: 0), up: Rows.every(2, of: fused, from: 1), down: down(expert))
    }
  }
}
