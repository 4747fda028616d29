import EagleCore
import EagleDecoding
import EagleDraft
import EagleText

/// A text that the target is to write in a conversation.
struct DialogueRequest {
  enum Kind {
    /// An answer to the last of these messages.
    case answer([ChatMessage], tools: [JSON])
    /// A question: the rest of a user's turn that the prompt has opened.
    case question
  }

  /// The conversation.
  let id: Int
  let kind: Kind
  /// The ids in front of the text, by the local tokenizer and chat template.
  let prompt: [Int32]
  let sampling: SamplingOptions
  let maxNewTokens: Int
}

/// Conversations in progress on one rank: what the target is to write next, and what becomes of it.
protocol DialogueSource: AnyObject {
  /// What this rank has generated so far.
  var counts: GenerationCounts { get }
  /// Conversations that all ranks have finished, as far as this one can tell.
  var finishedByAll: Int { get }

  /// The first request of the next conversation; nil when this rank finds no more.
  func next() throws -> DialogueRequest?

  /// Takes what the target wrote for a request.
  ///
  /// - Returns: the next request of the same conversation; nil when the conversation has come to its end
  func take(_ text: GeneratedText, for request: DialogueRequest) throws -> DialogueRequest?

  /// Ends the conversation of a request that a server did not answer.
  ///
  /// - Parameter isFinal: whether the server refused it; otherwise a later run tries the conversation again
  func abandon(_ request: DialogueRequest, isFinal: Bool) throws

  /// The error that names the conversation of a request that failed.
  func failure(of request: DialogueRequest, _ error: any Error) -> any Error
}
