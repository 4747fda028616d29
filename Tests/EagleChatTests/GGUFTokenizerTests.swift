import EagleChat
import EagleCore
import EagleText
import Foundation
import Testing

/// A GGUF file without tensors.
private struct GGUFMetadata {
  private var pairs = Data()
  private var count: UInt64 = 0

  private static func number(_ value: some FixedWidthInteger) -> Data {
    withUnsafeBytes(of: value.littleEndian) { Data($0) }
  }
  private static func text(_ text: String) -> Data { number(UInt64(text.utf8.count)) + Data(text.utf8) }

  private mutating func add(_ key: String, _ type: UInt32, _ value: Data) {
    pairs += Self.text(key) + Self.number(type) + value
    count += 1
  }

  mutating func add(_ key: String, _ value: String) { add(key, 8, Self.text(value)) }
  mutating func add(_ key: String, _ value: Bool) { add(key, 7, Data([value ? 1 : 0])) }
  mutating func add(_ key: String, _ value: UInt32) { add(key, 4, Self.number(value)) }

  private mutating func add(_ key: String, type: UInt32, _ values: [Data]) {
    add(key, 9, Self.number(type) + Self.number(UInt64(values.count)) + values.reduce(Data(), +))
  }

  mutating func add(_ key: String, _ values: [String]) { add(key, type: 8, values.map(Self.text)) }
  mutating func add(_ key: String, _ values: [Int32]) { add(key, type: 5, values.map { Self.number($0) }) }
  mutating func add(_ key: String, _ values: [Float]) { add(key, type: 6, values.map { Self.number($0.bitPattern) }) }

  var file: Data { Data("GGUF".utf8) + Self.number(UInt32(3)) + Self.number(UInt64(0)) + Self.number(count) + pairs }
}

@Suite struct GGUFTokenizerTests {
  private static let tokens =
    ["<unk>", "<s>", "</s>", "a", "b", "▁", "ab", "▁ab", "<|end|>"]
    + (0..<256).map { byte in
      "<0x" + String(0x100 + byte, radix: 16, uppercase: true).dropFirst() + ">"
    }

  /// A file of a SentencePiece model; `change` adds to it.
  private func read(
    model: String = "llama", architecture: String = "llama", scores: [Float]? = nil,
    _ change: (inout GGUFMetadata) -> Void = { _ in }
  ) throws -> (imported: GGUFTokenizer, tokenizer: Tokenizer) {
    var metadata = GGUFMetadata()
    metadata.add("general.architecture", architecture)
    metadata.add("tokenizer.ggml.model", model)
    metadata.add("tokenizer.ggml.tokens", Self.tokens)
    let types = [2, 3, 3] + [Int32](repeating: 1, count: 5) + [3] + [Int32](repeating: 6, count: 256)
    metadata.add("tokenizer.ggml.token_type", types)
    if model != "gemma4" {
      metadata.add("tokenizer.ggml.scores", scores ?? Self.tokens.indices.map { -Float($0) })
    } else {
      metadata.add("tokenizer.ggml.merges", ["a b", "▁ ab"])
    }
    metadata.add("tokenizer.ggml.bos_token_id", UInt32(1))
    metadata.add("tokenizer.ggml.unknown_token_id", UInt32(0))
    change(&metadata)
    let path = NSTemporaryDirectory() + "/eagle-gguf-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: path) }
    try metadata.file.write(to: URL(fileURLWithPath: path))
    let imported = try GGUFTokenizer(gguf: path)
    return (imported, try Tokenizer(json: imported.json, path: path))
  }

  private func config(_ imported: GGUFTokenizer) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: imported.config) as? [String: Any])
  }

  @Test("a llama vocabulary merges by its scores, has a space in front, falls back to bytes and adds BOS")
  func llama() throws {
    let (imported, tokenizer) = try read()
    #expect(try tokenizer.encode("ab ab") == [7, 7])
    #expect(try tokenizer.encode("<s>é<|end|>") == [1, 5, 9 + 0xC3, 9 + 0xA9, 8])
    #expect(tokenizer.decode([7, 7], skipSpecial: true) == "ab ab")
    #expect(try config(imported)["add_bos_token"] as? Bool == true)
    #expect(try config(imported)["bos_token"] as? String == "<s>")
  }

  @Test("a file may say that there is no space in front, and no BOS")
  func flags() throws {
    let (imported, tokenizer) = try read { metadata in
      metadata.add("tokenizer.ggml.add_space_prefix", false)
      metadata.add("tokenizer.ggml.add_bos_token", false)
    }
    #expect(try tokenizer.encode("ab ab") == [6, 7])
    #expect(try config(imported)["add_bos_token"] as? Bool == false)
  }

  @Test("a gemma4 vocabulary merges by its list and puts no space in front")
  func gemma() throws {
    let tokenizer = try read(model: "gemma4", architecture: "gemma4").tokenizer
    #expect(try tokenizer.encode("ab ab\n") == [6, 7, 9 + 0x0A])
  }

  @Test("control tokens of Phi-3 take the white space behind them along")
  func phi() throws {
    #expect(try read(architecture: "phi3").tokenizer.encode("<|end|>\nab<s> ab") == [8, 7, 1, 5, 7])
    #expect(try read { $0.add("general.name", "Phi-3 mini") }.tokenizer.encode("<|end|> ab") == [8, 7])
    #expect(try read().tokenizer.encode("<|end|> ab") == [8, 5, 7])
  }

  @Test("scores that are missing or not finite, and unknown tokenizers, are refused by name")
  func refusals() throws {
    for scores in [[Float](repeating: 0, count: 3), Self.tokens.map { _ in Float.nan }] {
      let error = #expect(throws: LocatedError.self) { try read(scores: scores) }
      #expect(error?.description.contains("`tokenizer.ggml.scores`") == true)
    }
    let error = #expect(throws: LocatedError.self) { try read(model: "t5") }
    #expect(error?.description.contains("the tokenizer `t5` cannot be read") == true)
  }

  @Test("a byte-level vocabulary whose pre-tokenizer is default or missing is refused, whatever the architecture")
  func unnamedPreTokenizers() throws {
    for name in [nil, "default"] {
      let error = #expect(throws: LocatedError.self) {
        try read(model: "gpt2", architecture: "falcon") { metadata in
          metadata.add("tokenizer.ggml.merges", ["a b"])
          if let name { metadata.add("tokenizer.ggml.pre", name) }
        }
      }
      #expect(error?.description.contains("`tokenizer.ggml.pre`") == true)
      #expect(error?.description.contains("how a falcon model cuts text into words is not known") == true)
    }
  }
}
