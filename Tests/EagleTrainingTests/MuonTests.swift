import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import EagleTraining
import Foundation
import Testing

@Suite struct MuonTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  /// The iteration in float64 from its formula.
  private func reference(_ matrix: [[Double]]) -> [[Double]] {
    func product(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
      a.map { row in b[0].indices.map { j in row.indices.reduce(0) { $0 + row[$1] * b[$1][j] } } }
    }
    let norm = matrix.joined().reduce(0) { $0 + $1 * $1 }.squareRoot()
    var x = matrix.map { $0.map { $0 / norm } }
    for _ in 0..<5 {
      let transposed = x[0].indices.map { j in x.map { $0[j] } }
      let gram = product(x, transposed)
      let square = product(gram, gram)
      let polynomial = zip(gram, square).map { zip($0, $1).map { -4.7750 * $0 + 2.0315 * $1 } }
      x = zip(x, product(polynomial, x)).map { zip($0, $1).map { 3.4445 * $0 + $1 } }
    }
    return x
  }

  @Test(
    "the orthogonalised matrix is the formula's, wide, tall and square, of one block and of several",
    arguments: [[6, 20], [20, 6], [9, 9], [40, 70], [70, 40]])
  func iteration(shape: [Int]) {
    var random = RandomSource(seed: 5)
    let matrix = Tensor.normal(shape, deviation: 3, using: &random)
    let rows = (0..<shape[0]).map { matrix.slice($0..<$0 + 1).values.map(Double.init) }
    let isWide = shape[0] <= shape[1]
    let expected = reference(isWide ? rows : rows[0].indices.map { j in rows.map { $0[j] } })
    let seen = Muon.orthogonalized(matrix, .fp32)
    for o in 0..<shape[0] {
      for i in 0..<shape[1] {
        let value = Double(seen.floats[o * shape[1] + i])
        #expect(abs(value - (isWide ? expected[o][i] : expected[i][o])) < 1e-4, "float32 sums of float64's formula")
      }
    }
  }

  @Test("matrices of layers take a step of AdamW's size, all else AdamW's own step")
  func sizes() throws {
    let (adamw, muon) = (
      try run.firstStep("adamw") { $0.warmupRatio = 0 },
      try run.firstStep("muon") { ($0.optimizer, $0.warmupRatio) = (.muon, 0) }
    )
    let matrices = adamw.keys.filter { $0.hasSuffix("_proj.weight") || $0 == "fc.weight" }
    #expect(matrices.count == 8)
    for (name, step) in muon {
      guard matrices.contains(name) else {
        let isEqual = step == adamw[name]
        #expect(isEqual, "\(name)")
        continue
      }
      let size = (step.reduce(0) { $0 + $1 * $1 } / Float(step.count)).squareRoot()
      // Singular values between 0.7 and 1.2 give about 0.2 of the rate; the schedule has begun to fall.
      #expect(size > 0.5 * 0.2 * 5e-3 && size < 1.3 * 0.2 * 5e-3, "\(name): \(size)")
    }
  }

  @Test("each matrix has one owner, and the costliest ones are spread")
  func owners() {
    let shapes = [
      [576, 1728], [576, 1152], [192, 1152], [192, 1152], [576, 576], [1536, 576], [1536, 576], [576, 1536],
    ]
    let owners = Muon.owners(shapes, ranks: 2)
    #expect(owners.count == 8 && Set(owners) == [0, 1])
    let costs = [0, 1].map { rank in
      zip(shapes, owners).filter { $0.1 == rank }.reduce(0.0) { sum, item in
        sum + pow(Double(item.0.min()!), 2) * Double(2 * item.0.max()! + item.0.min()!)
      }
    }
    #expect(costs.min()! > 0.9 * costs.max()!)
    #expect(Muon.owners(shapes, ranks: 20).count == Set(Muon.owners(shapes, ranks: 20)).count)
  }

  @Test("matrices have no second moments in memory, and zeros for them in a checkpoint of the same layout as AdamW's")
  func secondMoments() throws {
    let trainer = try run.trainer("moments") { $0.optimizer = .muon }
    try trainer.train(epoch: 0)
    let optimizer = trainer.optimizer
    let matrices = optimizer.draft.shape.hiddenMatrices
    let elements = matrices.reduce(0) { $0 + $1.shape.reduce(1, *) }
    #expect(elements > 0 && optimizer.secondMoment.count == optimizer.weights.count - elements)
    #expect(optimizer.firstMoment.count == optimizer.weights.count)
    let newest = try #require(try CheckpointFolder.newestValid(in: "\(run.path)/moments") { _ in })
    let file = try SafetensorsFile(path: newest.path(of: "state.safetensors"))
    for parameter in optimizer.draft.parameters {
      let stored = try file.tensor("adam.v.\(parameter.name)")
      let isZero = stored.values.allSatisfy { $0 == 0 }
      let isMatrix = matrices.contains { $0.name == parameter.name }
      #expect(stored.shape == parameter.variable.shape && isZero == isMatrix, "\(parameter.name)")
    }
    // A state that is too large to copy gives the same file.
    let info = try JSONDecoder().decode(TrainingCheckpoint.Info.self, from: newest.info)
    try TrainingCheckpoint.write(
      TrainingCheckpoint.State(optimizer, limit: 0), info, parent: "\(run.path)/moments-as-they-are")
    let files = try ["moments", "moments-as-they-are"].map { folder in
      try Data(contentsOf: URL(fileURLWithPath: "\(run.path)/\(folder)/\(newest.name)/state.safetensors"))
    }
    let isEqual = files[0] == files[1]
    #expect(isEqual)
  }

  @Test("two ranks train what one trains, and a stopped run resumes with the same bits", arguments: [1, 2])
  func ranksAndResume(ranks: Int) throws {
    let run = run
    @Sendable func change(_ config: inout TrainConfig) { (config.optimizer, config.featureRates) = (.muon, .bySize) }
    let alone = try run.trainer("alone", change: change)
    try alone.begin()
    for epoch in 0..<4 { try alone.train(epoch: epoch) }
    _ = try LoopbackCommunicator.run(size: ranks) { cluster in
      let stop = StopRequest()
      let first = try run.trainer("parts", cluster: cluster, stop: stop, change: change)
      try first.begin()
      stop.make("the test")
      #expect(throws: StoppedRun.self) { try first.train(epoch: 0) }
      let rest = try run.trainer("parts", cluster: cluster, change: change)
      #expect(try rest.resume())
      for epoch in 0..<4 { try rest.train(epoch: epoch) }
      return rest.step
    }
    let (one, many) = (try run.metrics("alone"), try run.metrics("parts"))
    #expect(one.count == many.count && one.count >= 20)
    for (a, b) in zip(one.prefix(20), many) {
      let isEqual = ranks == 1 ? a.loss == b.loss : abs(a.loss - b.loss) < 1e-4
      #expect(isEqual, "step \(a.step): \(a.loss) and \(b.loss)")
    }
    #expect(one.last!.loss < one.first!.loss)
  }
}

@Suite struct StateNoiseTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  @Test("noise on states changes training losses by seed and epoch alone, and no held-out figure", arguments: [1, 2])
  func noise(ranks: Int) throws {
    let run = run
    func losses(_ name: String, ranks: Int, noise: Double, seed: UInt64 = 0) throws -> (before: Double, steps: [Double])
    {
      let before = try LoopbackCommunicator.run(size: ranks) { cluster in
        let trainer = try run.trainer(name, epochs: 1, cluster: cluster) { ($0.stateNoise, $0.seed) = (noise, seed) }
        let before = try trainer.heldOutMetrics()?.loss ?? 0
        try trainer.train(epoch: 0)
        return before
      }
      return (before[0], try run.metrics(name).map(\.loss))
    }
    let (plain, noisy) = (try losses("plain", ranks: 1, noise: 0), try losses("noisy", ranks: 1, noise: 0.5))
    let again = try losses("again", ranks: ranks, noise: 0.5)
    let (plainSeed, noisySeed) = (
      try losses("plain-1", ranks: 1, noise: 0, seed: 1), try losses("noisy-1", ranks: 1, noise: 0.5, seed: 1)
    )
    // Another seed also changes the order of batches, so the first step's differences to the loss without noise are
    // compared.
    #expect(noisySeed.steps[0] - plainSeed.steps[0] != noisy.steps[0] - plain.steps[0])
    #expect(plain.before == noisy.before && plain.before > 0)
    #expect(plain.steps != noisy.steps && plain.steps.count == again.steps.count)
    for (a, b) in zip(noisy.steps, again.steps) { #expect(abs(a - b) < 1e-5, "sums of ranks in another order") }
  }
}
