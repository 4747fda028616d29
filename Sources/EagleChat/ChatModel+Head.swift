import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleText

extension ChatModel {
  /// Reads a draft head for this model: a folder, or a `.gguf` file, whose tokenizer must be the model's.
  ///
  /// - Throws: as `DraftFolder.read` does, and for a file with another tokenizer
  public func head(at path: String, trainable: Bool = false) throws -> DraftModel {
    let head = try DraftFolder.read(path, target: target, trainable: trainable)
    if DraftGGUF.isFile(path) { try requireSameTokenizer(path) }
    return head
  }

  /// Throws unless every ordinary token of the file has the same id here. The spelling of control tokens may differ.
  private func requireSameTokenizer(_ path: String) throws {
    let file = try GGUFFile(path: path)
    let tokens = try file.strings("tokenizer.ggml.tokens")
    let types = file.contains(key: Self.types) ? try file.ints(Self.types) : []
    let other = tokens.indices.first { id in
      (types.indices.contains(id) ? types[id] : 1) == 1 && tokenizer.id(of: tokens[id]) != Int32(id)
    }
    guard let other else { return }
    let ours = tokenizer.id(of: tokens[other]).map { "\($0)" } ?? "none"
    throw LocatedError(
      path: path,
      problem: "this head is for another target: its token \(other), \"\(tokens[other])\", has the id \(ours) here",
      advice: "use the target that the head was exported for")
  }

  private static let types = "tokenizer.ggml.token_type"
}
