import EagleCore
import EagleStorage

/// The special tokens of a GGUF model.
package struct GGUFTokenIDs: Sendable {
  package let bos: Int?
  package let eos: Int?
  package let pad: Int?
  package let unknown: Int?
  /// The token that ends a turn, where the file names one.
  package let endOfTurn: Int?

  /// - Throws: `LocatedError` for an id outside the vocabulary of the file
  package init(of file: GGUFFile) throws {
    let count = file.metadata["tokenizer.ggml.tokens"]?.array?.count ?? 0
    bos = try Self.id("bos", file, count)
    eos = try Self.id("eos", file, count)
    pad = try Self.id("padding", file, count)
    unknown = try Self.id("unknown", file, count)
    endOfTurn = try Self.id("eot", file, count)
  }

  private static func id(_ name: String, _ file: GGUFFile, _ count: Int) throws -> Int? {
    let key = "tokenizer.ggml.\(name)_token_id"
    guard file.contains(key: key) else { return nil }
    let id = try file.int(key)
    guard 0..<count ~= id else {
      throw LocatedError(path: file.path, problem: "`\(key)` is \(id), the vocabulary has \(count) tokens")
    }
    return id
  }
}
