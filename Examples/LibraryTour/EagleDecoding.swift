import EagleDecoding
import EagleDraft
import EagleModels
import EagleRunFiles

/// A text that ends after 32 accepted drafts, at a stop id or after 200 tokens.
func decode(_ prompt: [Int32], stopIDs: Set<Int32>, target: TargetModel, draft: DraftModel) throws {
  let session = DecodingSession(target: target, draft: draft)
  let options = DecodingOptions(maxNewTokens: 200, stopIDs: stopIDs, plan: .chain(3))
  var accepted = 0
  let generation = try session.generate(prompt, options) { token in
    if token.isDrafted { accepted += 1 }
    return accepted < 32 ? .proceed : .stop(.cancelled)
  }
  print(generation.ids.count, "tokens,", generation.finish.rawValue)
  print("acceptance length", generation.statistics.acceptanceLength)
}
