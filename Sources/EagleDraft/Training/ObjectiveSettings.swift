import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// K drafted positions.

/// How a head is trained, as far as its objective is concerned.
package struct ObjectiveSettings: Sendable, Equatable {
  /// K of EAGLE-3: the number of its own drafting steps through which a head is trained.
  package var tttLength = 7
  /// The share of the rows of a TTT step that an epoch takes to the next step.
  package var tttShare = 1.0
  /// Step k weighs `step_decay`^k in the loss.
  package var stepDecay = 0.8
  /// The loss; nil for that of the architecture.
  package var loss: TrainingLoss?
  package var mean = LossMean.tokens
  /// The share of trained positions that an epoch takes as anchors of blocks, and the most of a conversation.
  package var anchorShare = 1.0
  package var anchorLimit = deepSpecAnchors
  package var precision = ComputePrecision.bf16
  package var seed: UInt64 = 0
  package var chunking = Chunking.standard

  /// `num_anchors` of DeepSpec: the most anchors of a conversation.
  package static let deepSpecAnchors = 512

  package init() {}

  /// Settings of EAGLE-3's objective.
  package init(
    tttLength: Int, stepDecay: Double, mean: LossMean = .tokens, precision: ComputePrecision,
    chunking: Chunking = .standard
  ) {
    (self.tttLength, self.stepDecay, self.mean) = (tttLength, stepDecay, mean)
    (self.precision, self.chunking) = (precision, chunking)
  }

  /// The sizes that bound what is recorded at a time.
  package struct Chunking: Sendable, Equatable {
    /// A trained row keeps 2.1 MB for its backward pass at Qwen3-4B's size and K 7: chunks of 512 rows need 1.4 GB with
    /// their temporary results, 1,024 rows 2.7 GB. On two cores with AVX512-BF16 chunks of 256, 512 and 1,024 rows are
    /// equally fast, to the noise of 5 %.
    package static let standard = Chunking(longestWhole: microBatchTokens, rows: 512)
    /// The tokens that one rank runs through the head at a time, except for longer conversations.
    package static let microBatchTokens = 1024

    /// Prefix rows of the longest conversation that goes through one pass.
    package let longestWhole: Int
    /// Trained rows of a chunk of a longer one, at most.
    package let rows: Int

    package init(longestWhole: Int, rows: Int) {
      precondition(longestWhole > 0 && rows > 0, "chunks of \(rows) rows beyond \(longestWhole)")
      self.longestWhole = longestWhole
      self.rows = rows
    }
  }
}

/// The loss of one trained row (arXiv 2602.23881 for the LK losses).
public enum TrainingLoss: String, Codable, CaseIterable, Sendable {
  /// The divergence from the target's distribution over the draft vocabulary.
  case kl
  /// The negative logarithm of the acceptance.
  case lkAlpha = "lk-alpha"
  /// The divergence at first, and more of one minus the acceptance as that grows.
  case lkLambda = "lk-lambda"
  /// A tenth of the divergence, and nine tenths of one minus the acceptance, which is the total variation.
  case klTV = "kl-tv"

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  /// The paper's 3 for the decay of the divergence's weight.
  var kind: SoftTargetLoss {
    switch self {
    case .kl: .kl
    case .lkAlpha: .lkAlpha
    case .lkLambda: .lkLambda(decay: 3)
    case .klTV: .klTV(crossEntropy: 0.1)
    }
  }
}

/// The set over which the loss is averaged.
public enum LossMean: String, Codable, CaseIterable, Sendable {
  /// The trained rows of the batch.
  case tokens
  /// The conversations of the batch that have trained rows, each the mean over its own: a long one weighs no more than
  /// a short one.
  case conversations

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}
