import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import Foundation

/// The forecast of the speedup by a head on this machine, from the costs of a round's passes, which are measured before
/// the run.
package struct GainForecast: Codable, Sendable {
  /// The acceptance lengths for which gains are computed.
  package static let acceptanceLengths = [2.0, 2.5, 3.0, 3.5]
  /// The context lengths before a round, in tokens.
  static let contexts = [256, 4096]
  /// The formats of the target's matrices, if it is not already quantised.
  static let formats: [WeightFormat] = [.stored, .q8_0, .q4_0]

  package var rows: [Row] = []

  /// One head, one format of the target's matrices, and one context length.
  package struct Row: Codable, Sendable {
    /// The architecture of the head, and the draft length of a round.
    package var architecture: String
    package var draftLength: Int
    package var weights: String
    package var context: Int
    /// The costs of a target pass over a round's tokens and of a draft pass, relative to a pass over one token.
    package var pass: Double
    package var draftPass: Double
    /// The seconds of a pass over one token.
    package var seconds: Double
    /// The tokens per second divided by those of plain decoding, for each of `acceptanceLengths`.
    package var gains: [Double]

    enum CodingKeys: String, CodingKey {
      case architecture, weights, context, pass, seconds, gains
      case draftLength = "draft_length"
      case draftPass = "draft_pass"
    }
  }

  /// Measures the costs and computes the gains.
  ///
  /// - Parameters:
  ///   - target: the model as the recipe loads it
  ///   - drafts: heads of different architectures, with any weights
  ///   - draftLength: the draft length of a round; a block drafter always drafts its whole block
  ///   - seconds: the approximate seconds for each row, without quantisation and prefill
  /// - Throws: `GenerationError` for logits that are not finite
  package init(target: TargetModel, drafts: [DraftModel], draftLength: Int, seconds: Double = 1) throws {
    let longest = target.shape.maxPositions - 20
    let fitting = Self.contexts.filter { $0 <= longest }
    for draft in drafts {
      let length = draft.shape.longestDraft ?? draftLength
      for format in target.weightFormat == .stored ? Self.formats : [.stored] {
        // The head has the format of its target, as in eagle-run by default.
        let head = draft.quantized(format == .stored ? target.weightFormat : format)
        for context in fitting.isEmpty ? [max(1, longest)] : fitting {
          let costs = try DecodingCosts.estimate(
            target: target, draft: head, context: context, weights: format, seconds: seconds)
          rows.append(Row(draft.shape, format, context, costs, length))
        }
      }
    }
  }

  /// The forecast as readable lines.
  package var lines: [String] {
    let table = TextTable(
      [.left(8), .left(8), .right(6), .right(8), .right(6), .right(11)]
        + Self.acceptanceLengths.map { _ in .right(7) })
    let title = table.line(
      ["head", "weights", "drafts", "context", "pass", "draft pass"]
        + Self.acceptanceLengths.map { String(format: "%.1f", $0) })
    return [
      "",
      "gain: tokens/s over plain decoding by acceptance length; costs in passes over one token, \"pass\" over a round's",
      title,
    ]
      + rows.map { row in
        table.line(
          [
            row.architecture, row.weights, "\(row.draftLength)", "\(row.context)", String(format: "%.2f", row.pass),
            String(format: "%.3f", row.draftPass),
          ] + row.gains.map { String(format: "%.2f", $0) })
      }
  }
}

extension GainForecast.Row {
  fileprivate init(
    _ shape: any DraftShape, _ format: WeightFormat, _ context: Int, _ costs: DecodingCosts, _ draftLength: Int
  ) {
    let one = costs.targetPass[0]
    self.init(
      architecture: shape.architecture, draftLength: draftLength, weights: format.rawValue, context: context,
      pass: costs.pass(tokens: draftLength + 1) / one, draftPass: costs.draftPass / one, seconds: one,
      gains: GainForecast.acceptanceLengths.map {
        costs.gain(
          acceptanceLength: $0, draftLength: draftLength, draftPasses: shape.draftPasses(length: draftLength))
      })
  }
}
