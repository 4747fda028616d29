import EagleCore
import EagleDecoding
import EagleDraft
import EagleText

/// A request for the next message of a conversation.
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
  /// The token ids before the message, from the local tokenizer and chat template.
  let prompt: [Int32]
  let sampling: SamplingOptions
  let maxNewTokens: Int
}

/// The conversations in progress on one rank: it creates the requests to the target and receives the results.
protocol DialogueSource: AnyObject {
  /// The counts of what this rank has generated so far.
  var counts: GenerationCounts { get }
  /// An estimate of the conversations that all ranks have finished.
  var finishedByAll: Int { get }

  /// The first request of the next conversation; nil if there is none left for this rank.
  func next() throws -> DialogueRequest?

  /// Receives the text that the target generated for a request.
  ///
  /// - Returns: the next request of the same conversation; nil if the conversation has ended
  func take(_ text: GeneratedText, for request: DialogueRequest) throws -> DialogueRequest?

  /// Ends the conversation of a request that a server did not answer.
  ///
  /// - Parameter isFinal: whether the server rejected it; otherwise a later run retries the conversation
  func abandon(_ request: DialogueRequest, isFinal: Bool) throws

  /// The error that names the conversation of a request that failed.
  func failure(of request: DialogueRequest, _ error: any Error) -> any Error
}
