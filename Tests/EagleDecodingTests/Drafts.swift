import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor

/// Heads and drafters for tests.
enum Drafts {
  /// A head of random weights.
  ///
  /// - Parameter deviation: the standard deviation of its matrices; larger ones give more peaked distributions
  static func random(for model: TargetModel, size: Int, seed: UInt64, deviation: Float = 0.2) -> DraftModel {
    var config = DraftConfig()
    let size = min(size, model.shape.vocabularySize)
    config.vocabularySize = size
    let counts = [Int](repeating: 1, count: model.shape.vocabularySize)
    let random = DraftModel.random(
      shape: Eagle3Shape(of: model.shape, config, captureLayers: [0, 1, 2]),
      vocabulary: .mostFrequent(counts: counts, size: size, always: []), seed: seed)
    for parameter in random.parameters where parameter.variable.shape.count == 2 {
      for i in 0..<parameter.variable.value.count { parameter.variable.value.floats[i] *= deviation / 0.02 }
    }
    return random.rounded()
  }

  /// A small target of random bfloat16 weights.
  static func target(
    seed: UInt64, maxPositions: Int = 256, precision: ComputePrecision = .fp32, cache: CacheFormat? = nil,
    headDimension: Int = 16
  ) -> TargetModel {
    let attention = AttentionShape(heads: 2, kvHeads: 1, headDimension: headDimension)
    let shape = TargetShape(
      family: .qwen3, hiddenSize: 32, layers: 3, attention: attention,
      intermediateSize: 64, vocabularySize: 320, ropeTheta: 10000, maxPositions: maxPositions)
    return TargetModel(random: shape, seed: seed, precision: precision, cache: cache)
  }
}

/// Proposes tokens of a known sequence: the true continuation, or one that is wrong on purpose.
final class KnowingDrafter: Drafter {
  enum Kind: CaseIterable {
    /// The true token four times in five.
    case good
    /// Never the true token.
    case adversarial
    /// True once, then wrong, with the true token among its siblings' children.
    case misleading
  }

  private let text: [Int32]
  private let kind: Kind
  private let vocabulary: Int32
  private var random: RandomSource
  private(set) var count = 0
  let captureLayers = [0, 1, 2]

  /// - Parameter text: prompt and true continuation
  init(text: [Int32], kind: Kind, vocabulary: Int, seed: UInt64) {
    self.text = text
    self.kind = kind
    self.vocabulary = Int32(vocabulary)
    random = RandomSource(seed: seed)
  }

  func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind) {
    precondition(auxHidden.rows == nextTokens.count && nextTokens.last == text[count + nextTokens.count])
    count += nextTokens.count
  }

  func truncate(to count: Int) { self.count = count }

  func propose(after token: Int32, plan: DraftPlan, sampler: Sampler, budget: DraftBudget?) -> Proposal {
    var (tokens, parents): ([Int32], [Int]) = ([], [])
    var parent = 0
    for depth in 0..<plan.depth {
      let position = count + 1 + depth
      let truth = position < text.count ? text[position] : 0
      let first = tokens.count + 1
      for sibling in 0..<plan.width where tokens.count < plan.nodes {
        tokens.append(self.token(truth, depth: depth, sibling: sibling))
        parents.append(parent)
      }
      guard tokens.count >= first else { break }
      parent = first + Int.random(in: 0...tokens.count - first, using: &random)
    }
    return Proposal(after: token, tokens: tokens, parents: parents)
  }

  private func token(_ truth: Int32, depth: Int, sibling: Int) -> Int32 {
    let wrong = (truth + 1 + Int32(sibling)) % vocabulary
    return switch kind {
    case .good: random.uniform() < 0.8 && sibling == 0 ? truth : wrong
    case .adversarial: wrong
    case .misleading: (depth == 0) == (sibling == 0) ? truth : wrong
    }
  }
}
