import EagleDecoding
import EagleDraft
import EagleText

/// Logprobs of consecutive tokens.
package struct LogprobRun: Sendable {
  /// Characters of the answer before the first of the tokens. It cannot be computed from the tokens, because some
  /// produce no text.
  package let offset: Int
  package let tokens: [TokenLogprobs]

  package init(offset: Int, tokens: [TokenLogprobs]) { (self.offset, self.tokens) = (offset, tokens) }
}

/// Logprobs of tokens in the format of the endpoints: a list of objects for chats, parallel lists for completions.
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
      // The chosen token is always in the list. Of two tokens with the same text, the more likely one is kept.
      topLogprobs = tokens.map { token in
        Dictionary(
          (token.top + [token.chosen]).map { (Logprobs.text(spelling($0.token)), $0.logprob) },
          uniquingKeysWith: { max($0, $1) })
      }
      // A character counts once its last byte has arrived.
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

  /// The text of a token; a token that is a part of a character is written as `bytes:\\xe4\\xb8`, as OpenAI does.
  static func text(_ bytes: [UInt8]) -> String {
    String(validating: bytes, as: UTF8.self)
      ?? "bytes:" + bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
