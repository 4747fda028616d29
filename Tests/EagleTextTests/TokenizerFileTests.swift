import EagleCore
import EagleText
import Foundation
import Testing

@Suite struct TokenizerFileTests {
  @Test(
    "each style of pre-tokenizer splits text into its own words",
    arguments: [
      ("gpt-2", "don't 123", ["don", "'t", " 123"]),
      ("smollm", "ab12 3", ["ab", "1", "2", " ", "3"]),
      ("qwen2", "DON'T 12\n\n x", ["DON", "'T", " ", "1", "2", "\n\n", " x"]),
      ("llama-bpe", "12345 x", ["123", "45", " x"]),
    ])
  func eachStyleCutsItsOwnWords(style: String, text: String, words: [String]) throws {
    // Every word is one token, merged from its characters from the left, so that the tokens show the split into words.
    var merges: [(String, String)] = []
    for word in words.map(Array.init) {
      for end in 1..<max(1, word.count) {
        let (left, right) = (String(word[..<end]), String(word[end]))
        if !merges.contains(where: { $0 == left && $1 == right }) { merges.append((left, right)) }
      }
    }
    let tokenizer = try SmallVocabulary(merges: merges).tokenizer(preTokenizer: style)
    let pieces = try tokenizer.encode(text).map { tokenizer.decode([$0], skipSpecial: false) }
    #expect(pieces == words)
  }

  @Test("text for Qwen is brought to composed form (NFC)")
  func qwenTextIsComposed() throws {
    let tokenizer = try SmallVocabulary().tokenizer(preTokenizer: "qwen2")
    #expect(try tokenizer.encode("e\u{301}") == [0xC3, 0xA9])
    #expect(
      try tokenizer.encode("\u{AC00}\u{11A8}") == tokenizer.encode("\u{AC01}"), "a syllable and a final consonant")
    #expect(try tokenizer.encode("\u{CC6}\u{CC2}\u{CD5}") == tokenizer.encode("\u{CCB}"), "two steps of composition")
    #expect(
      try tokenizer.encode("\u{10053}\u{307}") == Array("\u{10053}\u{307}".utf8).map(Int32.init), "not S with a dot")
    #expect(
      try tokenizer.encode("a\u{323}\u{307} q\u{307}\u{323}") == tokenizer.encode("\u{1EA1}\u{307} q\u{323}\u{307}"))
  }

  @Test("a llama tokenizer takes whole words that are in the vocabulary")
  func llamaPrefersWholeWords() throws {
    // "abc" is in the vocabulary, but merging from the lowest rank reaches "bc" first and stops there.
    let merges = [("b", "c"), ("a", "b"), ("ab", "c")]
    #expect(try SmallVocabulary(merges: merges).tokenizer(preTokenizer: "llama-bpe").encode("abc") == [258])
    #expect(try SmallVocabulary(merges: merges).tokenizer(preTokenizer: "gpt-2").encode("abc") == [97, 256])
  }

  @Test("the token types of a GGUF file decide which tokens are added ones")
  func tokenTypesDecideWhatIsAdded() throws {
    var tokens = SmallVocabulary().tokens
    var types = SmallVocabulary().types
    tokens.append("[PAD0]")
    types.append(5)
    tokens.append("\"\\\u{1}é")
    types.append(4)
    let json = try TokenizerFile.json(
      tokens: tokens, merges: SmallVocabulary().merges, tokenTypes: types, preTokenizer: "gpt-2")
    let tokenizer = try Tokenizer(json: json, path: "f")
    #expect(tokenizer.id(of: "[PAD0]") == nil, "unused ids stay unused")
    #expect(try tokenizer.encode("\"\\\u{1}é") == [Int32(tokens.count - 1)])
    #expect(tokenizer.vocabularySize == tokens.count)
  }

  @Test("inconsistent vocabularies are refused") func inconsistentVocabulariesAreRefused() {
    let small = SmallVocabulary()
    func message(
      tokens: [String]? = nil, merges: [String]? = nil, types: [Int32]? = nil, style: String = "gpt-2"
    ) -> String {
      errorText {
        _ = try TokenizerFile.json(
          tokens: tokens ?? small.tokens, merges: merges ?? small.merges, tokenTypes: types ?? small.types,
          preTokenizer: style)
      }
    }
    #expect(message(style: "bloom").contains("\"bloom\""))
    #expect(message(types: [1, 1]).contains("2 token types"))
    #expect(message(tokens: ["a"] + small.tokens.dropFirst()).contains("the token \"a\" twice"))
    #expect(message(merges: ["h e", "hel"]).contains("merge 1"))
    #expect(message(merges: ["a  b"]).contains("merge 0"))
  }

  @Test("tokenizer_config.json holds the chat template and the special tokens")
  func configurationsAreReadBack() throws {
    let template = "{{ \"x\" }}\n\t\\ \u{1} é"
    let json = try TokenizerFile.config(chatTemplate: template, bos: "<s>", eos: "<|im_end|>", pad: nil)
    let fields = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
    #expect(fields["chat_template"] as? String == template)
    #expect(fields["bos_token"] as? String == "<s>" && fields["eos_token"] as? String == "<|im_end|>")
    #expect(fields["pad_token"] is NSNull)
    #expect(fields["tokenizer_class"] as? String == "PreTrainedTokenizerFast")
  }
}
