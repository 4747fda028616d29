import EagleCluster
import EagleCore
import EagleModels

/// The data and the settings with which a draft head is trained.
package struct TrainingInputs {
  package var config: TrainConfig
  /// The precision of gradients in all-reduces.
  package var gradients = ComputePrecision.fp32
  package var states: StateSource
  /// The loss mask of a conversation; every rank needs those of the whole batch. By default it is read from the source
  /// of states, which opens shards of a store.
  package var mask: (Int) throws -> [UInt8]
  /// The conversations to train on.
  package var trained: [Int]
  /// The held-out conversations.
  package var heldOut: [Int]
  package var target: TargetModel
  /// Conversations that no step trains, although batches are partitioned as if they were trained.
  package var leftOut: Set<Int> = []
  /// The name of a conversation in `train.leave_out`.
  package var name: (Int) -> String = { "\($0)" }
  /// The settings that must be the same when the run resumes.
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
