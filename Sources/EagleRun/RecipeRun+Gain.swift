import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles
import Foundation

extension RecipeRun {
  /// The speedup below which a warning is printed.
  private static let smallGain = 1.1

  /// Warns if the held-out acceptance of a head predicts a small speedup of decoding on this machine. Runs on rank 0,
  /// which measures the costs of a round's passes briefly. A failed measurement does not end the run.
  func warnOfSmallGain(_ record: EvaluationRecord, _ draft: DraftModel) {
    guard cluster.isRoot, record.epoch > 0, let byDepth = record.heldOut?.simulatedAcceptanceByDepth,
      !byDepth.isEmpty
    else { return }
    let length = min(recipe.evaluate.draftLength, byDepth.count)
    let accepted = byDepth.prefix(length).reduce(1, +)
    guard let target = try? model.target,
      let costs = try? DecodingCosts.estimate(target: target, draft: draft.quantized(target.weightFormat))
    else { return progress.say("warning: the gain of decoding with this head cannot be measured") }
    let gain = costs.gain(
      acceptanceLength: accepted, draftLength: length, draftPasses: draft.shape.draftPasses(length: length))
    guard gain < Self.smallGain else { return }
    progress.say(
      String(
        format:
          "warning: a held-out acceptance length of %.2f predicts %.2f times the speed of plain decoding with a chain "
          + "of %ld on this machine; eagle-train plan shows from which length a head pays", accepted, gain, length))
  }
}
