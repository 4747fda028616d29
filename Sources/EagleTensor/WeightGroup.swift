import CEagleKernels
import Foundation
import Synchronization

// R rows · I inputs · O outputs.

/// Weights that multiply the same activations, [O, I] each, with their biases [O]: of any type of weights.
///
/// A small-M matmul starts its threads once for the whole group.
package struct WeightGroup: @unchecked Sendable {
  /// The weights and biases, which the group keeps alive.
  package let weights: [(w: Tensor, bias: Tensor?)]
  /// The outputs of each weight.
  package let widths: [Int]
  private let inputs: Int
  private let addresses: Addresses

  package init(_ weights: [(w: Tensor, bias: Tensor?)]) {
    let inputs = weights[0].w.columns
    precondition(
      weights.allSatisfy { $0.w.shape.count == 2 && $0.w.columns == inputs },
      "a group of weights \(weights.map(\.w.shape))")
    self.weights = weights
    self.inputs = inputs
    widths = weights.map(\.w.rows)
    addresses = Addresses(weights)
  }

  /// A group of one weight without a bias.
  package init(_ w: Tensor) { self.init([(w, nil)]) }

  package var byteCount: Int { weights.reduce(0) { $0 + $1.w.byteCount } }

  /// The same group with its weights in blocks, as far as `Tensor.quantized` takes them.
  package func quantized(_ format: DType) -> WeightGroup {
    WeightGroup(weights.map { ($0.w.quantized(format), $0.bias) })
  }

  /// The small-M matmuls of x [R, I] with all weights: y = x wᵀ (+ bias), [R, O] each, one after the other.
  ///
  /// - Parameter scratch: `scratchBytes` bytes
  package func multiply(
    _ x: SmallMatmulInput, rows: Int, into y: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer
  ) {
    var activation = x.activation
    (activation.rows, activation.k) = (Int64(rows), Int64(inputs))
    let weights = addresses.current(withTiles: activation.is_quantized != 0)
    eagle_small_matmuls(&activation, weights, Int64(weights.count), y, scratch)
  }

  /// Bytes of the scratch buffer that `multiply` needs.
  package static func scratchBytes(rows: Int, inputs: Int) -> Int {
    Int(eagle_small_matmuls_scratch(Int64(rows), Int64(inputs)))
  }

  /// Lets idle workers prefetch these weights: they are multiplied after the next group.
  package func prefetch() {
    let weights = addresses.current(withTiles: false)
    eagle_weights_prefetch(weights, Int64(weights.count), Int64(inputs))
  }

  /// Reads the weights on all threads and multiplies nothing. Returns the sum of their 64-bit words.
  package func read() -> UInt64 {
    let weights = addresses.current(withTiles: false)
    return eagle_weights_read(weights, Int64(weights.count), Int64(inputs))
  }
}

/// The addresses of a group's weights, which become those of tiles once these are made.
private final class Addresses: @unchecked Sendable {
  private let weights: [(w: Tensor, bias: Tensor?)]
  private let lock = NSLock()
  /// Written under the lock, and never again once `isFinal` says so.
  private var list: [eagle_weights]
  /// Whether no address will change: without weights in blocks, and with all their tiles. Then no thread takes the
  /// lock.
  private let isFinal: Atomic<Bool>

  init(_ weights: [(w: Tensor, bias: Tensor?)]) {
    self.weights = weights
    list = weights.map { eagle_weights($0.w, bias: $0.bias) }
    isFinal = Atomic(!weights.contains { $0.w.tiles != nil })
  }

  /// - Parameter withTiles: makes them where they are missing
  func current(withTiles: Bool) -> [eagle_weights] {
    if isFinal.load(ordering: .acquiring) { return list }
    return lock.withLock {
      let canEnd = withTiles || weights.allSatisfy { $0.w.tiles == nil || $0.w.tiles?.address != nil }
      // Another thread may have come first: what it has published is being read.
      if canEnd, !isFinal.load(ordering: .relaxed) {
        for (w, _) in weights { _ = w.tiles?.make(for: w) }
        list = weights.map { eagle_weights($0.w, bias: $0.bias) }
        isFinal.store(true, ordering: .releasing)
      }
      return list
    }
  }
}

/// Activations as the input of a small-M matmul, [R, I]. Norm and activation are computed as the rows are read. The
/// caller keeps the operands alive.
package struct SmallMatmulInput {
  fileprivate let activation: eagle_activation

  /// Writes the rows as they are multiplied, before any rounding: y [R, I].
  package func materialize(rows: Int, into y: Tensor) {
    var activation = activation
    activation.k = Int64(y.columns)
    for row in 0..<rows { eagle_activation_row(&activation, Int64(row), y.floats + row * y.columns) }
  }

  /// x itself.
  package init(_ x: UnsafePointer<Float>, _ mode: MatmulMode) { activation = eagle_activation(x, mode) }

  /// x normed, with the norm's weight [I].
  package init(norm x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float, _ mode: MatmulMode) {
    var operand = eagle_activation(x, mode)
    (operand.norm, operand.epsilon) = (weight, epsilon)
    activation = operand
  }

  /// The activation of a gate, combined with up.
  package init(gate x: UnsafePointer<Float>, up: UnsafePointer<Float>, _ gate: GateActivation, _ mode: MatmulMode) {
    var operand = eagle_activation(x, mode)
    (operand.up, operand.gate, operand.limit) = (up, gate.kind, gate.limit)
    activation = operand
  }
}
