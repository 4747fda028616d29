import EagleCaptureStore
import EagleCluster
import EagleData
import EagleDraft
import EagleModels
import EagleText

/// The source of the target's states.
package enum StateSource {
  case store(CaptureStore)
  case online(OnlineStates)

  /// The number of tokens of each conversation.
  package var lengths: [Int] {
    switch self {
    case .store(let store): store.lengths
    case .online(let states): states.lengths
    }
  }

  /// The operations that the target adds to a step; nil if states are stored.
  var onlineOperations: OnlineOperations? {
    switch self {
    case .store: nil
    case .online(let states): states.operations
    }
  }

  /// The loss mask of a conversation.
  package func mask(_ conversation: Int) throws -> [UInt8] {
    switch self {
    case .store(let store): try store.readTokens(conversation: conversation).lossMask
    case .online(let states): try states.tokens.conversation(conversation).mask
    }
  }
}

/// States that the target computes when they are needed (`capture.mode: online`).
package struct OnlineStates {
  let tokens: TokenStore
  let lengths: [Int]
  private let capture: StateCapture
  private let tick: @Sendable () -> Void

  /// - Parameter tick: called during the target's passes to show progress
  /// - Throws: for layers that the target does not have
  package init(
    target: TargetModel, config: CaptureConfig, data: PreparedData, tick: @escaping @Sendable () -> Void = {}
  ) throws {
    self.tick = tick
    capture = try StateCapture(target: target, config: config)
    tokens = data.tokens
    lengths = data.tokens.lengths
  }

  fileprivate var operations: OnlineOperations { OnlineOperations(capture.target.shape) }

  /// Throws if ranks compute states of different precision. Collective.
  package func agreeOnPrecision(_ cluster: any Communicator) throws { try capture.agreeOnPrecision(cluster) }

  /// The conversation of each part, with the states that it needs.
  func read(_ parts: [ConversationPart]) throws -> [CapturedConversation] {
    capture.captured(
      try parts.map {
        let (ids, mask) = try tokens.conversation($0.conversation)
        return (ids, mask, $0.states ?? ids.count)
      }, eachLayer: tick)
  }
}
