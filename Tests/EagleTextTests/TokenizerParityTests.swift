import EagleCore
import EagleText
import Foundation
import Testing

/// Ids as Hugging Face tokenizers gives them. Fixtures: Tools/fixtures/make_small_tokenizers.py,
/// tokenizer_reference.py.
@Suite struct TokenizerParityTests {
  private struct SmallTokenizers: Decodable {
    let tokenizers: [String: Entry]

    struct Entry: Decodable {
      let texts: [EncodedText]
    }
  }

  private static let names = ["gpt2-prefix", "smollm", "digit-runs", "qwen2", "llama3"]

  /// The tokenizer.json that the fixture holds under `name`.
  private func tokenizer(_ name: String, in json: Data) throws -> Tokenizer {
    let root = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
    let entry = try #require((root["tokenizers"] as? [String: [String: Any]])?[name])
    let file = try JSONSerialization.data(withJSONObject: try #require(entry["tokenizer"]))
    return try Tokenizer(json: file, path: "tokenizers-small.json:\(name)")
  }

  @Test(arguments: names) func smallTokenizersAgree(name: String) throws {
    let json = try fixture("tokenizers-small.json")
    let tokenizer = try tokenizer(name, in: json)
    let texts = try #require(try JSONDecoder().decode(SmallTokenizers.self, from: json).tokenizers[name]).texts
    #expect(texts.count > 100)
    for expected in texts { try check(expected, tokenizer) }
  }

  @Test(.enabled(if: hasSmolLM)) func smolLM2Agrees() throws {
    struct Reference: Decodable {
      let texts: [EncodedText]
    }
    let tokenizer = try Tokenizer(folder: smolLMFolder.path)
    let texts = try JSONDecoder().decode(Reference.self, from: fixture("tokenizer-smollm2.json")).texts
    #expect(tokenizer.vocabularySize == 49152 && texts.count > 50)
    for expected in texts { try check(expected, tokenizer) }
  }

  private func check(_ expected: EncodedText, _ tokenizer: Tokenizer) throws {
    let ids = try tokenizer.encode(expected.text)
    #expect(ids == expected.ids, "\(expected.text.debugDescription)")
    let decoded = tokenizer.decode(ids, skipSpecial: false)
    #expect(decoded.unicodeScalars.elementsEqual((expected.decoded ?? expected.text).unicodeScalars))
  }
}
