import Dispatch
import EagleCaptureStore
import EagleDraft
import EagleModels
import EagleTensor

/// Prefetches the conversations of a micro-batch from the capture store on another thread.
final class ReadAhead: @unchecked Sendable {
  let parts: [ConversationPart]
  private let isDone = DispatchSemaphore(value: 0)
  /// Written before `isDone` is signalled, read after it.
  private var result: Result<[ConversationPart: CapturedConversation], any Error>?
  private static let queue = DispatchQueue(label: "read-ahead", qos: .userInitiated)

  /// Starts to read.
  ///
  /// - Parameters:
  ///   - parts: the parts of the micro-batch
  ///   - held: the parts that this rank's node stores
  ///   - store: the capture store
  init(_ parts: [ConversationPart], held: [ConversationPart], from store: CaptureStore) {
    self.parts = parts
    Self.queue.async { [self] in
      result = Result {
        try Parallel.alone {
          try held.reduce(into: [:]) { $0[$1] = try store.read(conversation: $1.conversation, states: $1.states) }
        }
      }
      isDone.signal()
    }
  }

  /// The conversations that were read. Waits for the read; must be called once.
  ///
  /// - Throws: the error of the read
  func wait() throws -> [ConversationPart: CapturedConversation] {
    isDone.wait()
    return try result!.get()
  }
}
