/// The reason why a conversation is not trained on. Raw values are keys of `prepared/manifest.json`.
package enum LeftOut: String, Sendable {
  case refused = "refused_by_template"
  case otherAnswer = "answer_rendered_otherwise"
  case unknownToken = "unknown_token"
  case noAnswer = "no_answer"
  case emptyAnswer = "empty_answer"
  case cutAnswer = "cut_answer"
  case loopingAnswer = "looping_answer"
  case tooLong = "too_long"
  case nothingTrained = "nothing_trained"
  case duplicate
  case notSampled = "not_sampled"

  /// The reason as it follows "left out 3 conversations with".
  package var text: String {
    switch self {
    case .refused: "messages that the chat template refuses"
    case .otherAnswer: "an answer that the template renders otherwise than the model writes it"
    case .unknownToken: "a token id that the target does not have"
    case .noAnswer: "no assistant turn"
    case .emptyAnswer: "an empty answer"
    case .cutAnswer: "an answer that was cut at its token limit"
    case .loopingAnswer: "an answer that ends in a loop"
    case .tooLong: "more tokens than max_length"
    case .nothingTrained: "no assistant token to train on within max_length"
    case .duplicate: "the same messages as an earlier one"
    case .notSampled: "a weight of their file that did not select them"
    }
  }

  /// The reason of a key of `left_out`; the key itself where another version has written it.
  package static func text(ofKey key: String) -> String { LeftOut(rawValue: key)?.text ?? key }
}
