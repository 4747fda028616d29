import EagleCaptureStore
import EagleCluster
import EagleData
import EagleModels
import EagleText

/// Where the target's states come from.
package enum StateSource {
  case store(CaptureStore)
  case online(OnlineStates)

  /// Tokens of each conversation.
  package var lengths: [Int] {
    switch self {
    case .store(let store): store.lengths
    case .online(let states): states.lengths
    }
  }

  func read(_ conversations: [Int]) throws -> [CapturedConversation] {
    switch self {
    case .store(let store): try conversations.map { try store.read(conversation: $0) }
    case .online(let states): try states.read(conversations)
    }
  }

  /// Loss mask of a conversation.
  func mask(_ conversation: Int) throws -> [UInt8] {
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

  /// - Throws: for layers that the target does not have
  package init(target: TargetModel, config: CaptureConfig, data: PreparedData) throws {
    capture = try StateCapture(target: target, config: config)
    tokens = data.tokens
    lengths = data.tokens.lengths
  }

  /// Throws when ranks compute states of different precision. Collective.
  package func agreeOnPrecision(_ cluster: any Communicator) throws { try capture.agreeOnPrecision(cluster) }

  func read(_ conversations: [Int]) throws -> [CapturedConversation] {
    capture.captured(try conversations.map { try tokens.conversation($0) })
  }
}
