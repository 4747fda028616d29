import EagleModels
import EagleTensor

extension TargetModel {
  /// The most likely next token after each row of states [R, H], batch-invariant.
  func bestTokens(_ lastHidden: Tensor) -> [Int32] { logits(lastHidden, .invariant).argmax().map(Int32.init) }

  /// - Throws: `DecodingError` for an empty prompt, an id outside the vocabulary, or more positions than there are
  func check(_ prompt: [Int32], _ options: DecodingOptions) throws {
    guard !prompt.isEmpty else { throw DecodingError("the prompt is empty: give at least one token") }
    if let odd = prompt.first(where: { $0 < 0 || $0 >= shape.vocabularySize }) {
      throw DecodingError("token id \(odd) is outside the target's vocabulary of \(shape.vocabularySize)")
    }
    let positions = prompt.count + options.maxNewTokens
    guard positions <= shape.maxPositions else {
      throw DecodingError(
        "a prompt of \(prompt.count) tokens and \(options.maxNewTokens) new ones need \(positions) positions, and the "
          + "target has \(shape.maxPositions): shorten the prompt or ask for fewer tokens")
    }
  }
}
