import EagleDecoding
import EagleDraft
import EagleText

/// Logprobs of tokens as the endpoints shape them: a list of objects for chats, lists side by side for completions.
enum Logprobs: Encodable {
  case chat(Chat)
  case completion(Completion)

  /// - Parameters:
  ///   - offset: characters of the answer before the first of the tokens
  ///   - spelling: the bytes of a token
  init(
    _ endpoint: AnswerWriter.Endpoint, _ tokens: [TokenLogprobs], offset: Int, spelling: AnswerWriter.Spelling
  ) {
    switch endpoint {
    case .chat: self = .chat(Chat(tokens, spelling))
    case .completion: self = .completion(Completion(tokens, offset: offset, spelling))
    }
  }

  func encode(to encoder: any Encoder) throws {
    switch self {
    case .chat(let logprobs): try logprobs.encode(to: encoder)
    case .completion(let logprobs): try logprobs.encode(to: encoder)
    }
  }

  struct Chat: Encodable {
    let content: [Token]

    init(_ tokens: [TokenLogprobs], _ spelling: AnswerWriter.Spelling) {
      content = tokens.map { Token($0.chosen, top: $0.top.map { Token($0, top: nil, spelling) }, spelling) }
    }

    struct Token: Encodable {
      let token: String
      let logprob: Float
      let bytes: [UInt8]
      let topLogprobs: [Token]?

      init(_ entry: TokenLogprobs.Entry, top: [Token]?, _ spelling: AnswerWriter.Spelling) {
        bytes = spelling(entry.token)
        (token, logprob, topLogprobs) = (Logprobs.text(bytes), entry.logprob, top)
      }
    }
  }

  struct Completion: Encodable {
    let tokens: [String]
    let tokenLogprobs: [Float]
    let topLogprobs: [[String: Float]]
    /// The offset of each token, in characters of the answer.
    let textOffset: [Int]

    init(_ tokens: [TokenLogprobs], offset: Int, _ spelling: AnswerWriter.Spelling) {
      let texts = tokens.map { Logprobs.text(spelling($0.chosen.token)) }
      self.tokens = texts
      tokenLogprobs = tokens.map(\.chosen.logprob)
      // The chosen token is in the list in any case; two tokens that read alike keep the more likely one.
      topLogprobs = tokens.map { token in
        Dictionary(
          (token.top + [token.chosen]).map { (Logprobs.text(spelling($0.token)), $0.logprob) },
          uniquingKeysWith: { max($0, $1) })
      }
      // Parts of a character count when it is whole.
      var (at, part): (Int, [UInt8]) = (offset, [])
      textOffset = tokens.map { token in
        defer {
          part += spelling(token.chosen.token)
          if let whole = String(validating: part, as: UTF8.self) {
            at += whole.unicodeScalars.count
            part = []
          }
        }
        return at
      }
    }
  }

  /// The text of a token; one that is a part of a character reads `bytes:\\xe4\\xb8`, as with OpenAI.
  static func text(_ bytes: [UInt8]) -> String {
    String(validating: bytes, as: UTF8.self)
      ?? "bytes:" + bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
