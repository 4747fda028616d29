import EagleCore
import EagleDraft
import EagleModels

/// The learning rates of the columns of `fc`, which reads the captured states.
public enum FeatureRates: String, Codable, CaseIterable, Sendable {
  /// The learning rate of all other weights.
  case equal
  /// The learning rate divided by the root mean square of the column's input.
  case bySize = "by-size"

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The optimiser that updates the weights.
public enum OptimizerKind: String, Codable, CaseIterable, Sendable {
  /// AdamW for all weights.
  case adamw
  /// Muon for the matrices of the layers, AdamW for all other weights.
  case muon

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The objective, the optimiser and the pace of training.
public struct TrainConfig: Config {
  /// The number of passes over the training conversations.
  public var epochs = 3
  /// The TTT length K: the number of drafting steps on its own outputs through which the head is trained.
  public var tttLength = 7
  /// The decay of the weights of drafting steps: step k weighs `step_decay`^k in the loss.
  public var stepDecay = 0.8
  /// The share of the rows of a drafting step that continue to the next one, sampled anew in each epoch (EAGLE-3).
  public var tttShare = 1.0
  /// The share of trained positions at which blocks begin, sampled anew in each epoch, in a block drafter.
  public var anchorShare = 1.0
  /// The maximum number of blocks of a conversation in one epoch.
  public var anchorLimit = ObjectiveSettings.deepSpecAnchors
  /// The loss of a trained row; nil for `kl` in EAGLE-3, and for the loss of its paper in a block drafter.
  public var loss: TrainingLoss?
  /// The set over which the loss is averaged.
  public var mean = LossMean.tokens
  /// The maximum relative noise that is added to the captured states that the head reads.
  public var stateNoise = 0.0
  /// The optimiser that updates the weights.
  public var optimizer = OptimizerKind.adamw
  /// The peak of the schedule, reached after the warm-up.
  public var learningRate = 1e-4
  /// The learning rates of the columns of `fc`, which reads the captured states.
  public var featureRates = FeatureRates.equal
  /// The share of all optimiser steps in which the rate rises from 0; a cosine decreases it to 0 afterwards.
  public var warmupRatio = 0.015
  /// The decoupled decay of AdamW and Muon, per unit of learning rate.
  public var weightDecay = 0.0
  /// The maximum global norm of a gradient; larger gradients are scaled down to it.
  public var clipNorm = 0.5
  /// AdamW's decay of the mean of gradients.
  public var beta1 = 0.9
  /// AdamW's decay of the mean of squared gradients.
  public var beta2 = 0.999
  /// The tokens of one optimiser step, over all ranks.
  public var tokensPerBatch = 8192
  /// The precision of the head's GEMMs.
  public var precision = ComputePrecision.bf16
  /// The seed of weights and batches: the same seed and ranks give the same bits.
  public var seed: UInt64 = 0
  /// The optimiser steps between two checkpoints. The end of an epoch writes one too.
  public var checkpointEvery = 500
  /// The minutes between two checkpoints: whichever comes first.
  public var checkpointMinutes = 30.0
  /// The number of newest checkpoints that are kept, in addition to the best.
  public var keepCheckpoints = 3
  /// Whether each rank holds the moments of only its partition of the weights and updates only this partition (ZeRO-1).
  /// An all-gather of the weights follows.
  public var shardOptimizer = false
  /// The maximum number of consecutive steps that are skipped because their loss or gradient is not finite.
  public var maxSkippedSteps = 3
  /// The conversations that no step trains, by id, or `#` and their number in the prepared data. A change applies when
  /// the run resumes.
  public var leaveOut: [String] = []
  /// Whether events for TensorBoard are written next to the metrics.
  public var tensorboard = false

  /// Creates the settings with all defaults.
  public init() {}

  /// The settings of the objective.
  package var objective: ObjectiveSettings {
    var settings = ObjectiveSettings()
    (settings.tttLength, settings.stepDecay, settings.loss, settings.mean) = (tttLength, stepDecay, loss, mean)
    (settings.tttShare, settings.anchorShare, settings.anchorLimit) = (tttShare, anchorShare, anchorLimit)
    (settings.precision, settings.seed) = (precision, seed)
    return settings
  }

  /// Checks the ranges of all settings, and that the optimiser can be sharded.
  public func validate() throws {
    try validateObjective()
    try validateOptimiser()
    try requireCount(tokensPerBatch, "tokens_per_batch")
    try requireCount(checkpointEvery, "checkpoint_every")
    try require(
      checkpointMinutes > 0 && checkpointMinutes.isFinite, "checkpoint_minutes",
      "must be above 0, not \(checkpointMinutes)")
    try requireCount(keepCheckpoints, "keep_checkpoints")
    try requireCount(maxSkippedSteps, "max_skipped_steps", atLeast: 0)
  }

  private func validateObjective() throws {
    try requireCount(epochs, "epochs")
    try requireCount(tttLength, "ttt_length")
    try require(tttShare > 0 && tttShare <= 1, "ttt_share", "must be above 0 and at most 1, not \(tttShare)")
    try require(
      anchorShare > 0 && anchorShare <= 1, "anchor_share", "must be above 0 and at most 1, not \(anchorShare)")
    try requireCount(anchorLimit, "num_anchors")
    try require(stateNoise >= 0 && stateNoise <= 1, "state_noise", "must be between 0 and 1, not \(stateNoise)")
    try require(stepDecay > 0 && stepDecay <= 1, "step_decay", "must be above 0 and at most 1, not \(stepDecay)")
  }

  private func validateOptimiser() throws {
    try require(
      learningRate > 0 && learningRate.isFinite, "learning_rate", "must be above 0, not \(learningRate)")
    try require(
      warmupRatio >= 0 && warmupRatio <= 1, "warmup_ratio", "must be between 0 and 1, not \(warmupRatio)")
    try require(
      weightDecay >= 0 && weightDecay.isFinite, "weight_decay", "must be 0 or more, not \(weightDecay)")
    try require(
      optimizer == .adamw || !shardOptimizer, "optimizer",
      "muon steps whole matrices, and shard_optimizer cuts them: set shard_optimizer to false")
    try require(clipNorm > 0, "clip_norm", "must be above 0, not \(clipNorm)")
    try require(beta1 >= 0 && beta1 < 1, "beta1", "must be at least 0 and below 1, not \(beta1)")
    try require(beta2 >= 0 && beta2 < 1, "beta2", "must be at least 0 and below 1, not \(beta2)")
  }

  enum CodingKeys: String, CodingKey {
    case epochs
    case tttLength = "ttt_length"
    case tttShare = "ttt_share"
    case stepDecay = "step_decay"
    case anchorShare = "anchor_share"
    case anchorLimit = "num_anchors"
    case loss
    case mean
    case stateNoise = "state_noise"
    case optimizer
    case learningRate = "learning_rate"
    case featureRates = "feature_rates"
    case warmupRatio = "warmup_ratio"
    case weightDecay = "weight_decay"
    case clipNorm = "clip_norm"
    case beta1
    case beta2
    case tokensPerBatch = "tokens_per_batch"
    case precision
    case seed
    case checkpointEvery = "checkpoint_every"
    case checkpointMinutes = "checkpoint_minutes"
    case leaveOut = "leave_out"
    case keepCheckpoints = "keep_checkpoints"
    case shardOptimizer = "shard_optimizer"
    case maxSkippedSteps = "max_skipped_steps"
    case tensorboard
  }

  /// Encodes nil values as explicit nulls, so that a dump shows every key.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(epochs, forKey: .epochs)
    try container.encode(tttLength, forKey: .tttLength)
    try container.encode(tttShare, forKey: .tttShare)
    try container.encode(stepDecay, forKey: .stepDecay)
    try container.encode(anchorShare, forKey: .anchorShare)
    try container.encode(anchorLimit, forKey: .anchorLimit)
    try container.encode(loss, forKey: .loss)
    try container.encode(mean, forKey: .mean)
    try container.encode(stateNoise, forKey: .stateNoise)
    try container.encode(optimizer, forKey: .optimizer)
    try container.encode(learningRate, forKey: .learningRate)
    try container.encode(featureRates, forKey: .featureRates)
    try container.encode(warmupRatio, forKey: .warmupRatio)
    try container.encode(weightDecay, forKey: .weightDecay)
    try container.encode(clipNorm, forKey: .clipNorm)
    try container.encode(beta1, forKey: .beta1)
    try container.encode(beta2, forKey: .beta2)
    try container.encode(tokensPerBatch, forKey: .tokensPerBatch)
    try container.encode(precision, forKey: .precision)
    try container.encode(seed, forKey: .seed)
    try container.encode(checkpointEvery, forKey: .checkpointEvery)
    try container.encode(checkpointMinutes, forKey: .checkpointMinutes)
    try container.encode(leaveOut, forKey: .leaveOut)
    try container.encode(keepCheckpoints, forKey: .keepCheckpoints)
    try container.encode(shardOptimizer, forKey: .shardOptimizer)
    try container.encode(maxSkippedSteps, forKey: .maxSkippedSteps)
    try container.encode(tensorboard, forKey: .tensorboard)
  }
}
