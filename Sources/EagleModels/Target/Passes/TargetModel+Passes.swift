import EagleTensor

// R batch rows: the tokens of all sequences, concatenated · H hidden · V vocabulary.

extension TargetModel {
  /// The states of prompts or whole sequences: GEMMs over many rows.
  ///
  /// - Parameters:
  ///   - ids: one token id a row
  ///   - segments: which rows belong to which sequence; together they cover all rows in order
  ///   - captureLayers: 0-based layers whose outputs are wanted, increasing
  ///   - eachLayer: called after each layer, which may take minutes where there are many rows
  package func prefill(
    _ ids: [Int32], segments: [Segment], captureLayers: [Int], eachLayer: () -> Void = {}
  ) -> TargetStates {
    forward(ids, segments: segments, captureLayers: captureLayers, .gemm(precision), eachLayer: eachLayer)
  }

  /// The states of a few new tokens: batch-invariant, so that a row's bits do not depend on the other rows.
  ///
  /// - Parameters:
  ///   - ids: one token id a row
  ///   - segments: which rows belong to which sequence; together they cover all rows in order
  ///   - captureLayers: 0-based layers whose outputs are wanted, increasing
  package func decode(_ ids: [Int32], segments: [Segment], captureLayers: [Int]) -> TargetStates {
    forward(ids, segments: segments, captureLayers: captureLayers, .batchInvariant(precision))
  }

  /// Logits over the whole vocabulary of states after the final norm: [R, V]. Batch-invariant, as `decode`.
  package func logits(_ lastHidden: Tensor) -> Tensor {
    let logits = Matmul.forward(lastHidden, weights.head, .batchInvariant(precision))
    if let cap = shape.logitsSoftcap { Elementwise.softcap(logits, at: cap) }
    return logits
  }

  /// The kinds of a forward pass: `prefill` and `decode`.
  package enum PassKind: Sendable { case prefill, decode }

  /// A forward pass of this kind.
  package func run(_ kind: PassKind, _ ids: [Int32], segments: [Segment], captureLayers: [Int]) -> TargetStates {
    switch kind {
    case .prefill: prefill(ids, segments: segments, captureLayers: captureLayers)
    case .decode: decode(ids, segments: segments, captureLayers: captureLayers)
    }
  }

  private func forward(
    _ ids: [Int32], segments: [Segment], captureLayers: [Int], _ mode: MatmulMode, eachLayer: () -> Void = {}
  ) -> TargetStates {
    let x = Rows.gather(weights.embedding, ids)
    if shape.embeddingScale != 1 { Elementwise.scale(x, by: shape.embeddingScale) }
    let capture = LayerCapture(captureLayers, rows: ids.count, width: shape.hiddenSize)
    func finished(_ layer: Int) {
      capture.take(x, layer: layer)
      eachLayer()
    }
    let tables = RotaryTables(rotaries, positions: positions(segments, count: ids.count))
    if mode.isBatchInvariant, segments.allSatisfy({ $0.cache != nil }) {
      let ops = BufferOperations(shape, segments, matrices: weights.matrices, tables: tables, mode: mode)
      run(ops, on: BufferActivations(base: x.floats, width: x.columns), finished: finished)
    } else {
      let ops = TensorOperations(shape: shape, segments: segments, tables: tables, mode: mode)
      run(ops, on: x, finished: finished)
    }
    for segment in segments { segment.cache?.advance(segment.rows.count) }
    return TargetStates(
      auxHidden: capture.states, lastHidden: RMSNorm.apply(x, weights.norm, epsilon: shape.normEpsilon))
  }

  /// Runs all layers over the residual stream x [R, H], in place.
  ///
  /// - Parameter finished: called after each layer
  private func run<Operations: LayerOperations>(
    _ ops: Operations, on x: Operations.Activations, finished: (_ layer: Int) -> Void
  ) {
    for (index, layer) in weights.layers.enumerated() {
      layer.run(on: x, ops, index: index)
      finished(index)
    }
  }

  private func positions(_ segments: [Segment], count: Int) -> [Int32] {
    var positions = [Int32](repeating: 0, count: count)
    for segment in segments {
      for (i, row) in segment.rows.enumerated() { positions[row] = Int32(segment.position(i)) }
    }
    return positions
  }
}

/// Copies of the residual stream after some layers, concatenated by columns.
private struct LayerCapture {
  let layers: [Int]
  /// [R, layers · H]; nil for no layers.
  let states: Tensor?

  init(_ layers: [Int], rows: Int, width: Int) {
    self.layers = layers
    states = layers.isEmpty ? nil : Tensor([rows, layers.count * width])
  }

  /// Keeps x [R, H] if this layer is captured.
  func take(_ x: Tensor, layer: Int) {
    guard let states, let slot = layers.firstIndex(of: layer) else { return }
    let (width, stride) = (x.columns, states.columns)
    for row in 0..<x.rows {
      (states.floats + row * stride + slot * width).update(from: x.floats + row * width, count: width)
    }
  }
}
