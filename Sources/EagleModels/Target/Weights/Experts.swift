import EagleTensor
import Foundation
import Synchronization

// R tokens in the pass · E experts · K experts of a token · H hidden · M width of an expert.

/// A mixture of experts. Each token's result is the sum of its K experts' results, weighted by the router.
struct Experts: Sendable {
  let shape: ExpertShape
  let activation: GateActivation
  let router: WeightGroup  // [E, H]
  /// [E]
  let weights: [ExpertWeights]
  /// Bytes of experts that passes have read.
  let bytesRead = ByteCounter()

  /// Bytes of the experts of one token.
  var bytesPerToken: Int { weights.prefix(shape.perToken).reduce(0) { $0 + $1.byteCount } }

  /// Reads the experts of one token, and returns the sum of their words.
  func readOneToken() -> UInt64 {
    weights.prefix(shape.perToken).reduce(0) { sum, expert in
      let (gateAndUp, down) = ([expert.matrices.gate, expert.matrices.up], expert.matrices.down)
      return sum &+ WeightGroup(gateAndUp.map { ($0, nil) }).read() &+ WeightGroup(down).read()
    }
  }

  func quantized(_ format: DType) -> Experts {
    Experts(shape: shape, activation: activation, router: router, weights: weights.map { $0.quantized(format) })
  }

  /// The experts' result for x [R, H], [R, H].
  ///
  /// Tokens are grouped by expert, so that a pass reads each expert that it needs once. With a batch-invariant mode a
  /// token's bits do not depend on the others: each product is batch-invariant, and a token's results are added in the
  /// order of their weights.
  ///
  /// - Parameter logits: of the router, [R, E]
  func apply(_ x: Tensor, logits: Tensor, _ mode: MatmulMode) -> Tensor {
    let routes = (0..<x.rows).map { ExpertRoute(logits.floats + $0 * logits.columns, shape) }
    let k = shape.perToken
    let results = Tensor([x.rows * k, x.columns])  // of each token's experts, in the order of their weights
    for (expert, slots) in slots(routes).enumerated() where !slots.isEmpty {
      bytesRead.add(weights[expert].byteCount)
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

/// A number of bytes that any thread adds to.
final class ByteCounter: Sendable {
  private let count = Atomic<Int>(0)

  var bytes: Int { count.load(ordering: .relaxed) }

  func add(_ bytes: Int) { count.add(bytes, ordering: .relaxed) }
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

  struct Matrices: Sendable {
    let gate, up: Tensor  // [M, H]
    let down: Tensor  // [H, M]
  }

  struct Biases: Sendable {
    let gate, up, down: Tensor
  }

  var byteCount: Int { matrices.gate.byteCount + matrices.up.byteCount + matrices.down.byteCount }

  /// The same expert with quantised matrices.
  func quantized(_ format: DType) -> ExpertWeights {
    ExpertWeights(
      matrices: Matrices(
        gate: matrices.gate.quantized(format), up: matrices.up.quantized(format), down: matrices.down.quantized(format)),
      biases: biases)
  }

  /// down(act(gate(x), up(x))), [R, H].
  func apply(_ x: Tensor, _ activation: GateActivation, _ mode: MatmulMode) -> Tensor {
    let projected = Matmul.forward(x, [(matrices.gate, biases?.gate), (matrices.up, biases?.up)], mode)
    let activated = Elementwise.gated(projected[0], projected[1], activation)
    return Matmul.forward(activated, matrices.down, bias: biases?.down, mode)
  }
}
