import EagleCore
import EagleText
import Foundation
import Testing

@Suite struct GGUFTokenizerContentTests {
  private static let tokens =
    ["<unk>", "<s>", "</s>", "a", "b", "▁", "ab", "▁ab", "aba", "<|end|>"]
    + (0..<256).map { "<0x" + String(0x100 + $0, radix: 16, uppercase: true).dropFirst() + ">" }
  private static let types: [Int32] =
    [2, 3, 3] + [Int32](repeating: 1, count: 6) + [3] + [Int32](repeating: 6, count: 256)

  private func json(_ scores: [Double], prefix: Bool) throws -> Data {
    try TokenizerFile.sentencePieceJSON(
      tokens: Self.tokens, tokenTypes: Self.types, merges: .scored(scores), unknown: 0, addsSpacePrefix: prefix)
  }

  private func content(_ json: Data) throws -> GGUFTokenizerContent {
    let folder = NSTemporaryDirectory() + "/eagle-content-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try json.write(to: URL(fileURLWithPath: "\(folder)/tokenizer.json"))
    return try GGUFTokenizerContent(folder: folder, vocabularySize: Self.tokens.count)
  }

  @Test("a SentencePiece vocabulary gets scores that give the same tokenizer again", arguments: [true, false])
  func scores(prefix: Bool) throws {
    let original = try json(Self.tokens.indices.map { -Double($0) }, prefix: prefix)
    let content = try content(original)
    #expect(content.tokens == Self.tokens && content.types == Self.types && content.unknown == 0)
    guard case .sentencePiece(let scores, let addsSpacePrefix) = content.model else {
      Issue.record("not SentencePiece")
      return
    }
    #expect(addsSpacePrefix == prefix)
    #expect(try json(scores.map(Double.init), prefix: prefix) == original)
  }

  @Test("merges that no scores give are refused")
  func otherMerges() throws {
    let text = String(decoding: try json(Self.tokens.indices.map { -Double($0) }, prefix: true), as: UTF8.self)
    let error = #expect(throws: LocatedError.self) {
      try content(Data(text.replacing("\"ab a\"", with: "\"a b\"").utf8))
    }
    #expect(error?.description.contains("scores") == true, "\(error?.description ?? "")")
  }
}
