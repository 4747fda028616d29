import EagleCore
import EagleModels
import EagleStorage
import EagleText

/// The fields `tokenizer.*` of a GGUF file that belongs to a target.
package enum TargetTokenizerFields {
  private static let prefix = "tokenizer."

  /// The fields of a target: those of its GGUF file unchanged, or built from the files of its folder.
  ///
  /// - Parameters:
  ///   - path: a Hugging Face folder or a `.gguf` file
  ///   - shape: the sizes of the target
  /// - Throws: an error with its name for a tokenizer that a GGUF file cannot describe
  package static func of(target path: String, shape: TargetShape) throws -> [GGUFField] {
    guard path.hasSuffix(".gguf"), !FileTree.isFolder(path) else { return try made(folder: path, shape) }
    let fields = try GGUFFile(path: path).fields(prefix: prefix)
    guard !fields.isEmpty else {
      throw LocatedError(path: path, problem: "has no tokenizer (`\(prefix)*`)", advice: "name a complete model")
    }
    return fields
  }

  private static func made(folder: String, _ shape: TargetShape) throws -> [GGUFField] {
    let content = try GGUFTokenizerContent(
      folder: folder, vocabularySize: shape.vocabularySize, without: shape.omittedTokens)
    return model(content) + [
      .strings(key("tokens"), content.tokens), .int32s(key("token_type"), content.types),
    ] + (try specialTokens(content, folder, shape)) + [
      .bool(key("add_bos_token"), content.addsBOS), .bool(key("add_eos_token"), content.addsEOS),
    ] + (try templates(folder))
  }

  private static func key(_ name: String) -> String { "\(prefix)ggml.\(name)" }

  private static func model(_ content: GGUFTokenizerContent) -> [GGUFField] {
    switch content.model {
    case .byteLevel(let merges, let preTokenizer):
      [.string(key("model"), "gpt2"), .string(key("pre"), preTokenizer), .strings(key("merges"), merges)]
    case .sentencePiece(let scores, let addsSpacePrefix):
      [
        .string(key("model"), "llama"), .string(key("pre"), "default"), .float32s(key("scores"), scores),
        .bool(key("add_space_prefix"), addsSpacePrefix),
      ]
    }
  }

  /// The ids of tokenizer_config.json, else those of config.json.
  private static func specialTokens(
    _ content: GGUFTokenizerContent, _ folder: String, _ shape: TargetShape
  ) throws -> [GGUFField] {
    let other: [(name: String, token: String, id: Int32?)] = [
      ("bos", "bos_token", shape.bosToken), ("eos", "eos_token", shape.eosTokens.first),
      ("unknown", "unk_token", content.unknown), ("padding", "pad_token", shape.padToken),
    ]
    return try other.compactMap { name, token, id in
      let named = try ChatTemplate.specialToken(token, folder: folder).flatMap { content.tokens.firstIndex(of: $0) }
      let known = named ?? id.map(Int.init)
      return known.map { .uint32(key("\(name)_token_id"), $0) }
    }
  }

  private static func templates(_ folder: String) throws -> [GGUFField] {
    let texts = try ChatTemplate.texts(folder: folder)
    let names = texts.keys.filter { $0 != "default" }.sorted()
    let main = texts["default"].map { [GGUFField.string("\(prefix)chat_template", $0)] } ?? []
    guard !names.isEmpty else { return main }
    return main + [.strings("\(prefix)chat_templates", names)]
      + names.map { .string("\(prefix)chat_template.\($0)", texts[$0]!) }
  }
}
