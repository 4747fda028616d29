import EagleModels
import EagleRecipe
import EagleRunFiles
import EagleTraining

// The forecast of optimiser steps.
extension Forecast {
  /// The number of optimiser steps of an epoch.
  var stepsPerEpoch: Int {
    sample.steps(tokensPerBatch: recipe.train.tokensPerBatch, heldOut: recipe.data.heldOut)
  }

  /// The mean number of tokens of a batch.
  var batchTokens: Double {
    sample.epochTokens(heldOut: recipe.data.heldOut) / Double(stepsPerEpoch)
  }

  /// The needed operations of an epoch (`ObjectiveCosts`).
  var epochOperations: Double {
    let costs = sizes.draft.costs(recipe.train.objective)
    return (1 - recipe.data.heldOut)
      * sample.conversations.reduce(0) { $0 + $1.trained * costs.operations(masks: [$1.mask]) }
  }

  /// The seconds of one node, by part of an optimiser step.
  private var costs: StepModel.Costs {
    let epoch = max(1, sample.epochTokens(heldOut: recipe.data.heldOut))
    // The operations per token of the measured conversations differ from the mean.
    let scale = epochOperations / epoch / max(1, figures.training.operations / figures.training.tokens)
    func perToken(_ phases: [Phase]) -> Double {
      phases.reduce(0) { $0 + (figures.training.phases[$1.rawValue] ?? 0) } / figures.training.tokens * scale
        * Double(context.nodes)
    }
    let computing: [Phase] = [.teacher, .reading, .draftForward, .headAndLoss, .backward]
    let counted = computing.reduce(0) { $0 + (figures.training.phases[$1.rawValue] ?? 0) }
    let online =
      recipe.capture.mode == .online ? captureOperations / sample.tokens / figures.capture.operationsPerSecond : 0
    return StepModel.Costs(
      teacher: perToken([.teacher, .reading]) + online / Double(context.ranks) * Double(context.nodes),
      forward: perToken([.draftForward]), head: perToken([.headAndLoss]), backward: perToken([.backward]),
      optimiser: max(0, figures.training.seconds - counted))
  }

  /// The model of an optimiser step for any number of nodes.
  func stepModel(ranksPerNode: Int) -> StepModel {
    var partitions = sample.partitions(sizes.draft.costs(recipe.train.objective))
    if recipe.capture.mode == .online { partitions.online = OnlineOperations(sizes.target) }
    var model = StepModel(
      costs: costs, link: context.others.link, parameters: sizes.parameters, headParameters: sizes.headParameters,
      wireBytes: recipe.cluster.gradients == .fp32 ? 4 : 2, imbalance: context.others.imbalance,
      partitions: partitions, ranksPerNode: ranksPerNode)
    model.broadcastWeights = recipe.train.optimizer == .muon ? sizes.muonElements : 0
    return model
  }

  /// The mean optimiser step.
  ///
  /// - Parameter nodes: nil for this start, whose communication is part of the measurement
  func step(nodes: Int?) -> StepModel.Step {
    var model = stepModel(ranksPerNode: nodes == nil ? context.ranksOnNode : context.ranksPerNode)
    if let nodes { return model.step(nodes: nodes, batch: Int(batchTokens)) }
    model.partitions = nil
    model.costs.teacher /= Double(context.nodes)
    model.costs.forward /= Double(context.nodes)
    model.costs.head /= Double(context.nodes)
    model.costs.backward /= Double(context.nodes)
    return model.step(nodes: 1, batch: Int(batchTokens))
  }
}
