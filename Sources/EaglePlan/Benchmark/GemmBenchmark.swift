import EagleCore
import EagleTensor

// R rows · I inputs · O outputs.

/// Benchmarks the GEMMs of this machine: large ones, and those in the sizes of a model.
package enum GemmBenchmark {
  /// One size and the rates of its three GEMMs, in 1e9 operations per second.
  package struct Row: Codable, Sendable {
    package var name: String
    package var rows: Int
    package var inputs: Int
    package var outputs: Int
    package var forward: Double
    package var inputGradient: Double
    package var weightGradient: Double

    enum CodingKeys: String, CodingKey {
      case name, rows, inputs, outputs, forward
      case inputGradient = "input_gradient"
      case weightGradient = "weight_gradient"
    }
  }

  /// All of it.
  package struct Report: Codable, Sendable {
    package var shape: BenchmarkShape
    package var threads: Int
    package var path: String
    package var peakGflops: Double
    package var rows: [Row]

    enum CodingKeys: String, CodingKey {
      case shape, threads, path, rows
      case peakGflops = "peak_gflops"
    }

    /// The report as readable lines.
    package func lines() -> [String] {
      let title = "gemm \(shape.rawValue): \(Format.count(threads, "thread")), \(path)"
      let peak = "a product of [2048, 2048] with [2048, 2048] reaches \(format(peakGflops)) GFLOP/s"
      return [title, peak, "  weight              rows       [O, I]     forward   dx        dw"]
        + rows.map { row in
          let size = "[\(row.outputs), \(row.inputs)]"
          let cells = [pad(row.name, 18), pad("\(row.rows)", 6), pad(size, 16)]
          return "  " + cells.joined(separator: "  ")
            + [row.forward, row.inputGradient, row.weightGradient].map { pad(format($0), 10) }.joined()
        }
    }

    private func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.count))
    }

    private func format(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
  }

  /// - Parameter options: shape, tokens (rows of each GEMM), precision and repeats are used
  package static func run(_ options: BenchmarkOptions) -> Report {
    let draft = options.shape.draft(vocabularySize: options.draftSize)
    let (h, m, a) = (draft.hiddenSize, draft.intermediateSize, draft.attention)
    let sizes = [
      ("fc", draft.featureWidth, h), ("q_proj", 2 * h, a.queryWidth), ("k_proj", 2 * h, a.keyWidth),
      ("o_proj", a.queryWidth, h),
      ("gate_proj", h, m), ("down_proj", m, h), ("lm_head", h, options.draftSize),
    ]
    return Report(
      shape: options.shape, threads: Parallel.threadCount, path: Matmul.describe(options.precision),
      peakGflops: peak(options.precision, repeats: max(3, options.repeats)),
      rows: sizes.map { measure($0.0, rows: options.tokens, inputs: $0.1, outputs: $0.2, options) })
  }

  /// The rate of a large GEMM: the best of several, in 1e9 operations per second.
  static func peak(_ precision: ComputePrecision, repeats: Int = 3) -> Double {
    let (x, w) = (random([2048, 2048], precision), random([2048, 2048], precision))
    return best(repeats, operations: 2 * 2048.0 * 2048 * 2048) { _ = Matmul.forward(x, w, precision) }
  }

  private static func measure(
    _ name: String, rows: Int, inputs: Int, outputs: Int, _ options: BenchmarkOptions
  ) -> Row {
    let (precision, repeats) = (options.precision, max(1, options.repeats))
    let (x, w) = (random([rows, inputs], precision), random([outputs, inputs], precision))
    let dy = random([rows, outputs], precision)
    let (dx, dw) = (Tensor.zeros([rows, inputs]), Tensor.zeros([outputs, inputs]))
    let operations = 2 * Double(rows) * Double(inputs) * Double(outputs)
    return Row(
      name: name, rows: rows, inputs: inputs, outputs: outputs,
      forward: best(repeats, operations: operations) { _ = Matmul.forward(x, w, precision) },
      inputGradient: best(repeats, operations: operations) {
        Matmul.inputGradient(dy, w, into: dx, accumulate: false, precision)
      },
      weightGradient: best(repeats, operations: operations) {
        Matmul.accumulateWeightGradient(dy, x, into: dw, precision)
      })
  }

  /// Random operands in the type of the precision.
  private static func random(_ shape: [Int], _ precision: ComputePrecision) -> Tensor {
    var source = RandomSource(seed: 1)
    let tensor = Tensor.normal(shape, deviation: 1, using: &source)
    return Matmul.takesBFloat16(precision) ? tensor.bfloat16() : tensor
  }

  private static func best(_ repeats: Int, operations: Double, _ body: () -> Void) -> Double {
    let clock = ContinuousClock()
    body()
    let seconds = (0..<repeats).map { _ in clock.measure(body).inSeconds }
    return operations / (seconds.min() ?? .infinity) * 1e-9
  }
}
