import EagleDecoding
import EagleDraft
import EagleModels

/// Answers to a list of prompts, decoded together.
struct Batch {
  private let generator: BatchGenerator

  init(_ target: TargetModel, width: Int, stopIDs: Set<Int32> = []) {
    generator = BatchGenerator(target: target, width: width, stopIDs: stopIDs)
  }

  func answers(_ prompts: [[Int32]], maxNewTokens: Int, _ sampling: SamplingOptions = .greedy) throws -> [[Int32]] {
    var answers = [[Int32]](repeating: [], count: prompts.count)
    var next = 0
    try generator.run {
      guard next < prompts.count else { return nil }
      defer { next += 1 }
      return DecodingRequest(id: next, prompt: prompts[next], sampling: sampling, maxNewTokens: maxNewTokens)
    } finished: { request, ids in
      answers[request.id] = ids
      return nil
    }
    return answers
  }
}
