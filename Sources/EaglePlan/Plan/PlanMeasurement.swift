import EagleCaptureStore
import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import EagleText
import EagleTraining
import Foundation

/// Measures short parts of a run on the ranks of this start, with the recipe's target, settings and conversations.
package struct PlanMeasurement {
  /// The approximate seconds of the measurement of each kind of work.
  package static let seconds = 10.0

  /// The capture pass of one rank while all ranks work: needed operations per second.
  package struct Capture: Codable, Sendable {
    package var operationsPerSecond: Double
    package var tokensPerSecond: Double
  }

  /// Optimiser steps.
  package struct Training: Codable, Sendable {
    /// The tokens and needed operations of a measured step, over all ranks.
    package var tokens: Double
    package var operations: Double
    package var seconds: Double
    /// The seconds of a rank in each phase, mean over the steps.
    package var phases: [String: Double]
    /// The seconds for a held-out token, over all ranks.
    package var heldOutSecondsPerToken: Double
  }

  /// Decoding of prompts, one at a time, by each rank.
  package struct Decoding: Codable, Sendable {
    /// The seconds of a turn without its rounds: the prefill of the target alone, the prefill with the draft head, and
    /// plain decoding.
    package var fixedSeconds: Double
    /// The seconds of a round with the draft head.
    package var roundSeconds: Double
    /// The number of tokens that plain decoding generates in a turn.
    package var newTokens: Double
  }

  /// Batched decoding of many prompts.
  package struct Generation: Codable, Sendable {
    /// The seconds of one rank for a pass of all sequences, and for a token of a prompt.
    package var passSeconds: Double
    package var promptSecondsPerToken: Double
  }

  package let model: ChatModel
  package let cluster: any Communicator
  /// An empty folder for this rank's stores of states.
  package let folder: String

  package init(model: ChatModel, cluster: any Communicator, folder: String) {
    (self.model, self.cluster, self.folder) = (model, cluster, folder)
  }

  private func mean(_ value: Double) throws -> Double {
    try cluster.allReduceSum([value])[0] / Double(cluster.size)
  }

  private func largest(_ value: Double) throws -> Double {
    try cluster.allGather(Data("\(value)".utf8)).compactMap { Double(String(decoding: $0, as: UTF8.self)) }.max()
      ?? value
  }

  // MARK: capture

  /// Runs the capture pass. Collective.
  ///
  /// - Parameter conversations: the conversations, of which each rank captures a part; at least as many as ranks
  package func capture(_ config: CaptureConfig, conversations: [DataSample.Conversation]) throws -> Capture {
    let own = conversations.indices.filter { $0 % cluster.size == cluster.rank }.map { conversations[$0] }
    let lengths = own.map(\.ids.count)
    // A warm-up pass reads the weights and allocates buffers.
    _ = try captureSeconds(Array(own.min { $0.ids.count < $1.ids.count }.map { [$0] } ?? []), config)
    try cluster.barrier()
    let seconds = try captureSeconds(own, config)
    let operations = NeededOperations.capture(model.target.shape, lengths: lengths)
    return Capture(
      operationsPerSecond: try mean(operations / seconds),
      tokensPerSecond: try mean(Double(lengths.reduce(0, +)) / seconds))
  }

  private func captureSeconds(_ conversations: [DataSample.Conversation], _ config: CaptureConfig) throws -> Double {
    let (path, store) = ("\(folder)/tokens.h5", "\(folder)/capture")
    let writer = try TokenStoreWriter(path: path)
    for conversation in conversations { try writer.append(ids: conversation.ids, mask: conversation.mask) }
    try writer.finish()
    let data = PreparedData(
      tokens: try TokenStore(path: path),
      vocabulary: DraftVocabulary(targetIDs: [0], targetSize: model.target.shape.vocabularySize))
    let pass = try CapturePass(
      target: model.target, data: data, config: config, cluster: SoloCommunicator(), progress: SilentProgress())
    let seconds = try ContinuousClock().measure { _ = try pass.run(folder: store) }.inSeconds
    try FileManager.default.removeItem(atPath: store)
    try FileManager.default.removeItem(atPath: path)
    return seconds
  }

  // MARK: training

  /// Measures steps over a store of random states, which cost the same as captured states.
  ///
  /// - Parameters:
  ///   - conversations: the conversations of all measured steps
  ///   - tokensPerBatch: the tokens of a measured step
  /// - Returns: the measurement, and the trained head
  package func training(
    _ config: TrainConfig, gradients: ComputePrecision, draft: any DraftShape, conversations: [DataSample.Conversation],
    tokensPerBatch: Int
  ) throws -> (Training, DraftModel) {
    let masks = conversations.map(\.mask)
    let ids = conversations.map { $0.ids.map { $0 % Int32(draft.draftVocabularySize) } }
    let store = try TrainBenchmark.randomStore(ids, masks: masks, draft, folder: folder)
    let vocabulary = DraftVocabulary(
      targetIDs: (0..<Int32(draft.draftVocabularySize)).map { $0 }, targetSize: draft.vocabularySize)
    var shortened = config
    shortened.tokensPerBatch = tokensPerBatch
    shortened.epochs = max(3, config.epochs)  // so that the schedule does not end
    var inputs = TrainingInputs(
      config: shortened, states: .store(store), target: model.target, trained: Array(conversations.indices),
      heldOut: Array(conversations.indices.prefix(max(1, 512 / max(1, ids[0].count)))))
    inputs.gradients = gradients
    let plan = BatchPlan(inputs)
    let engine = try StepEngine(
      inputs, start: .random(shape: draft, vocabulary: vocabulary, seed: 0), totalSteps: plan.totalSteps,
      cluster: cluster)
    // The last batch of an epoch is smaller.
    let batches = Array(plan.epochs[0].dropLast(plan.epochs[0].count > 2 ? 1 : 0))
    let first = try largest(
      try time { _ = try engine.step(batches[0], next: batches.dropFirst().first) })
    let count = max(1, min(batches.count - 1, Int(Self.seconds / first)))
    let measured = batches.count > 1 ? Array(batches[1...count]) : [batches[0]]
    engine.clock.reset()
    try cluster.barrier()
    let seconds = try time {
      for (index, batch) in measured.enumerated() {
        // The last step prepares the first batch again, so that every measured step prepares one.
        _ = try engine.step(batch, next: index + 1 < measured.count ? measured[index + 1] : measured[0])
      }
    }
    let steps = Double(measured.count)
    let all = measured.joined()
    var result = Training(
      tokens: Double(all.reduce(0) { $0 + ids[$1].count }) / steps,
      operations: draft.costs(config.objective).operations(masks: all.map { masks[$0] }) / steps,
      seconds: try largest(seconds) / steps, phases: [:], heldOutSecondsPerToken: 0)
    for (name, value) in engine.clock.named.sorted(by: { $0.key < $1.key }) {
      result.phases[name] = value / steps
    }
    let heldOut = HeldOutEvaluation(engine, progress: SilentProgress())
    let heldOutSeconds = try largest(try time { _ = try heldOut.run() })
    result.heldOutSecondsPerToken = heldOutSeconds / Double(max(1, heldOut.tokens))
    return (result, engine.optimizer.draft.rounded())
  }

  private func time(_ body: () throws -> Void) rethrows -> Double { try ContinuousClock().measure(body).inSeconds }

  // MARK: decoding

  /// Decodes prompts one at a time, plainly and with the draft. Collective.
  ///
  /// - Parameter prompts: the token ids of each turn's prompt; every rank decodes some of them
  package func decoding(_ draft: DraftModel, _ config: EvaluateConfig, prompts: [[Int32]]) throws -> Decoding {
    let plainSession = DecodingSession(target: model.target)
    let draftingSession = DecodingSession(target: model.target, draft: draft)
    // A turn that ends early counts unchanged. Rounds are measured separately from tokens, since the head is not
    // trained yet.
    var (fixed, rounds, tokens, done) = (0.0, 0.0, 0.0, 0.0)
    try cluster.barrier()
    let start = ContinuousClock.now
    for prompt in prompts.indices.filter({ $0 % cluster.size == cluster.rank }).map({ prompts[$0] }) {
      var options = DecodingOptions(maxNewTokens: config.maxNewTokens, stopIDs: model.stopIDs, plan: .chain(0))
      plainSession.reset()
      let statistics = try plainSession.generate(prompt, options).statistics
      fixed += statistics.promptSeconds + statistics.decodeSeconds
      tokens += Double(statistics.newTokens)
      options.plan = .chain(config.draftLength)
      options.maxNewTokens = min(config.maxNewTokens, 24)
      draftingSession.reset()
      let drafted = try draftingSession.generate(prompt, options).statistics
      fixed += drafted.promptSeconds
      rounds += drafted.decodeSeconds / Double(max(1, drafted.targetPasses))
      done += 1
      if start.duration(to: .now).inSeconds > Self.seconds { break }
    }
    let count = max(1, done)
    return Decoding(
      fixedSeconds: try mean(fixed / count), roundSeconds: try mean(rounds / count), newTokens: try mean(tokens / count)
    )
  }

  /// Measures batched decoding. Collective.
  ///
  /// - Parameters:
  ///   - width: the batch size in sequences
  ///   - promptTokens: the number of tokens of each prompt
  package func generation(width: Int, promptTokens: Int) throws -> Generation {
    let short = try generationSeconds(width, promptTokens, newTokens: 2)
    let long = try generationSeconds(width, promptTokens, newTokens: 10)
    let pass = max(1e-9, (long - short) / 8)
    return Generation(
      passSeconds: try mean(pass),
      promptSecondsPerToken: try mean(max(0, short - 2 * pass) / Double(width * promptTokens)))
  }

  private func generationSeconds(_ width: Int, _ promptTokens: Int, newTokens: Int) throws -> Double {
    let generator = BatchGenerator(target: model.target, width: width, stopIDs: [])
    var random = RandomSource(seed: 0, purpose: "plan prompts")
    var begun = 0
    try cluster.barrier()
    return try time {
      try generator.run(
        next: {
          guard begun < width else { return nil }
          begun += 1
          let ids = (0..<promptTokens).map { _ in
            Int32.random(in: 0..<Int32(model.target.shape.vocabularySize), using: &random)
          }
          return DecodingRequest(id: begun, prompt: ids, maxNewTokens: newTokens)
        }, finished: { _, _ in nil })
    }
  }
}
