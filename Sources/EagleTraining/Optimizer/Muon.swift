import CEagleKernels
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor

// O outputs · I inputs of a weight.

/// Muon for the matrices of a draft's layers: the momentum of a matrix is made nearly orthogonal before it is applied.
///
/// m = μ m + (1 − μ) g,  u = (1 − μ) g + μ m
/// w = w (1 − lr · decay) − lr · 0.2 √max(O, I) · r ∘ NS(r ∘ u)
///
/// NS(X) divides X by its norm and then computes, five times, A = X Xᵀ and X = a X + (b A + c A²) X: a Newton–Schulz
/// iteration, after which singular values are near 1. The factor 0.2 √max(O, I) gives a step the root mean square of
/// AdamW's, so that both use one learning rate (arXiv 2502.16982, section 2.2). r are the rates of the columns of the
/// feature matrix, as in AdamW, and 1 elsewhere, which is equivalent to training on features of size 1.
///
/// AdamW updates norms, tables, the LM head and a confidence head. m is stored as AdamW's first moment. The matrices
/// have no second moment in memory, and zeros in checkpoints, whose layout is the same for both optimisers. One rank
/// updates each matrix and sends the weights to the others, so that their bits are equal on different processors.
package struct Muon {
  static let momentum: Float = 0.95
  private static let coefficients: (a: Float, b: Float, c: Float) = (3.4445, -4.7750, 2.0315)
  private static let iterations = 5

  private let optimizer: AdamW
  private let cluster: any Communicator
  private let matrices: [Matrix]

  private struct Matrix {
    let range: Range<Int>
    let shape: [Int]  // [O, I]
    let rank: Int
    let isRated: Bool
  }

  /// Excludes the matrices of the layers from AdamW.
  init(_ optimizer: AdamW, cluster: any Communicator) {
    (self.optimizer, self.cluster) = (optimizer, cluster)
    let names = Set(optimizer.draft.shape.hiddenMatrices.map(\.name))
    let slices = optimizer.slices.filter { names.contains($0.name) }
    let ranks = Self.owners(slices.map(\.variable.shape), ranks: cluster.size)
    matrices = zip(slices, ranks).map { slice, rank in
      Matrix(
        range: slice.range, shape: slice.variable.shape, rank: rank,
        isRated: slice.name == optimizer.draft.shape.featureMatrix)
    }
    optimizer.leaveOut(matrices.map(\.range))
  }

  /// The rank that updates each matrix: in descending order of cost, each is assigned to the rank with the least work.
  package static func owners(_ shapes: [[Int]], ranks: Int) -> [Int] {
    let costs = shapes.map { shape in shape.min()! * shape.min()! * (2 * shape.max()! + shape.min()!) }
    var (owners, loads) = ([Int](repeating: 0, count: shapes.count), [Int](repeating: 0, count: ranks))
    for index in costs.indices.sorted(by: { costs[$0] > costs[$1] }) {
      let rank = loads.indices.min { loads[$0] < loads[$1] }!
      owners[index] = rank
      loads[rank] += costs[index]
    }
    return owners
  }

  /// The bytes of temporaries for the largest of these matrices: the update, X, its operand and the next X, A, its
  /// polynomial and a part of a Gram matrix.
  package static func temporaryBytes(_ shapes: [[Int]]) -> Int {
    shapes.map { 14 * $0[0] * $0[1] + 12 * $0.min()! * $0.min()! }.max() ?? 0
  }

  /// The local part of a step: the momentum of all matrices, and the weights of this rank's own matrices.
  ///
  /// - Parameters:
  ///   - learningRate: the learning rate of this step
  ///   - scale: the factor that limits gradients to the clip norm
  func apply(learningRate: Double, scale: Float) {
    for matrix in matrices {
      let (gradient, moment) = (optimizer.gradients.slice(matrix.range), optimizer.firstMoment.slice(matrix.range))
      let share = (1 - Self.momentum) * scale
      Elementwise.scale(moment, by: Self.momentum)
      Elementwise.accumulate(gradient, times: share, into: moment)
      guard matrix.rank == cluster.rank else { continue }
      let update = Tensor.zeros(matrix.shape)
      Elementwise.accumulate(gradient, times: share, into: update)
      Elementwise.accumulate(moment, times: Self.momentum, into: update)
      if matrix.isRated { multiplyColumns(of: update) }
      let step = Self.orthogonalized(update, optimizer.config.precision)
      if matrix.isRated { multiplyColumns(of: step) }
      let size = 0.2 * Double(matrix.shape.max()!).squareRoot()
      let weights = optimizer.weights.slice(matrix.range)
      Elementwise.scale(weights, by: Float(1 - learningRate * optimizer.config.weightDecay))
      Elementwise.accumulate(step, times: Float(-learningRate * size), into: weights)
    }
  }

  /// Broadcasts the weights of each matrix from the rank that has updated it. Collective.
  func broadcastMatrices() throws {
    for matrix in matrices where cluster.size > 1 {
      try cluster.broadcast(optimizer.weights.slice(matrix.range).rawBytes, root: matrix.rank)
    }
    optimizer.weightsHaveChanged()
  }

  private func multiplyColumns(of x: Tensor) {
    guard let rates = optimizer.featureRates else { return }
    let (columns, values, factors) = (x.columns, x.floats, rates.floats)
    Parallel.forEachRange(x.rows, grain: 16) { rows in
      for row in rows { for i in 0..<columns { values[row * columns + i] *= factors[i] } }
    }
  }

  /// Approximately U Vᵀ of a matrix U S Vᵀ: [O, I]. Singular values above a hundredth of the norm are then between 0.68
  /// and 1.2; smaller ones grow by a factor of up to 485.
  ///
  /// - Parameter precision: the precision of the GEMMs
  package static func orthogonalized(_ matrix: Tensor, _ precision: ComputePrecision) -> Tensor {
    let (a, b, c) = coefficients
    // A is a Gram matrix of the smaller side, so X is transposed if it is tall.
    let isTall = matrix.rows > matrix.columns
    let norm = eagle_sum_of_squares(matrix.floats, Int64(matrix.count)).squareRoot()
    var x = scaled(isTall ? Rows.transposed(matrix) : matrix, by: Float(1 / (norm + 1e-7)))
    for _ in 0..<iterations {
      let gram = selfProduct(x, precision)
      let polynomial = selfProduct(gram, precision)
      Elementwise.scale(polynomial, by: c)
      Elementwise.accumulate(gram, times: b, into: polynomial)
      let next = scaled(x, by: a)
      Matmul.inputGradient(polynomial, x, into: next, accumulate: true, precision)
      x = next
    }
    return isTall ? Rows.transposed(x) : x
  }

  private static func scaled(_ x: Tensor, by factor: Float) -> Tensor {
    let y = Tensor.zeros(x.shape)
    Elementwise.accumulate(x, times: factor, into: y)
    return y
  }

  /// X Xᵀ, [S, S] of [S, L]; for a symmetric X its square. It is symmetric, so blocks right of the diagonal are copied,
  /// which leaves five eighths of the operations.
  private static func selfProduct(_ x: Tensor, _ precision: ComputePrecision) -> Tensor {
    let side = x.rows
    let operand = Matmul.takesBFloat16(precision) ? x.bfloat16() : x
    let height = max(16, (side / 4 + 15) / 16 * 16)
    let product = Tensor.zeros([side, side])
    let values = product.floats
    for first in stride(from: 0, to: side, by: height) {
      let rows = first..<min(side, first + height)
      let left = Tensor.zeros([rows.count, rows.upperBound])
      Matmul.accumulate(operand.slice(rows), operand.slice(0..<rows.upperBound), into: left, precision)
      for row in rows {
        let source = left.floats + (row - first) * rows.upperBound
        for column in 0...row {
          values[row * side + column] = source[column]
          values[column * side + row] = source[column]
        }
      }
    }
    return product
  }
}
