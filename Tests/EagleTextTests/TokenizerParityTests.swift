import EagleCore
import EagleText
import Foundation
import Testing

/// Compares ids with Hugging Face tokenizers. Fixtures: Tools/fixtures/make_small_tokenizers.py,
/// make_tokenizer_kinds.py, tokenizer_reference.py.
@Suite struct TokenizerParityTests {
  private struct SmallTokenizers: Decodable {
    let tokenizers: [String: Entry]

    struct Entry: Decodable {
      let texts: [EncodedText]
    }
  }

  private static let names = ["gpt2-prefix", "smollm", "digit-runs", "qwen2", "llama3"]
  private static let kinds = [
    "o200k", "removed-inverted", "removed", "merged-with-previous", "merged-with-next", "merged-inverted", "contiguous",
    "falcon", "line-ends", "prepend", "replace", "composed", "metaspace-first", "metaspace-always", "metaspace-never",
    "unknown", "unknown-apart",
  ]

  /// The tokenizer.json that the fixture holds under `name`.
  private func tokenizer(_ name: String, in json: Data) throws -> Tokenizer {
    let root = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
    let entry = try #require((root["tokenizers"] as? [String: [String: Any]])?[name])
    let file = try JSONSerialization.data(withJSONObject: try #require(entry["tokenizer"]))
    return try Tokenizer(json: file, path: "tokenizers-small.json:\(name)")
  }

  @Test("small tokenizers give the ids and texts of Hugging Face tokenizers", arguments: names)
  func smallTokenizersAgree(name: String) throws {
    let json = try fixture("tokenizers-small.json")
    let tokenizer = try tokenizer(name, in: json)
    let texts = try #require(try JSONDecoder().decode(SmallTokenizers.self, from: json).tokenizers[name]).texts
    #expect(texts.count > 100)
    for expected in texts { try check(expected, tokenizer) }
  }

  @Test("every kind of tokenizer.json gives the ids and the text of tokenizers", arguments: kinds)
  func kindsAgree(name: String) throws {
    let json = try fixture("tokenizers-kinds.json")
    let tokenizer = try tokenizer(name, in: json)
    let texts = try #require(try JSONDecoder().decode(SmallTokenizers.self, from: json).tokenizers[name]).texts
    #expect(texts.count > 80)
    for expected in texts {
      try check(expected, tokenizer)
      let prompt = try tokenizer.encode(expected.text, ordinary: [])
      #expect(prompt.ids == expected.ids)
      #expect(
        zip(prompt.starts, prompt.starts.dropFirst()).allSatisfy { $0 <= $1 }, "\(expected.text.debugDescription)")
      #expect(prompt.starts.allSatisfy { 0..<max(1, expected.text.utf8.count) ~= $0 })
    }
  }

  @Test("the tokenizer of SmolLM2 gives the ids and texts of Hugging Face tokenizers", .enabled(if: hasSmolLM))
  func smolLM2Agrees() throws {
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
    var decoder = tokenizer.makeStreamingDecoder(skipSpecial: false, startsText: true)
    let streamed = ids.map { decoder.append($0) }.joined() + decoder.finish()
    #expect(streamed.unicodeScalars.elementsEqual(decoded.unicodeScalars))
  }
}
