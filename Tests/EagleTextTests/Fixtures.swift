import EagleText
import Foundation

/// The package root, found from this file: Tests/EagleTextTests/Fixtures.swift.
let packageRoot = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// The folder of `eagle-train import` with the model that some tests use if it exists.
let smolLMFolder = packageRoot.appendingPathComponent("models/SmolLM2-135M-Instruct")
let hasSmolLM = FileManager.default.fileExists(
  atPath: smolLMFolder.appendingPathComponent("tokenizer.json").path)

func fixture(_ name: String) throws -> Data {
  try Data(contentsOf: packageRoot.appendingPathComponent("Tests/Fixtures/\(name)"))
}

/// A text with the ids that Hugging Face tokenizers gives for it.
struct EncodedText: Decodable {
  let text: String
  let ids: [Int32]
  let decoded: String?
}

/// Calls `body` with a folder that is removed afterwards.
func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("eagle-text-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}

/// Calls `body` with a file of `content` that is removed afterwards.
func withTemporaryFile<Result>(_ content: String, name: String = "data.jsonl", _ body: (String) throws -> Result)
  throws -> Result
{
  try withTemporaryFolder { folder in
    let file = folder.appendingPathComponent(name)
    try Data(content.utf8).write(to: file)
    return try body(file.path)
  }
}

/// The message of the `TextError` that `body` throws, empty if it throws none.
func errorText(_ body: () throws -> Void) -> String {
  do {
    try body()
    return ""
  } catch {
    return (error as? TextError)?.description ?? "another error: \(error)"
  }
}

/// GPT-2's byte alphabet, independent of the library's.
let alphabet: [String] = {
  let visible = Set(Array(0x21...0x7E) + Array(0xA1...0xAC) + Array(0xAE...0xFF))
  var next = 0x100
  return (0..<256).map { byte in
    if visible.contains(byte) { return String(Unicode.Scalar(UInt8(byte))) }
    defer { next += 1 }
    return String(Unicode.Scalar(UInt32(next))!)
  }
}()

/// `text` in the byte alphabet.
func visible(_ text: String) -> String { text.utf8.map { alphabet[Int($0)] }.joined() }

/// A vocabulary of all bytes (the id is the byte), the results of `merges` from 256 on, then the control tokens
/// `<|endoftext|>`, `<|im_start|>` and `<|im_end|>`, and `<think>`, which is user-defined.
struct SmallVocabulary {
  static let control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
  let merges: [String]
  var tokens: [String] {
    alphabet + merges.map { $0.split(separator: " ").joined() } + SmallVocabulary.control + ["<think>"]
  }
  var types: [Int32] { Array(repeating: 1, count: 256 + merges.count) + [3, 3, 3, 4] }
  var firstControl: Int32 { Int32(256 + merges.count) }

  /// Merges "a b" of plain text, spelled in the byte alphabet.
  init(merges: [(String, String)] = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), (" ", "w"), ("\n", "\n")]) {
    self.merges = merges.map { "\(visible($0.0)) \(visible($0.1))" }
  }

  func json(preTokenizer: String = "gpt-2") throws -> Data {
    try TokenizerFile.json(tokens: tokens, merges: merges, tokenTypes: types, preTokenizer: preTokenizer)
  }

  func tokenizer(preTokenizer: String = "gpt-2") throws -> Tokenizer {
    try Tokenizer(json: json(preTokenizer: preTokenizer), path: "small/tokenizer.json")
  }

  /// The tokenizer.json with `old` replaced by `new`, which must occur.
  func json(replacing old: String, with new: String) throws -> Data {
    let text = String(decoding: try json(), as: UTF8.self)
    guard text.contains(old) else { throw TextError("the test replaces \(old), which is not there") }
    return Data(text.replacingOccurrences(of: old, with: new).utf8)
  }
}
