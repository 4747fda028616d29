import EagleDraft
import EagleModels
import EagleTensor
import EagleTraining
import Testing

/// Every switch of the head, alone and together, against PyTorch.
@Suite struct VariantTests {
  private static let fixture = try? VariantFixture.load()

  @Test("the fixture has all switches")
  func coverage() throws {
    let variants = try #require(Self.fixture).variants
    let names = Set(variants.flatMap { Self.fixture!.shape($0).variant.names })
    #expect(names.count == 9, "\(names)")
    #expect(Set(variants.map(\.layers)) == [1, 3, 5] && variants.contains { $0.rope_factor != 1 })
    #expect(Set(variants.map(\.head_layers)) == [1, 2, 3])
  }

  @Test(
    "loss and gradients agree, in one pass and in chunks of rows", arguments: fixture?.variants ?? [])
  func lossAndGradients(variant: VariantFixture.Variant) throws {
    let fixture = try #require(Self.fixture)
    for chunking in [ObjectiveSettings.Chunking.standard, .init(longestWhole: 1, rows: 3)] {
      let draft = fixture.draft(variant)
      let objective = draft.objective(
        tables: fixture.tables(variant),
        teacher: Teacher(head: fixture.head, vocabulary: fixture.vocabulary(variant), precision: .fp32),
        settings: ObjectiveSettings(
          tttLength: fixture.config.ttt_length, stepDecay: fixture.config.step_decay, precision: .fp32,
          chunking: chunking))
      let sums = objective.run(fixture.conversations(variant), globalRows: variant.rows, recording: true)
      #expect(sums.map(\.rows) == variant.rows)
      for (k, sum) in sums.enumerated() {
        // because: float32 against float64
        #expect(abs(sum.loss / sum.rows - variant.loss_per_step[k]) < 1e-5 * variant.loss_per_step[k], "depth \(k)")
        #expect(abs(sum.hits / sum.rows - variant.accuracy[k]) < 1e-6, "depth \(k)")
      }
      #expect(Set(draft.parameters.map(\.name)) == Set(variant.gradients.keys))
      for parameter in draft.parameters {
        let gradient = try #require(parameter.variable.gradient, "\(parameter.name)").values
        #expect(relativeError(gradient, variant.gradients[parameter.name]!) < 1e-4, "\(parameter.name)")
      }
    }
  }

  /// Norm of the difference over the norm of the reference.
  private func relativeError(_ values: [Float], _ reference: [Double]) -> Double {
    let difference = zip(values, reference).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    return (difference / max(reference.reduce(0.0) { $0 + $1 * $1 }, 1e-30)).squareRoot()
  }
}
