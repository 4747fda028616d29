import EagleChat
import EagleCore
import EagleModels
import EagleStorage
import Foundation
import Testing

/// The tokenizer of a folder as a GGUF file's fields: the reverse of the import.
@Suite struct TargetTokenizerFieldsTests {
  private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Fixtures/gguf").path
  private static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { $0.hasSuffix(".gguf") }.sorted()

  private func folder(of name: String, _ body: (String) throws -> Void) throws {
    let folder = NSTemporaryDirectory() + "/eagle-fields-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try GGUFImport.run(gguf: "\(Self.fixtures)/\(name)", output: folder) { _ in }
    try body(folder)
  }

  @Test("what an import made is written as it was", arguments: names)
  func roundTrip(name: String) throws {
    let source = try GGUFFile(path: "\(Self.fixtures)/\(name)")
    try folder(of: name) { folder in
      let fields = try TargetTokenizerFields.of(target: folder, shape: try TargetShape(folder: folder))
      let path = "\(folder)/fields.gguf"
      try GGUFWriter.write(path: path, fields: fields, tensors: [])
      let written = try GGUFFile(path: path)
      for key in ["model", "merges", "bos_token_id", "eos_token_id"].map({ "tokenizer.ggml.\($0)" }) {
        #expect(written.metadata[key] == source.metadata[key], "\(key)")
      }
      // Rows of the embedding without a token are unused ones.
      let tokens = try source.strings("tokenizer.ggml.tokens")
      let types = try source.ints("tokenizer.ggml.token_type")
      #expect(try written.strings("tokenizer.ggml.tokens").starts(with: tokens))
      let all = try written.ints("tokenizer.ggml.token_type")
      #expect(all.starts(with: types) && all.dropFirst(types.count).allSatisfy { $0 == 5 })
    }
  }

  @Test("a GGUF target's own fields are taken as they are")
  func copied() throws {
    let path = "\(Self.fixtures)/llama3.gguf"
    let file = try GGUFFile(path: path)
    try folder(of: "llama3.gguf") { folder in
      let fields = try TargetTokenizerFields.of(target: path, shape: try TargetShape(folder: folder))
      #expect(fields == file.fields(prefix: "tokenizer.") && !fields.isEmpty)
    }
  }

  @Test("a pre-tokenizer without a name is refused by name")
  func unnamed() throws {
    try folder(of: "llama3.gguf") { folder in
      let url = URL(fileURLWithPath: "\(folder)/tokenizer.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      let changed = text.replacing(
        "\"pre_tokenizer\":",
        with:
          "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": false}, "
      ).replacing(
        "\"post_processor\":", with: "\"post_processor\":")
      // Closes the Sequence that was opened before the old value.
      let closed = changed.replacing(#/},\n  "post_processor"/#, with: "}]},\n  \"post_processor\"")
      try Data(closed.utf8).write(to: url)
      let error = #expect(throws: LocatedError.self) {
        try TargetTokenizerFields.of(target: folder, shape: try TargetShape(folder: folder))
      }
      #expect(error?.description.contains("Digits") == true, "\(error?.description ?? "")")
    }
  }
}
