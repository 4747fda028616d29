import EagleCluster
import EagleCore
import EagleModels

/// What a draft head is trained on, and how.
package struct TrainingInputs {
  package var config: TrainConfig
  /// The precision of gradients between ranks.
  package var gradients = ComputePrecision.fp32
  package var states: StateSource
  /// The loss mask of a conversation, of any of the batch on every rank. By default the source of states reads it,
  /// which opens shards of a store.
  package var mask: (Int) throws -> [UInt8]
  /// Conversations to train on.
  package var trained: [Int]
  /// Conversations that are only measured.
  package var heldOut: [Int]
  package var target: TargetModel
  /// Conversations that no step trains on, though batches are cut as if they were there.
  package var leftOut: Set<Int> = []
  /// The name of a conversation in `train.leave_out`.
  package var name: (Int) -> String = { "\($0)" }
  /// What must be the same when the run is resumed.
  package var identity = RunIdentity()

  package init(config: TrainConfig, states: StateSource, target: TargetModel, trained: [Int], heldOut: [Int] = []) {
    self.config = config
    self.states = states
    mask = states.mask
    self.target = target
    self.trained = trained
    self.heldOut = heldOut
  }
}

extension BatchPlan {
  package init(_ inputs: TrainingInputs) {
    self.init(
      conversations: inputs.trained, lengths: inputs.states.lengths, epochs: inputs.config.epochs,
      tokensPerBatch: inputs.config.tokensPerBatch, seed: inputs.config.seed)
  }
}
