import EagleAutograd
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleTensor

// V target vocabulary · D draft vocabulary · R rows.

/// The simplest possible head: logits by the previous token, from a table [V, D].
struct BigramShape: DraftShape {
  var vocabularySize: Int
  var draftVocabularySize: Int
  var targetHiddenSize: Int

  var hiddenSize: Int { targetHiddenSize }
  static let table = "table.weight"

  var architecture: String { "bigram" }
  var details: [String] { [] }
  var captureLayers: [Int] { [0] }
  var tensorShapes: [(name: String, shape: [Int])] { [(Self.table, [vocabularySize, draftVocabularySize])] }
  var lookUpTables: Set<String> { [Self.table] }
  var ownEmbedding: String? { nil }
  var sharesLMHead: Bool { false }
  var featureMatrix: String { Self.table }
  var headDimension: Int { 32 }
  var longestDraft: Int? { nil }
  func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape] { [] }
  func costs(_ settings: ObjectiveSettings) -> any ObjectiveCosts { BigramCosts() }
  func fittedStart(trainedTokens: Double) -> (rows: Double, operations: Double)? { nil }
  func check(_ settings: ObjectiveSettings) throws {}
  func draftPasses(length: Int) -> Int { length }
  func network(_ parameters: [DraftModel.Parameter]) -> any DraftNetwork { BigramNetwork(parameters[0].variable) }

  private static func noFile(_ path: String) -> LocatedError { LocatedError(path: path, problem: "no file has it") }

  func folder(_ layout: HeadLayout?, target: TargetShape, verifier: String?, path: String) throws -> HeadFolder {
    throw Self.noFile(path)
  }

  func file(target: TargetShape, type: DraftGGUF.MatrixType, path: String) throws -> HeadFile {
    throw Self.noFile(path)
  }

  static var ggufArchitecture: String { "bigram" }
  static func reader(folder path: String, target: TargetModel) throws -> any HeadReader { throw noFile(path) }
  static func reader(file: GGUFFile, target: TargetModel) throws -> any HeadReader { throw noFile(file.path) }
  static func summary(folder path: String) throws -> String { throw noFile(path) }
  static func summary(file: GGUFFile) throws -> String { throw noFile(file.path) }
}

struct BigramCosts: ObjectiveCosts {
  var positions = 1

  func largest(_ microBatches: [[[UInt8]]]) -> ObjectiveBytes { ObjectiveBytes() }
  func operations(masks: [[UInt8]]) -> Double { 0 }

  func work(mask: [UInt8], samples: Bool) -> ConversationWork {
    ConversationWork(
      positions: TrainedRows(mask: mask, depths: 1).spans.map { TrainedRows.rows(of: $0, depth: 0) }, perRow: 1,
      perKey: 0, perContextRow: 0)
  }
}

final class BigramNetwork: DraftNetwork {
  let table: Variable

  init(_ table: Variable) { self.table = table }

  func makeDrafter(_ draft: DraftModel, target: TargetModel, capacity: Int) -> any Drafter {
    BigramDrafter(table: table.value.float32(), vocabulary: draft.vocabulary)
  }

  func makeObjective(
    _ draft: DraftModel, tables: TargetTables, teacher: Teacher, settings: ObjectiveSettings, clock: PhaseClock,
    tick: @escaping () -> Void
  ) -> any Objective {
    BigramObjective(table: table, teacher: teacher)
  }

  func features(_ tape: Tape, _ auxHidden: Tensor) -> Variable { Variable(auxHidden) }

  func fitted(
    _ draft: DraftModel, target: TargetModel, leftOut: @escaping (Int) -> Void,
    conversations: @escaping ((Int, CapturedConversation) -> Bool) throws -> Void
  ) throws -> DraftModel? { nil }
}

/// The cross entropy of the target's distribution after each trained token.
struct BigramObjective: Objective {
  let table: Variable
  let teacher: Teacher

  var positions: Int { 1 }

  func rowCounts(conversation: Int, mask: [UInt8], epoch: Int?) -> [Int] {
    [TrainedRows(mask: mask, depths: 1).count(depth: 0)]
  }

  func metrics(_ sums: [PositionSums], leftOut: Int?) -> ObjectiveMetrics {
    ObjectiveMetrics(sums, weights: [1], leftOut: leftOut)
  }

  func batch(
    _ parts: [ConversationPart], _ conversations: [CapturedConversation], epoch: Int?
  ) -> any ObjectiveBatch {
    var (states, tokens) = (TeacherRows(), [Int32]())
    for (part, conversation) in zip(parts, conversations) {
      let all = TrainedRows(mask: conversation.lossMask, depths: 1).rows(depth: 0)
      let rows = part.rows.map { Array(all[$0]) } ?? all
      _ = states.add(conversation, positions: rows.map { $0 + 1 })
      tokens += rows.map { conversation.ids[$0 + 1] }
    }
    return Batch(table: table, tokens: tokens, targets: tokens.isEmpty ? nil : teacher.targets(of: states))
  }

  struct Batch: ObjectiveBatch {
    let table: Variable
    let tokens: [Int32]
    let targets: TeacherTargets?

    func run(globalRows: [Double], recording: Bool, isFinal: (Variable) throws -> Void) rethrows -> [PositionSums] {
      guard let targets else { return [PositionSums()] }
      let (tape, size) = (Tape(recording: recording, precision: .fp32), table.value.columns)
      let one = Tensor.zeros([size, size])
      for i in 0..<size { one.floats[i * size + i] = 1 }
      let sums = tape.softTargetLoss(
        tape.embedding(table, tokens), Variable(one),
        SoftTargets(
          probabilities: targets.probabilities, coverage: targets.coverage, row: tokens.indices.map(Int32.init),
          contributes: targets.hit.map { $0 >= 0 }, hit: targets.hit), weight: Float(1 / globalRows[0]))
      try tape.backward(telling: [table], isFinal: isFinal)
      return [PositionSums(rows: Double(tokens.count), loss: sums.loss, hits: sums.hits, overlap: sums.overlap)]
    }
  }
}

final class BigramDrafter: Drafter {
  let table: Tensor
  let vocabulary: DraftVocabulary
  private(set) var count = 0
  let captureLayers = [0]

  init(table: Tensor, vocabulary: DraftVocabulary) { (self.table, self.vocabulary) = (table, vocabulary) }

  func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind) { count += nextTokens.count }

  func truncate(to count: Int) { self.count = count }

  func propose(after token: Int32, plan: DraftPlan, sampler: Sampler, budget: DraftBudget?) throws -> Proposal {
    var growth = DraftGrowth(root: token, plan: plan, budget: budget, sampler: sampler, position: count + 1)
    try growth.add(children: Rows.select(table, [token]), vocabulary: vocabulary)
    while growth.grows {
      try growth.add(children: Rows.select(table, growth.expandFrontier().tokens), vocabulary: vocabulary)
    }
    return growth.proposal()
  }
}
