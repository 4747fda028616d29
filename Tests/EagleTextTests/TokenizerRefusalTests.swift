import EagleText
import Foundation
import Testing

/// Unsupported contents of a tokenizer.json: each error names the content and the file.
@Suite struct TokenizerRefusalTests {
  private static let path = "model/tokenizer.json"

  private func refusal(replacing old: String, with new: String) throws -> String {
    let json = try SmallVocabulary().json(replacing: old, with: new)
    return errorText { _ = try Tokenizer(json: json, path: Self.path) }
  }

  @Test(
    "unsupported parts of a tokenizer are named",
    arguments: [
      (#""type": "BPE""#, #""type": "Unigram""#, "Unigram"),
      (#""normalizer": null"#, #""normalizer": {"type": "Lowercase"}"#, "Lowercase"),
      (#""decoder": {"type": "ByteLevel""#, #""decoder": {"type": "Metaspace""#, "Metaspace"),
      (#""pre_tokenizer": {"type": "ByteLevel""#, #""pre_tokenizer": {"type": "Whitespace""#, "Whitespace"),
      (#""pre_tokenizer": {"#, #""pre_tokenizer": null, "x": {"#, "pre_tokenizer"),
      (#""dropout": null"#, #""dropout": 0.1"#, "dropout"),
      (#""byte_fallback": false"#, #""byte_fallback": true"#, "byte_fallback"),
      (#""end_of_word_suffix": null"#, #""end_of_word_suffix": "</w>""#, "</w>"),
      (#""continuing_subword_prefix": null"#, #""continuing_subword_prefix": "@@""#, "@@"),
    ])
  func unsupportedPartsAreNamed(old: String, new: String, named: String) throws {
    let message = try refusal(replacing: old, with: new)
    #expect(message.hasPrefix(Self.path + ": ") && message.contains(named), "\(message)")
  }

  @Test(
    "unsupported split patterns are named",
    arguments: [
      (#"{"Regex": "a"}, "behavior": "Doubled", "invert": false"#, "Doubled"),
      (#"{"Regex": "a"}, "behavior": "Isolated", "invert": "yes""#, "invert"),
      (#"{"String": ""}, "behavior": "Isolated", "invert": false"#, "Regex"),
      (#"{"Word": "a"}, "behavior": "Isolated", "invert": false"#, "Regex"),
      (#"{"Regex": "a("}, "behavior": "Isolated", "invert": false"#, "at byte"),
      (#"{"Regex": "^a"}, "behavior": "Isolated", "invert": false"#, "anchor"),
      (#"{"Regex": "(?m)a"}, "behavior": "Isolated", "invert": false"#, "(?m"),
      (#"{"Regex": "[a[b]]"}, "behavior": "Isolated", "invert": false"#, "class inside a class"),
      (#"{"Regex": "[a&&b]"}, "behavior": "Isolated", "invert": false"#, "&&"),
      (#"{"Regex": "[\\S]"}, "behavior": "Isolated", "invert": false"#, "negated class"),
      (#"{"Regex": "\\C"}, "behavior": "Isolated", "invert": false"#, "\\C"),
      (#"{"Regex": "\\h+"}, "behavior": "Isolated", "invert": false"#, "\\h"),
      (#"{"Regex": "\\w+"}, "behavior": "Isolated", "invert": false"#, "\\w"),
      (#"{"Regex": "\\bx"}, "behavior": "Isolated", "invert": false"#, "\\b"),
      (#"{"Regex": "a\\Kb"}, "behavior": "Isolated", "invert": false"#, "\\K"),
      (#"{"Regex": "\\R"}, "behavior": "Isolated", "invert": false"#, "\\R"),
      (#"{"Regex": "\\X"}, "behavior": "Isolated", "invert": false"#, "\\X"),
      (#"{"Regex": "\\Qa\\E"}, "behavior": "Isolated", "invert": false"#, "\\Q"),
      (#"{"Regex": "(a)\\1"}, "behavior": "Isolated", "invert": false"#, "\\1"),
      (#"{"Regex": "(*ACCEPT)a"}, "behavior": "Isolated", "invert": false"#, "a verb"),
      (#"{"Regex": "(?R)"}, "behavior": "Isolated", "invert": false"#, "(?R"),
      (#"{"Regex": "(?C1)a"}, "behavior": "Isolated", "invert": false"#, "(?C"),
      (#"{"Regex": "a{1,3}+"}, "behavior": "Isolated", "invert": false"#, "} followed by +"),
      (#"{"Regex": "a{,3}"}, "behavior": "Isolated", "invert": false"#, "{,3}"),
      (#"{"Regex": "\\p{Mn}"}, "behavior": "Isolated", "invert": false"#, "\\p{Mn}"),
      (#"{"Regex": "\\p{Xan}"}, "behavior": "Isolated", "invert": false"#, "\\p{Xan}"),
    ])
  func unsupportedSplitsAreNamed(split: String, named: String) throws {
    let sequence =
      #"{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": \#(split)}, "#
      + #"{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}, "x": {"#
    let message = try refusal(replacing: #""pre_tokenizer": {"#, with: #""pre_tokenizer": "# + sequence)
    #expect(message.contains(named), "\(message)")
  }

  @Test("negative token ids are refused")
  func negativeIDs() throws {
    var document = try JSONSerialization.jsonObject(with: SmallVocabulary().json()) as? [String: Any] ?? [:]
    let model = document["model"] as? [String: Any] ?? [:]
    document["model"] = model.merging(["vocab": ["a": -5], "merges": [String]()]) { $1 }
    document["added_tokens"] = [["id": -3, "content": "<x>"] as [String: Any]]
    let json = try JSONSerialization.data(withJSONObject: document)
    let message = errorText { _ = try Tokenizer(json: json, path: Self.path) }
    #expect(message.contains("negative") && message.contains("-5"), "\(message)")
  }

  @Test("a prefix space after another pre-tokenizer is refused")
  func aPrefixSpaceAfterAnotherPreTokenizerIsRefused() throws {
    let json = String(decoding: try SmallVocabulary().json(preTokenizer: "smollm"), as: UTF8.self)
    let changed = json.replacingOccurrences(
      of: #""ByteLevel", "add_prefix_space": false"#, with: #""ByteLevel", "add_prefix_space": true"#)
    #expect(errorText { _ = try Tokenizer(json: Data(changed.utf8), path: "f") }.contains("add_prefix_space"))
  }

  @Test("an unknown token is refused only where bytes are missing")
  func anUnknownTokenIsRefusedOnlyWhereBytesAreMissing() throws {
    let complete = try SmallVocabulary().json(replacing: #""unk_token": null"#, with: #""unk_token": "<|endoftext|>""#)
    #expect(try Tokenizer(json: complete, path: "f").encode("hello") == [259])
    let small =
      #"{"added_tokens": [], "normalizer": null, "decoder": {"type": "ByteLevel"}, "#
      + #""pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "#
      + #""model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 1}, "merges": []}}"#
    #expect(errorText { _ = try Tokenizer(json: Data(small.utf8), path: "f") }.contains("unk_token"))
    let without = small.replacingOccurrences(of: #""unk_token": "a""#, with: #""unk_token": null"#)
    let tokenizer = try Tokenizer(json: Data(without.utf8), path: "f")
    #expect(try tokenizer.encode("acb") == [0, 1], "a byte without a token is dropped")
  }

  @Test("contradictory vocabularies are refused") func contradictoryVocabulariesAreRefused() throws {
    #expect(try refusal(replacing: "\"a\": 97", with: "\"a\": 98").contains("98"))
    #expect(try refusal(replacing: "\"a\": 97", with: "\"a\": -1").contains("-1"))
    #expect(try refusal(replacing: "\"a\": 97", with: "\"a\": 999999999").contains("999999999"))
    #expect(try refusal(replacing: "{\"id\": 262", with: "{\"id\": 270").contains("<|endoftext|>"))
  }

  @Test("broken merges are named") func brokenMergesAreNamed() throws {
    #expect(try refusal(replacing: "\"he ll\"", with: "\"he zz\"").contains("he zz"))
    #expect(try refusal(replacing: "\"he ll\"", with: "\"he l l\"").contains("he l l"))
    #expect(try refusal(replacing: "\"he ll\"", with: "7").contains("merges"))
  }

  @Test("damaged files are refused with their path") func damagedFilesAreRefusedWithTheirPath() throws {
    let json = try SmallVocabulary().json()
    for length in [0, 1, 200, json.count / 2, json.count - 3] {
      let message = errorText { _ = try Tokenizer(json: json.prefix(length), path: Self.path) }
      #expect(message.hasPrefix("\(Self.path): not valid JSON: line "), "\(length) bytes: \(message)")
    }
    #expect(errorText { _ = try Tokenizer(json: Data("{}".utf8), path: "f") } == "f: the field \"model\" is missing")
  }

  @Test("a missing tokenizer.json is named") func aMissingFileIsNamed() throws {
    try withTemporaryFolder { folder in
      let message = errorText { _ = try Tokenizer(folder: folder.path) }
      #expect(message.hasPrefix(folder.path + "/tokenizer.json: cannot be read"))
    }
  }
}
