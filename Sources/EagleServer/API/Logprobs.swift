import EagleDecoding
import EagleDraft
import EagleText

/// Logprobs of consecutive tokens.
package struct LogprobRun: Sendable {
  /// Characters of the answer before the first of the tokens. Tokens alone do not tell: some are no text.
  package let offset: Int
  package let tokens: [TokenLogprobs]

  package init(offset: Int, tokens: [TokenLogprobs]) { (self.offset, self.tokens) = (offset, tokens) }
}

/// Logprobs of tokens as the endpoints shape them: a list of objects for chats, lists side by side for completions.
enum Logprobs: Encodable {
  case chat(Chat)
  case completion(Completion)

  /// - Parameter spelling: the bytes of a token
  init(_ endpoint: AnswerWriter.Endpoint, _ runs: [LogprobRun], spelling: AnswerWriter.Spelling) {
    switch endpoint {
    case .chat: self = .chat(Chat(runs.flatMap(\.tokens), spelling))
    case .completion: self = .completion(Completion(runs, spelling))
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

    init(_ runs: [LogprobRun], _ spelling: AnswerWriter.Spelling) {
      let tokens = runs.flatMap(\.tokens)
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
      textOffset = runs.flatMap { run in
        var (at, part): (Int, [UInt8]) = (run.offset, [])
        return run.tokens.map { token in
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
  }

  /// The text of a token; one that is a part of a character reads `bytes:\\xe4\\xb8`, as with OpenAI.
  static func text(_ bytes: [UInt8]) -> String {
    String(validating: bytes, as: UTF8.self)
      ?? "bytes:" + bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
