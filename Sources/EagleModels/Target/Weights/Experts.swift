import EagleTensor
import Foundation

// R tokens in the pass · E experts · K experts of a token · H hidden · M width of an expert.

/// A mixture of experts. Each token's result is the sum of its K experts' results, weighed by the router.
struct Experts: Sendable {
  let shape: ExpertShape
  let activation: GateActivation
  let router: WeightGroup  // [E, H]
  /// [E]
  let weights: [ExpertWeights]

  /// Bytes of the experts of one token.
  var bytesPerToken: Int { weights.prefix(shape.perToken).reduce(0) { $0 + $1.byteCount } }

  /// Reads the experts of one token, and returns the sum of their words.
  func readOneToken() -> UInt64 {
    weights.prefix(shape.perToken).reduce(0) { sum, expert in
      let (gate, up, down) = expert.dense
      return sum &+ WeightGroup([(gate, nil), (up, nil)]).read() &+ WeightGroup(down).read()
    }
  }

  func quantized(_ format: DType) -> Experts {
    Experts(shape: shape, activation: activation, router: router, weights: weights.map { $0.quantized(format) })
  }

  /// The experts' result for x [R, H], [R, H].
  ///
  /// Tokens are grouped by expert, so that a pass reads each expert that it needs once. With a batch-invariant mode a
  /// token's bits do not depend on the others: each product is, and a token's results are added in the order of their
  /// weights.
  ///
  /// - Parameter logits: of the router, [R, E]
  func apply(_ x: Tensor, logits: Tensor, _ mode: MatmulMode) -> Tensor {
    let routes = (0..<x.rows).map { ExpertRoute(logits.floats + $0 * logits.columns, shape) }
    let k = shape.perToken
    let results = Tensor([x.rows * k, x.columns])  // of each token's experts, in the order of their weights
    for (expert, slots) in slots(routes).enumerated() where !slots.isEmpty {
      let rows = Rows.gather(x, slots.map { Int32($0 / k) })
      let y = weights[expert].apply(rows, activation, mode)
      for (i, slot) in slots.enumerated() {
        (results.floats + slot * x.columns).update(from: y.floats + i * x.columns, count: x.columns)
      }
    }
    return sum(results, routes)
  }

  /// For each expert the slots that it fills: slot r · K + j is the j-th expert of token r.
  private func slots(_ routes: [ExpertRoute]) -> [[Int]] {
    var slots = [[Int]](repeating: [], count: shape.count)
    for (row, route) in routes.enumerated() {
      for (j, expert) in route.experts.enumerated() { slots[expert].append(row * shape.perToken + j) }
    }
    return slots
  }

  private func sum(_ results: Tensor, _ routes: [ExpertRoute]) -> Tensor {
    let (k, width) = (shape.perToken, results.columns)
    let y = Tensor.zeros([routes.count, width])
    Parallel.forEachRange(routes.count, grain: 4) { range in
      for row in range {
        for (j, weight) in routes[row].weights.enumerated() {
          Elementwise.accumulate(
            results.floats + (row * k + j) * width, times: weight, into: y.floats + row * width, count: width)
        }
      }
    }
    return y
  }
}

/// The experts of one token and their weights, the largest first; the lower index first among equals.
struct ExpertRoute {
  let experts: [Int]
  let weights: [Float]

  /// Softmax over all E logits, of which the K largest stay; normalized, these sum to 1.
  init(_ logits: UnsafePointer<Float>, _ shape: ExpertShape) {
    let order = (0..<shape.count).sorted { (logits[$0], $1) > (logits[$1], $0) }
    experts = Array(order.prefix(shape.perToken))
    let maximum = logits[experts[0]]
    let exponentials = (shape.isNormalized ? experts : order).map { exp(logits[$0] - maximum) }
    let total = exponentials.reduce(0, +)
    weights = exponentials.prefix(shape.perToken).map { $0 / total }
  }
}

/// The matrices of one expert, and their biases where it has any.
struct ExpertWeights: Sendable {
  let matrices: Matrices
  var biases: Biases?

  enum Matrices: Sendable {
    /// [M, H], [M, H], [H, M]
    case dense(gate: Tensor, up: Tensor, down: Tensor)
    /// Expert `index` of two stacks, gate and up interleaved. Each pass that needs it expands it to bfloat16.
    case mxfp4(gateAndUp: MXFP4Stack, down: MXFP4Stack, index: Int)
  }

  struct Biases: Sendable {
    let gate, up, down: Tensor
  }

  var byteCount: Int {
    switch matrices {
    case .dense(let gate, let up, let down): gate.byteCount + up.byteCount + down.byteCount
    case .mxfp4(let gateAndUp, let down, _): gateAndUp.byteCount + down.byteCount
    }
  }

  /// The same expert with quantised matrices; MXFP4 stays.
  func quantized(_ format: DType) -> ExpertWeights {
    guard case .dense(let gate, let up, let down) = matrices else { return self }
    return ExpertWeights(
      matrices: .dense(gate: gate.quantized(format), up: up.quantized(format), down: down.quantized(format)),
      biases: biases)
  }

  /// down(act(gate(x), up(x))), [R, H].
  func apply(_ x: Tensor, _ activation: GateActivation, _ mode: MatmulMode) -> Tensor {
    let (gate, up, down) = dense
    let projected = Matmul.forward(x, [(gate, biases?.gate), (up, biases?.up)], mode)
    let activated = Elementwise.gated(projected[0], projected[1], activation)
    return Matmul.forward(activated, down, bias: biases?.down, mode)
  }

  /// The matrices as products take them.
  var dense: (gate: Tensor, up: Tensor, down: Tensor) {
    switch matrices {
    case .dense(let gate, let up, let down): (gate, up, down)
    case .mxfp4(let gateAndUp, let down, let index):
      (
        gateAndUp.matrix(index, from: 0, step: 2), gateAndUp.matrix(index, from: 1, step: 2), down.matrix(index)
      )
    }
  }
}
