import EagleText
import Foundation

/// A vocabulary in the order of SentencePiece: `<unk>`, `<s>` and `</s>`, a token for each byte, then pieces in the
/// order of their scores, then `<|end|>`, which is a control token, and `<think>`, which is user-defined.
struct PieceVocabulary {
  static let firstPiece = 3 + 256
  let pieces: [String]
  var addsSpacePrefix = true
  var hasBytes = true

  init(
    pieces: [String] = [
      "he", "ll", "hell", "hello", "\u{2581}hello", "\u{2581}w", "or", "ld", "\u{2581}", "\u{2581}\u{2581}",
    ]
      + "helowrd你.<|>".map(String.init)
  ) { self.pieces = pieces }

  var tokens: [String] {
    let bytes = (0..<256).map { "<0x" + String(0x100 + $0, radix: 16, uppercase: true).dropFirst() + ">" }
    return ["<unk>", "<s>", "</s>"] + (hasBytes ? bytes : []) + pieces + ["<|end|>", "<think>"]
  }

  var types: [Int32] {
    [2, 3, 3] + [Int32](repeating: 6, count: hasBytes ? 256 : 0) + [Int32](repeating: 1, count: pieces.count) + [3, 4]
  }

  /// Pieces have the scores -1, -2, …
  var scores: [Double] {
    let first = tokens.count - pieces.count - 2
    return tokens.indices.map { Double(first - 1 - $0) }
  }

  func id(_ token: String) -> Int32 { Int32(tokens.firstIndex { $0.utf8.elementsEqual(token.utf8) } ?? -1) }
  func ids(_ tokens: String...) -> [Int32] { tokens.map(id) }

  func json(stripsRight: (String) -> Bool = { _ in false }) throws -> Data {
    try TokenizerFile.sentencePieceJSON(
      tokens: tokens, tokenTypes: types, merges: .scored(scores), unknown: 0, addsSpacePrefix: addsSpacePrefix,
      stripsRight: stripsRight)
  }

  func tokenizer() throws -> Tokenizer { try Tokenizer(json: json(), path: "pieces/tokenizer.json") }
}
