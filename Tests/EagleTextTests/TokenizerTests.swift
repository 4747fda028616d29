import EagleText
import Foundation
import Testing

@Suite struct TokenizerTests {
  @Test("merges are applied by rank, and equal ranks from the left")
  func mergesGoByRankAndThenFromTheLeft() throws {
    let tokenizer = try SmallVocabulary(merges: [("a", "b"), ("a", "a"), ("aa", "b")]).tokenizer()
    let (a, b, ab, aa) = (Int32(97), Int32(98), Int32(256), Int32(257))
    #expect(try tokenizer.encode("ab") == [ab])
    #expect(try tokenizer.encode("aab") == [a, ab], "a+b has the lower rank")
    #expect(try tokenizer.encode("aaa") == [aa, a], "of two equal merges the leftmost goes first")
    #expect(try tokenizer.encode("bbb") == [b, b, b])
    #expect(try tokenizer.encode("").isEmpty)
  }

  @Test("no merge crosses the border of two words")
  func wordsAreCutBeforeMerging() throws {
    let small = SmallVocabulary()
    let tokenizer = try small.tokenizer()
    #expect(try tokenizer.encode("hello world") == [259, 260] + Array("orld".utf8).map(Int32.init))
    #expect(tokenizer.decode([259, 260], skipSpecial: false) == "hello w")
    #expect(tokenizer.vocabularySize == small.tokens.count)
  }

  @Test("encoding a word of a megabyte takes no quadratic time")
  func aVeryLongWordTakesNoQuadraticTime() throws {
    let tokenizer = try SmallVocabulary(merges: [("a", "a"), ("aa", "aa")]).tokenizer()
    let ids = try tokenizer.encode(String(repeating: "a", count: 1_000_003))
    #expect(ids.count == 250_002)
    #expect(ids.dropLast(2).allSatisfy { $0 == 257 })
    #expect(ids.suffix(2) == [256, 97])
  }

  @Test("added tokens are recognised in text, and not in ordinary text")
  func addedTokensAreFoundInTextUnlessItIsOrdinary() throws {
    let small = SmallVocabulary()
    let tokenizer = try small.tokenizer()
    let (first, text) = (small.firstControl, "x<|im_start|>y<think><|im_end|>")
    #expect(try tokenizer.encode(text) == [120, first + 1, 121, first + 3, first + 2])
    #expect(try tokenizer.encodeOrdinary(text) == Array(text.utf8).map(Int32.init))
    #expect(try tokenizer.decode(tokenizer.encodeOrdinary(text), skipSpecial: true) == text)
  }

  @Test("decoding can skip special tokens")
  func specialTokensCanBeLeftOutOfText() throws {
    let small = SmallVocabulary()
    let tokenizer = try small.tokenizer()
    let ids = try tokenizer.encode("a<|im_end|>b<think>")
    #expect(tokenizer.decode(ids, skipSpecial: true) == "ab<think>")
    #expect(tokenizer.decode(ids, skipSpecial: false) == "a<|im_end|>b<think>")
    #expect(tokenizer.isSpecial(small.firstControl) && !tokenizer.isSpecial(small.firstControl + 3))
    #expect(!tokenizer.isSpecial(97) && !tokenizer.isSpecial(-1))
  }

  @Test("tokens are looked up by their text in the file")
  func tokensAreLookedUpAsTheFileWritesThem() throws {
    let small = SmallVocabulary()
    let tokenizer = try small.tokenizer()
    #expect(tokenizer.id(of: "Ġw") == 260 && tokenizer.bytes(of: 260) == [0x20, 0x77])
    #expect(tokenizer.id(of: "<|im_end|>") == small.firstControl + 2)
    #expect(tokenizer.id(of: " w") == nil && tokenizer.id(of: "nothing") == nil)
    #expect(tokenizer.bytes(of: 0xFF) == [0xFF] && tokenizer.bytes(of: -1) == nil)
    #expect(tokenizer.bytes(of: Int32(tokenizer.vocabularySize)) == nil)
  }

  @Test("canonically equivalent spellings have different tokens")
  func canonicallyEquivalentTextsStayDifferent() throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    #expect(try tokenizer.encode("e\u{301}") == [0x65, 0xCC, 0x81], "a letter and a combining accent")
    #expect(try tokenizer.encode("\u{E9}") == [0xC3, 0xA9], "the composed letter")
  }

  @Test("invalid bytes decode to replacement characters, and unknown ids to nothing")
  func invalidBytesDecodeToReplacementCharacters() throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    #expect(tokenizer.decode([0xE4, 0xBD, 0xA0], skipSpecial: false) == "你")
    #expect(tokenizer.decode([0xE4, 0xBD, 97, 0xFF, 0xFF], skipSpecial: false) == "\u{FFFD}a\u{FFFD}\u{FFFD}")
    #expect(tokenizer.decode([97, 99_999, -5, 98], skipSpecial: false) == "ab")
  }

  @Test("threads can encode concurrently") func manyThreadsMayEncodeAtOnce() async throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    let text = String(repeating: "hello world, well well 123\n\n", count: 200)
    let expected = try tokenizer.encode(text)
    try await withThrowingTaskGroup(of: [Int32].self) { group in
      for _ in 0..<8 { group.addTask { try tokenizer.encode(text) } }
      for try await ids in group { #expect(ids == expected) }
    }
  }

  @Test("ids are the same when the cache of words is full")
  func aFullWordCacheChangesNothing() throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    let words = (0..<70_000).map { "hello\($0)" }.joined(separator: " ")
    #expect(try tokenizer.decode(tokenizer.encode(words), skipSpecial: false) == words)
    #expect(try tokenizer.encode("hello1") == [259, 49])
  }
}

@Suite struct StreamingDecoderTests {
  @Test("a stream gives whole characters only")
  func charactersAreNeverSplit() throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    var decoder = tokenizer.makeStreamingDecoder(skipSpecial: false)
    let pieces = Array("a你👍".utf8).map { decoder.append(Int32($0)) }
    #expect(pieces == ["a", "", "", "你", "", "", "", "👍"])
    #expect(decoder.finish().isEmpty)
  }

  @Test("an incomplete character at the end of a stream is replaced")
  func aHalfCharacterAtTheEndIsReplaced() throws {
    var decoder = try SmallVocabulary().tokenizer().makeStreamingDecoder(skipSpecial: false)
    #expect(decoder.append(0xE4).isEmpty && decoder.append(0xBD).isEmpty)
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(decoder.finish().isEmpty)
  }

  /// Sequences of three bytes that cover the cases of UTF-8: all parts together equal the text that is decoded at once.
  @Test("the parts of a stream make up the decoded text")
  func piecesTogetherAreTheWholeText() throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    let telling: [Int32] = [
      0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5,
    ]
    for first in telling {
      for second in telling {
        for third in telling {
          for ids in [[first, second, third], [first, second, third, 0x80, 0x42]] {
            var decoder = tokenizer.makeStreamingDecoder(skipSpecial: false)
            let streamed = ids.map { decoder.append($0) }.joined() + decoder.finish()
            #expect(streamed.unicodeScalars.elementsEqual(tokenizer.decode(ids, skipSpecial: false).unicodeScalars))
          }
        }
      }
    }
  }

  @Test("a stream skips special tokens")
  func specialTokensAreLeftOut() throws {
    let small = SmallVocabulary()
    var decoder = try small.tokenizer().makeStreamingDecoder(skipSpecial: true)
    #expect(decoder.append(97) + decoder.append(small.firstControl + 2) + decoder.append(98) == "ab")
  }

  /// All texts of up to six letters of an alphabet in which stop strings overlap with themselves and with each other.
  @Test("a stop string ends a stream, and is not in its text")
  func stopStringsEndAStreamBeforeThem() throws {
    let tokenizer = try SmallVocabulary().tokenizer()
    let stops = ["aab", "你a", "ba\u{301}b"]
    var stopped = 0
    for number in 0..<4096 {
      let text = (0..<6).map { ["a", "b", "你", "a\u{301}"][number >> (2 * $0) & 3] }.joined()
      var stream = StreamingDetokenizer(tokenizer, stops: stops)
      let streamed = text.utf8.map { stream.append(Int32($0)) }.joined() + stream.finish()
      let bytes = Array(text.utf8)
      let end = bytes.indices.first { i in stops.contains { bytes[i...].starts(with: $0.utf8) } }
      #expect(Array(streamed.utf8) == Array(bytes[..<(end ?? bytes.count)]))
      #expect(stream.isStopped == (end != nil))
      stopped += end == nil ? 0 : 1
    }
    #expect(stopped > 300 && stopped < 3000)
  }

  @Test("a stream holds text back only while it may begin a stop string")
  func textIsHeldBackOnlyWhileAStopStringMayFollow() throws {
    var stream = StreamingDetokenizer(try SmallVocabulary().tokenizer(), stops: ["END"])
    #expect("xEN".utf8.map { stream.append(Int32($0)) } == ["x", "", ""])
    #expect(stream.append(Int32(UInt8(ascii: "x"))) == "ENx")
    #expect("EN".utf8.map { stream.append(Int32($0)) } == ["", ""] && stream.finish() == "EN")
  }

  @Test("a long stop string that the text keeps beginning costs time that is linear in the text")
  func longStopStrings() throws {
    let stop = String(repeating: "a", count: 100_000) + "b"
    var stream = StreamingDetokenizer(try SmallVocabulary().tokenizer(), stops: [stop])
    var count = 0
    // Quadratic time would be hours.
    for _ in 0..<400_000 { count += stream.append(97).utf8.count }
    #expect(count == 300_000 && !stream.isStopped)
    #expect(stream.append(98).isEmpty && stream.isStopped)
  }

  @Test("words are cut by what tokenizers of the o200k kind write: look-ahead, classes of categories, inline flags")
  func constructsOfRealPatterns() throws {
    let letters =
      #"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t)?"#
    let pattern = letters + #"|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"#
    let split =
      #"{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": ""# + pattern
      + #""}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}, "x": {"#
    let json = try SmallVocabulary().json(replacing: #""pre_tokenizer": {"#, with: #""pre_tokenizer": "# + split)
    let tokenizer = try Tokenizer(json: json, path: "f")
    let text = "It'S 12345 камень!/\n  x"
    #expect(tokenizer.decode(try tokenizer.encode(text), skipSpecial: false) == text)
  }

  @Test("white space beside a token that takes it along is found without reading the whole text each time")
  func strippingTokensAreLinear() throws {
    let json = try SmallVocabulary().json(replacing: #""lstrip": false"#, with: #""lstrip": true"#)
    let tokenizer = try Tokenizer(json: json, path: "f")
    let id = try #require(tokenizer.id(of: "<think>"))
    #expect(try tokenizer.encode("a \u{3000}\n<think>").last == id)
    // Quadratic time would be minutes.
    let ids = try tokenizer.encode(String(repeating: "  \u{2003}<think>", count: 100_000))
    #expect(ids == [Int32](repeating: id, count: 100_000))
  }
}
