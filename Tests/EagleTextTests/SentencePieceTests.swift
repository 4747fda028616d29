import EagleText
import Foundation
import Testing

@Suite struct SentencePieceTests {
  private let pieces = PieceVocabulary()

  @Test("pieces merge by score, a space stands in front, and what is no piece becomes bytes")
  func encoding() throws {
    let tokenizer = try pieces.tokenizer()
    #expect(try tokenizer.encode("hello") == pieces.ids("▁hello"))
    #expect(try tokenizer.encode("hello  world") == pieces.ids("▁hello", "▁", "▁w", "or", "ld"))
    #expect(try tokenizer.encode("é你") == pieces.ids("▁", "<0xC3>", "<0xA9>", "你"))
    #expect(try tokenizer.encode("").isEmpty)
    #expect(try tokenizer.encode("hello<|end|>hello") == pieces.ids("▁hello", "<|end|>", "▁hello"))
  }

  @Test("a vocabulary without a space in front keeps text as it is")
  func withoutPrefix() throws {
    var pieces = pieces
    pieces.addsSpacePrefix = false
    let tokenizer = try pieces.tokenizer()
    let ids = try tokenizer.encode("hello hello")
    #expect(ids == pieces.ids("hello", "▁hello"))
    #expect(tokenizer.decode(ids, skipSpecial: false) == "hello hello")
    #expect(tokenizer.decode(pieces.ids("▁hello"), skipSpecial: false) == " hello")
  }

  @Test("a vocabulary without bytes has an unknown token, one for each run")
  func unknownTokens() throws {
    var pieces = pieces
    pieces.hasBytes = false
    let tokenizer = try pieces.tokenizer()
    #expect(try tokenizer.encode("éé hello") == pieces.ids("▁", "<unk>", "▁hello"))
  }

  @Test("the beginning of a text loses the space that was put there, an answer behind a prompt keeps it")
  func leadingSpace() throws {
    let tokenizer = try pieces.tokenizer()
    let ids = pieces.ids("▁hello", "▁w", "or")
    #expect(tokenizer.decode(ids, skipSpecial: true) == "hello wor")
    #expect(tokenizer.decode(ids, skipSpecial: true, startsText: false) == " hello wor")
    var answer = tokenizer.makeStreamingDecoder(skipSpecial: true)
    #expect(ids.map { answer.append($0) } == [" hello", " w", "or"])
    var text = tokenizer.makeStreamingDecoder(skipSpecial: true, startsText: true)
    #expect(pieces.ids("<s>", "▁", "▁hello").map { text.append($0) } == ["", "", " hello"], "one space, not two")
    #expect(tokenizer.decode(pieces.ids("<s>", "▁hello"), skipSpecial: false) == "<s> hello")
    #expect(tokenizer.bytes(of: pieces.id("▁hello")) == Array(" hello".utf8))
  }

  @Test("a character in bytes comes when it is whole, and bytes that are none become U+FFFD")
  func byteFallback() throws {
    let tokenizer = try pieces.tokenizer()
    var decoder = tokenizer.makeStreamingDecoder(skipSpecial: true)
    let ids = pieces.ids("<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "<0xE4>", "<0xBD>", "hello")
    #expect(ids.map { decoder.append($0) } == ["", "", "", "😀", "", "", "\u{FFFD}hello"])
    #expect(tokenizer.decode(ids, skipSpecial: true) == "😀\u{FFFD}hello")
    #expect(tokenizer.bytes(of: pieces.id("<0x0A>")) == [0x0A])
    var stream = StreamingDetokenizer(tokenizer, stops: ["\n"])
    #expect(stream.append(pieces.id("▁hello")) == " hello")
    #expect(stream.append(pieces.id("<0x0A>")).isEmpty && stream.isStopped)
  }

  @Test("two spellings of one character are two tokens")
  func canonicallyEquivalentPieces() throws {
    let pieces = PieceVocabulary(pieces: ["▁", "\u{E9}", "e\u{301}", "e", "\u{301}"])
    let tokenizer = try pieces.tokenizer()
    #expect(try tokenizer.encode("\u{E9}e\u{301}") == pieces.ids("▁", "\u{E9}", "e\u{301}"))
    #expect(tokenizer.id(of: "\u{E9}") != tokenizer.id(of: "e\u{301}"))
  }

  @Test("a merge with a combining mark behind the space between its parts is read")
  func mergesOfMarks() throws {
    let tokens = ["<unk>", "a", "\u{489}", "\u{489}\u{489}", "a\u{489}\u{489}"]
    let json = try TokenizerFile.sentencePieceJSON(
      tokens: tokens, tokenTypes: [2, 1, 1, 1, 1], merges: .listed(["\u{489} \u{489}", "a \u{489}\u{489}"]), unknown: 0,
      addsSpacePrefix: false)
    #expect(try Tokenizer(json: json, path: "f").encode("a\u{489}\u{489}\u{489}") == [4, 2])
  }

  @Test("ids are the same word by word and as a whole, where a token has an inner space too")
  func innerSpaces() throws {
    let pieces = PieceVocabulary(pieces: ["h▁w", "▁", "h", "w", "o", "▁w"])
    #expect(try pieces.tokenizer().encode("h wo") == pieces.ids("▁", "h▁w", "o"))
  }

  @Test("starts are bytes of the text, and a message's special tokens stay text behind Prepend and Replace")
  func prompts() throws {
    let tokenizer = try pieces.tokenizer()
    let text = "hello hello<|end|> 你<|end|>"
    let prompt = try tokenizer.encode(text, ordinary: [])
    #expect(prompt.ids == pieces.ids("▁hello", "▁hello", "<|end|>", "▁▁", "你", "<|end|>"))
    #expect(prompt.starts == [0, 5, 11, 18, 19, 22])
    let guarded = try tokenizer.encode(text, ordinary: [0..<18])
    #expect(guarded.ids.filter { $0 == pieces.id("<|end|>") }.count == 1)
    #expect(guarded.starts.last == 22)
    #expect(tokenizer.decode(guarded.ids, skipSpecial: true) == "hello hello<|end|> 你")
  }

  @Test("a control token takes white space along where the importer says so")
  func strippingControlTokens() throws {
    let json = try pieces.json { $0 == "<|end|>" }
    let tokenizer = try Tokenizer(json: json, path: "f")
    #expect(try tokenizer.encode("<|end|>\n hello") == pieces.ids("<|end|>", "▁hello"))
    #expect(try tokenizer.encode("<think> hello") == pieces.ids("<think>", "▁", "▁hello"))
  }

  @Test("damaged vocabularies are refused by what is wrong")
  func damaged() throws {
    func message(scores: [Double]? = nil, tokens: [String]? = nil) -> String {
      errorText {
        _ = try TokenizerFile.sentencePieceJSON(
          tokens: tokens ?? pieces.tokens, tokenTypes: pieces.types, merges: .scored(scores ?? pieces.scores),
          unknown: 0,
          addsSpacePrefix: true)
      }
    }
    #expect(message(scores: [1]).contains("1 scores"))
    #expect(message(tokens: ["a"]).contains("token types"))
    let long = pieces.tokens.map { $0 == "hello" ? String(repeating: "x", count: 2000) : $0 }
    #expect(message(tokens: long).contains("2000 bytes"))
    let json = String(decoding: try pieces.json(), as: UTF8.self).replacingOccurrences(
      of: "\"<0x41>\"", with: "\"<0x4>\"")
    #expect(errorText { _ = try Tokenizer(json: Data(json.utf8), path: "f") }.contains("byte_fallback"))
  }
}

/// Bounds against a malicious tokenizer.json.
@Suite struct TokenizerBoundTests {
  private func refusal(_ old: String, _ new: String) throws -> String {
    let json = try SmallVocabulary().json(replacing: old, with: new)
    return errorText { _ = try Tokenizer(json: json, path: "f") }
  }

  @Test("normalizers that make a text many times as long are refused")
  func growingNormalizers() throws {
    let long = String(repeating: "x", count: 100)
    let replace = #"{"type": "Replace", "pattern": {"String": "a"}, "content": ""# + long + "\"}"
    #expect(try refusal(#""normalizer": null"#, #""normalizer": "# + replace).contains("100 times as long"))
    let double = #"{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}"#
    let chain =
      #"{"type": "Sequence", "normalizers": ["# + Array(repeating: double, count: 9).joined(separator: ",") + "]}"
    #expect(try refusal(#""normalizer": null"#, #""normalizer": "# + chain).contains("512 times as long"))
    let many = Array(repeating: #"{"type": "NFC"}"#, count: 40).joined(separator: ",")
    #expect(
      try refusal(#""normalizer": null"#, #""normalizer": {"type": "Sequence", "normalizers": ["# + many + "]}")
        .contains("40 normalizers"))
    #expect(
      try refusal(
        #""normalizer": null"#, #""normalizer": {"type": "Replace", "pattern": {"Regex": "a"}, "content": ""}"#
      )
      .contains("not a String"))
  }

  @Test("too many stages, too long patterns and added tokens, and deep nesting are refused")
  func sizes() throws {
    let digits = Array(repeating: #"{"type": "Digits"}"#, count: 50).joined(separator: ",")
    let stages = #""pre_tokenizer": {"type": "Sequence", "pretokenizers": ["# + digits + #"]}, "x": {"#
    #expect(try refusal(#""pre_tokenizer": {"#, stages).contains("50 pre_tokenizers"))
    let pattern = String(repeating: #"\\p{L}"#, count: 4000)
    let split =
      #""pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""# + pattern
      + #""}, "behavior": "Isolated"}, "x": {"#
    #expect(try refusal(#""pre_tokenizer": {"#, split).contains("a pattern of 20000 bytes"))
    let long = String(repeating: "y", count: 5000)
    #expect(try refusal("<think>", long).contains("5000 bytes"))
    let nested = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
    #expect(try refusal(#""normalizer": null"#, #""normalizer": "# + nested).contains("not valid JSON"))
  }

  @Test("thousands of added tokens that begin alike cost no more than one")
  func manyAddedTokens() throws {
    let entries = (0..<20_000).map { number in
      #"{"id": \#(1000 + number), "content": "<unused\#(number)>", "normalized": false, "special": false}"#
    }
    let json = try SmallVocabulary().json(
      replacing: #""added_tokens": ["#, with: #""added_tokens": [\#(entries.joined(separator: ",")),"#)
    let tokenizer = try Tokenizer(json: json, path: "f")
    #expect(try tokenizer.encode("<unused19999><unused1>") == [20_999, 1001])
    // Comparing with each one would be minutes.
    let text = String(repeating: "<unused", count: 100_000)
    #expect(try tokenizer.encode(text).count == 700_000)
  }

  @Test("a token is the longest of those that begin alike")
  func longestTokens() throws {
    let entries = ["<a", "<a>", "<a><b", "<ab"].enumerated().map { index, content in
      #"{"id": \#(1000 + index), "content": "\#(content)", "special": \#(index == 1)}"#
    }
    let json = try SmallVocabulary().json(
      replacing: #""added_tokens": ["#, with: #""added_tokens": [\#(entries.joined(separator: ",")),"#)
    let tokenizer = try Tokenizer(json: json, path: "f")
    #expect(try tokenizer.encode("<a><b<a><a<ab<") == [1002, 1001, 1000, 1003, 60])
    #expect(
      try tokenizer.encode("<a><a>", ordinary: [0..<3]).ids == [1000, 62, 1001], "a shorter one counts where it may")
  }
}

/// BOS and EOS around a whole text.
@Suite struct TextFrameTests {
  private let small = SmallVocabulary()

  private func tokenizer(config: String?, postProcessor: String = "null") throws -> Tokenizer {
    try withTemporaryFolder { folder in
      let json = try small.json(replacing: #""post_processor": null"#, with: #""post_processor": "# + postProcessor)
      try json.write(to: folder.appendingPathComponent("tokenizer.json"))
      if let config { try Data(config.utf8).write(to: folder.appendingPathComponent("tokenizer_config.json")) }
      return try Tokenizer(folder: folder.path)
    }
  }

  private let template =
    #"{"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": "#
    + #"[{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "#
    + #""special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [263], "tokens": ["<|im_start|>"]}}}]}"#

  @Test("BOS stands once in front of a text that asks for it")
  func bos() throws {
    let config = #"{"add_bos_token": true, "bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}}"#
    let tokenizer = try tokenizer(config: config)
    #expect(try tokenizer.encodeFramed("ab") == [263, 97, 98])
    #expect(try tokenizer.encodeFramed("<|im_start|>ab") == [263, 97, 98])
    #expect(try tokenizer.encodeFramed("") == [263])
    #expect(try tokenizer.encode("ab") == [97, 98])
  }

  @Test("EOS stands once behind a text that asks for it")
  func eos() throws {
    let tokenizer = try tokenizer(config: #"{"add_eos_token": true, "eos_token": {"content": "<|im_end|>"}}"#)
    #expect(try tokenizer.encodeFramed("ab") == [97, 98, 264])
    #expect(try tokenizer.encodeFramed("ab<|im_end|>") == [97, 98, 264])
  }

  @Test("without a word in tokenizer_config.json the post_processor says it")
  func postProcessors() throws {
    #expect(try tokenizer(config: nil, postProcessor: template).encodeFramed("a") == [263, 97])
    #expect(try tokenizer(config: "{}", postProcessor: template).encodeFramed("a") == [263, 97])
    #expect(try tokenizer(config: #"{"add_bos_token": false}"#, postProcessor: template).encodeFramed("a") == [97])
    #expect(try tokenizer(config: nil).encodeFramed("a") == [97])
    #expect(
      errorText { _ = try tokenizer(config: nil, postProcessor: #"{"type": "RobertaProcessing"}"#) }.contains("Roberta")
    )
  }

  @Test("a BOS that is no token is an error that names the file")
  func missingBOS() throws {
    for config in [
      #"{"add_bos_token": true, "bos_token": "<x>"}"#, #"{"add_bos_token": true}"#, #"{"add_bos_token": 1}"#,
    ] {
      let message = errorText { _ = try tokenizer(config: config) }
      #expect(message.contains("tokenizer_config.json: ") && message.contains("add_bos_token"), "\(message)")
    }
  }
}
