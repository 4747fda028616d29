import EagleDraft
import EagleModels
import EagleRunFiles
import EagleText
import EagleTraining
import Foundation
import Testing

@Suite struct ObjectiveTests {
  private let fixture: DraftStepFixture

  init() throws { fixture = try .load() }

  private func objective(
    _ draft: DraftModel, mean: LossMean = .tokens, chunking: ObjectiveSettings.Chunking = .standard
  ) -> any Objective {
    draft.objective(
      tables: TargetTables(embedding: fixture.embedding),
      teacher: Teacher(head: fixture.head, vocabulary: fixture.vocabulary, precision: .fp32),
      settings: ObjectiveSettings(
        tttLength: fixture.config.ttt_length, stepDecay: fixture.config.step_decay, mean: mean, precision: .fp32,
        chunking: chunking))
  }

  /// Norm of the difference over the norm of the reference.
  private func relativeError(_ values: [Float], _ reference: [Double]) -> Double {
    let difference = zip(values, reference).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    let norm = reference.reduce(0.0) { $0 + $1 * $1 }
    return (difference / max(norm, 1e-30)).squareRoot()
  }

  @Test("loss, metrics and gradients agree with PyTorch") func lossMetricsAndGradientsAgreeWithPyTorch() {
    let draft = fixture.draft()
    let sums = objective(draft).run(fixture.conversations(), globalRows: fixture.outputs.rows, recording: true)
    let weights = (0..<sums.count).map { k in (0..<k).reduce(1.0) { value, _ in value * fixture.config.step_decay } }
    let metrics = ObjectiveMetrics(sums, weights: weights)
    // because: float32 against float64, sums of tens of rows
    #expect(abs(metrics.loss - fixture.outputs.loss) < 1e-5 * fixture.outputs.loss)
    #expect(sums.map(\.rows) == fixture.outputs.rows)
    for k in sums.indices {
      #expect(abs(sums[k].loss / sums[k].rows - fixture.outputs.loss_per_step[k]) < 1e-5)
      #expect(abs(metrics.accuracy[k] - fixture.outputs.accuracy[k]) < 1e-9)
      #expect(abs(metrics.acceptance[k] - fixture.outputs.acceptance[k]) < 1e-5)
    }
    // because: the fixture has nine significant digits
    #expect(abs(metrics.simulatedAcceptanceLength - fixture.outputs.simulated_acceptance_length) < 1e-8)
    for parameter in draft.parameters {
      let error = relativeError(parameter.variable.gradient!.values, fixture.outputs.gradients[parameter.name]!)
      #expect(error < 1e-4, "\(parameter.name)")
    }
  }

  /// Ten steps with clipping, weight decay, warm-up and cosine.
  @Test("optimiser steps agree with PyTorch") func optimiserStepsAgreeWithPyTorch() {
    var config = TrainConfig()
    config.clipNorm = fixture.config.max_grad_norm
    config.weightDecay = fixture.config.weight_decay
    let (steps, expected) = (fixture.config.optimizer_steps, fixture.after_optimizer)
    let schedule = Schedule(
      peak: fixture.config.lr, warmupRatio: Double(fixture.config.warmup_steps) / Double(steps), totalSteps: steps)
    let optimizer = AdamW(fixture.draft(), config: config)
    for step in 1...steps {
      optimizer.clearGradients()
      let sums = objective(optimizer.draft).run(
        fixture.conversations(), globalRows: fixture.outputs.rows, recording: true)
      let loss = sums.indices.reduce(0) {
        $0 + sums[$1].loss / sums[$1].rows * pow(fixture.config.step_decay, Double($1))
      }
      let (norm, rate) = (optimizer.gradientNorm(), schedule.learningRate(step: step))
      #expect(abs(loss - expected.losses[step - 1]) < 1e-5 * loss, "step \(step)")
      #expect(abs(norm - expected.gradient_norms[step - 1]) < 1e-4 * norm, "step \(step)")
      #expect(abs(rate - expected.rates[step - 1]) < 1e-8 * fixture.config.lr, "step \(step)")
      optimizer.apply(step: step, learningRate: rate, norm: norm)
    }
    for parameter in optimizer.draft.parameters {
      let error = relativeError(parameter.variable.value.values, expected.weights[parameter.name]!)
      // because: AdamW's first steps divide a gradient by its own size, which magnifies errors of tiny gradients
      #expect(error < 1e-4, "\(parameter.name)")
    }
  }

  @Test("the gradient of a batch does not depend on how it is cut") func partsAddUpToTheWhole() {
    let (whole, parts) = (fixture.draft(), fixture.draft())
    let conversations = fixture.conversations()
    let rows = fixture.outputs.rows
    _ = objective(whole).run(conversations, globalRows: rows, recording: true)
    for conversation in conversations { _ = objective(parts).run([conversation], globalRows: rows, recording: true) }
    for (a, b) in zip(whole.parameters, parts.parameters) {
      let reference = a.variable.gradient!.values.map(Double.init)
      #expect(relativeError(b.variable.gradient!.values, reference) < 1e-5, "\(a.name)")
    }
  }

  /// Conversations with fewer rows weigh as much as others, and those without rows have no weight.
  @Test("a mean over conversations is the mean of their own means, in one pass and in chunks of rows")
  func meanOverConversations() {
    let conversations = fixture.conversations()
    let depths = fixture.config.ttt_length
    let rows = conversations.map { conversation in
      let trained = TrainedRows(mask: conversation.lossMask, depths: depths)
      return (0..<depths).map { Double(trained.count(depth: $0)) }
    }
    let counts = (0..<depths).map { k in Double(rows.count { $0[k] > 0 }) }
    let reference = fixture.draft()
    for (conversation, own) in zip(conversations, rows) {
      let weighed = zip(own, counts).map { max(1, $0) * $1 }
      _ = objective(reference).run([conversation], globalRows: weighed, recording: true)
    }
    for chunking in [ObjectiveSettings.Chunking.standard, .init(longestWhole: 1, rows: 3)] {
      let draft = fixture.draft()
      let sums = objective(draft, mean: .conversations, chunking: chunking).run(
        conversations, globalRows: counts, recording: true)
      #expect(sums.map(\.rows) == fixture.outputs.rows, "metrics are those of all rows")
      for (a, b) in zip(reference.parameters, draft.parameters) {
        let expected = a.variable.gradient!.values.map(Double.init)
        #expect(relativeError(b.variable.gradient!.values, expected) < 1e-5, "\(a.name)")
      }
    }
  }

  @Test("conversations without trained rows add nothing to loss and gradients")
  func conversationsWithoutTrainedRowsCountNothing() {
    let conversation = fixture.conversations()[0]
    let draft = fixture.draft()
    let silent = objective(draft).run(
      [
        .init(
          ids: conversation.ids, lossMask: conversation.lossMask.map { _ in 0 }, auxHidden: conversation.auxHidden,
          lastHidden: conversation.lastHidden, teacherArgmax: nil, teacherLogSum: nil)
      ], globalRows: [1, 1, 1], recording: true)
    #expect(silent.allSatisfy { $0 == PositionSums() })
    #expect(draft.parameters.allSatisfy { $0.variable.gradient == nil })
  }

  @Test("trained rows of each depth are those of the PyTorch reference") func trainedRowsOfTheFixtureAgree() {
    for (index, conversation) in fixture.conversations().enumerated() {
      let rows = TrainedRows(mask: conversation.lossMask, depths: fixture.config.ttt_length)
      for k in 0..<fixture.config.ttt_length { #expect(rows.rows(depth: k) == fixture.outputs.trained_rows[k][index]) }
    }
  }
}
