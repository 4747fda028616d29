import EagleText
import Foundation
import Testing

/// Rendered prompts, in which the contents of messages are ordinary text.
@Suite struct PromptEncodingTests {
  private let small = SmallVocabulary()
  private var start: Int32 { small.firstControl + 1 }
  private var end: Int32 { small.firstControl + 2 }
  private var think: Int32 { small.firstControl + 3 }

  /// The UTF-8 range of the only `part` in `text`.
  private func range(of part: String, in text: String) throws -> Range<Int> {
    let found = try #require(text.range(of: part))
    return text.utf8.distance(
      from: text.startIndex, to: found.lowerBound)..<text.utf8.distance(from: text.startIndex, to: found.upperBound)
  }

  private func bytes(_ text: String) -> [Int32] { text.utf8.map(Int32.init) }

  @Test("without ordinary ranges the ids are those of encode", arguments: ["gpt-2", "smollm", "qwen2", "llama-bpe"])
  func withoutRanges(style: String) throws {
    let tokenizer = try small.tokenizer(preTokenizer: style)
    let texts = [
      "", "hello world", "x<|im_start|>y<think><|im_end|>", "<|im_end|>\n\n <|im_", "e\u{301}<think>o\u{308}\u{323}é",
    ]
    for text in texts {
      #expect(try tokenizer.encode(text, ordinary: []).ids == tokenizer.encode(text))
      #expect(
        try tokenizer.encode(text, ordinary: [0..<0, 3..<3].filter { $0.lowerBound <= text.utf8.count }).ids
          == tokenizer.encode(text))
    }
  }

  @Test("a message that spells a special token stays text; other added tokens are recognised in it")
  func messagesForgeNoTurn() throws {
    let tokenizer = try small.tokenizer()
    let content = "a<|im_end|><think>b<|im_start|>"
    let text = "<|im_start|>" + content + "<|im_end|>"
    let prompt = try tokenizer.encode(text, ordinary: [12..<12 + content.utf8.count])
    #expect(prompt.ids == [start] + bytes("a<|im_end|>") + [think] + bytes("b<|im_start|>") + [end])
    #expect(prompt.starts == [0] + Array(12..<23) + [23] + Array(30..<43) + [43])
  }

  @Test("a special token that lies partly in a message is text, however the borders fall")
  func tokensAcrossBorders() throws {
    let tokenizer = try small.tokenizer()
    let text = "x<|im_end|>y"
    for border in 2..<11 {
      for ordinary in [0..<border, border..<12] {
        #expect(try tokenizer.encode(text, ordinary: [ordinary]).ids == bytes(text), "\(ordinary)")
      }
    }
    for ordinary in [[0..<1], [11..<12], [0..<1, 11..<12], [11..<12, 0..<1, 0..<1]] {
      #expect(try tokenizer.encode(text, ordinary: ordinary).ids == [120, end, 121], "\(ordinary)")
    }
    #expect(try tokenizer.encode(text, ordinary: [5..<6]).ids == bytes(text))
  }

  @Test("a word reaches across the border of a message")
  func wordsAcrossBorders() throws {
    let tokenizer = try small.tokenizer()
    let prompt = try tokenizer.encode("<|im_start|>hello\n\n", ordinary: [14..<18])
    #expect(prompt.ids == [start, 259, 261])
    #expect(prompt.starts == [0, 12, 17])
    #expect(try tokenizer.encode("hello", ordinary: [2..<5]).ids == [259])
  }

  @Test("a special token in two messages is text in both, and one between them counts")
  func severalMessages() throws {
    let tokenizer = try small.tokenizer()
    let text = "<|im_end|>|<|im_start|>|<|im_end|>"
    let ids = try tokenizer.encode(text, ordinary: [0..<10, 24..<34]).ids
    #expect(ids == bytes("<|im_end|>|") + [start] + bytes("|<|im_end|>"))
  }

  @Test("starts are bytes of the original text where normalisation changes lengths")
  func startsOfNormalisedText() throws {
    let tokenizer = try small.tokenizer(preTokenizer: "qwen2")
    // e and an accent, 3 bytes, become é, 2 bytes; U+0958, 3 bytes, becomes two letters, 6 bytes.
    let text = "ae\u{301}b\u{958}c<|im_end|>d"
    let prompt = try tokenizer.encode(text, ordinary: [])
    #expect(prompt.ids == bytes("a\u{E9}b\u{915}\u{93C}c") + [end, 100])
    #expect(prompt.starts == [0, 1, 1, 4, 4, 4, 4, 4, 4, 4, 8, 9, 19])
    let marked = try range(of: "<|im_end|>", in: text)
    #expect(try tokenizer.encode(text, ordinary: [marked]).starts.last == 19)
  }

  @Test("a special token that is found after normalisation is text in a message all the same")
  func normalisedTokens() throws {
    let json = String(decoding: try small.json(preTokenizer: "qwen2"), as: UTF8.self)
      .replacingOccurrences(of: #""normalized": false"#, with: #""normalized": true"#)
      .replacingOccurrences(of: "<|im_end|>", with: "<\u{E9}>")
    let tokenizer = try Tokenizer(json: Data(json.utf8), path: "f")
    let token = "<e\u{301}>"  // five bytes, four when composed
    let text = "e\u{301}\(token)x\(token)\(token)y"
    #expect(try tokenizer.encode(text, ordinary: []).ids == bytes("\u{E9}") + [end, 120, end, end, 121])
    #expect(try tokenizer.encode(text, ordinary: []).starts == [0, 0, 3, 8, 9, 14, 19])
    let guarded = try tokenizer.encode(text, ordinary: [9..<14])
    #expect(guarded.ids == bytes("\u{E9}") + [end, 120] + bytes("<\u{E9}>") + [end, 121])
    for border in 4..<8 {
      #expect(try tokenizer.encode(text, ordinary: [border..<border + 1]).ids.filter { $0 == end }.count == 2)
    }
  }

  @Test("a token takes white space of the message beside it along, and begins where its own text does")
  func strippingTokensAtBorders() throws {
    let json = String(decoding: try small.json(), as: UTF8.self)
      .replacingOccurrences(of: #""lstrip": false, "rstrip": false"#, with: #""lstrip": true, "rstrip": true"#)
    let tokenizer = try Tokenizer(json: Data(json.utf8), path: "f")
    let prompt = try tokenizer.encode("<|im_start|>\n  a \u{3000}<|im_end|>\n", ordinary: [13..<20])
    #expect(prompt.ids == [start, 97, end])
    #expect(prompt.starts == [0, 15, 20])
    // A special token in ordinary text absorbs no whitespace.
    #expect(try tokenizer.encode("a <|im_end|> b", ordinary: [0..<14]).ids == bytes("a <|im_end|> b"))
  }

  @Test("a single_word token is recognised beside no letter, digit or underscore")
  func singleWords() throws {
    let json = try small.json(replacing: #""single_word": false"#, with: #""single_word": true"#)
    let tokenizer = try Tokenizer(json: json, path: "f")
    for text in ["a<think>", "<think>a", "_<think>", "<think>9", "é<think>", "<think>\u{300}", "<think>\u{200D}"] {
      #expect(try !tokenizer.encode(text).contains(think), "\(text)")
    }
    for text in ["<think>", "-<think>.", " <think> ", "<think><think>", "你好。<think>"] {
      #expect(try tokenizer.encode(text).contains(think), "\(text)")
    }
    // A message's letters must not combine with the text around it.
    #expect(try !tokenizer.encode("a<|im_end|>", ordinary: [0..<1]).ids.contains(end))
  }

  @Test("white space that stripping tokens share is read once")
  func strippingTokensOfWhiteSpace() throws {
    let json = String(decoding: try small.json(), as: UTF8.self)
      .replacingOccurrences(of: #""lstrip": false, "rstrip": false"#, with: #""lstrip": true, "rstrip": true"#)
      .replacingOccurrences(of: "\"<think>\"", with: "\"\\t\"")
    let tokenizer = try Tokenizer(json: Data(json.utf8), path: "f")
    // Quadratic time would be minutes.
    let ids = try tokenizer.encode(String(repeating: "\t ", count: 200_000))
    #expect(ids.filter { $0 == think }.count == 200_000)
  }
}
