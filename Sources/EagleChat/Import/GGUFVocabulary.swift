import EagleCore
import EagleModels
import EagleStorage
import EagleText
import Foundation

/// The tokenizer of a GGUF model.
struct GGUFVocabulary {
  /// The algorithm of the tokenizer, with its data.
  private enum Kind {
    /// `gpt2`.
    case byteLevel(merges: [String], preTokenizer: String)
    /// `llama` and `gemma4`.
    case sentencePiece(SentencePieceMerges, unknown: Int?, addsSpacePrefix: Bool)
  }

  private let ids: GGUFTokenIDs
  private let path: String
  private let tokens: [String]
  private let types: [Int32]
  private let kind: Kind
  private let framing: TokenizerFile.Framing
  private let templates: GGUFChatTemplates
  /// Whether control tokens absorb the white space after them, as those of Phi-3 do; GGUF files do not store this.
  private let stripsBehindControl: Bool

  /// Reads the tokenizer of a model whose embedding has `vocabularySize` rows.
  ///
  /// - Throws: `LocatedError` for another tokenizer, and if neither the file nor the architecture names the
  ///   pre-tokenizer
  init(of file: GGUFFile, _ architecture: GGUFArchitecture, vocabularySize: Int) throws {
    try self.init(of: file, preTokenizer: architecture.preTokenizer)
    guard tokens.count <= vocabularySize else {
      throw LocatedError(
        path: file.path, problem: "the tokenizer has \(tokens.count) tokens, the embedding \(vocabularySize) rows",
        advice: "the file is damaged: copy or download it again")
    }
  }

  /// Reads the tokenizer of any model. `preTokenizer` is that of the architecture, if all its models have the same.
  init(of file: GGUFFile, preTokenizer: String?) throws {
    path = file.path
    tokens = try file.strings("tokenizer.ggml.tokens")
    types = try Self.types(file, count: tokens.count)
    ids = try GGUFTokenIDs(of: file)
    kind = try Self.kind(file, tokens, unknown: ids.unknown, architecturePreTokenizer: preTokenizer)
    framing = try Self.framing(file, kind)
    templates = try GGUFChatTemplates(of: file)
    let names = try ["general.architecture", "general.name"].map { file.contains(key: $0) ? try file.string($0) : "" }
    stripsBehindControl = names.contains { $0.lowercased().replacing("-", with: "").contains("phi3") }
  }

  private static func kind(
    _ file: GGUFFile, _ tokens: [String], unknown: Int?, architecturePreTokenizer: String?
  ) throws -> Kind {
    let model = try file.string("tokenizer.ggml.model")
    let prefixKey = "tokenizer.ggml.add_space_prefix"
    switch model {
    case "gpt2":
      return .byteLevel(
        merges: try file.strings("tokenizer.ggml.merges"),
        preTokenizer: try preTokenizer(file, architecturePreTokenizer))
    case "llama":
      return .sentencePiece(
        .scored(try scores(file, count: tokens.count)), unknown: unknown,
        addsSpacePrefix: file.contains(key: prefixKey) ? try file.bool(prefixKey) : true)
    case "gemma4":
      return .sentencePiece(
        .listed(try file.strings("tokenizer.ggml.merges")), unknown: unknown,
        addsSpacePrefix: file.contains(key: prefixKey) ? try file.bool(prefixKey) : false)
    default:
      throw LocatedError(
        path: file.path, problem: "the tokenizer `\(model)` cannot be read",
        advice: "byte-level BPE (`gpt2`) and SentencePiece BPE (`llama`, `gemma4`) can")
    }
  }

  private static func scores(_ file: GGUFFile, count: Int) throws -> [Double] {
    let key = "tokenizer.ggml.scores"
    let scores = file.metadata[key]?.array?.compactMap(\.float) ?? []
    guard scores.count == count, scores.allSatisfy(\.isFinite) else {
      throw LocatedError(path: file.path, problem: "`\(key)` is not a finite number for each of \(count) tokens")
    }
    return scores
  }

  /// Whether BOS and EOS enclose every text: as the file says, or else as llama.cpp does with this tokenizer.
  private static func framing(_ file: GGUFFile, _ kind: Kind) throws -> TokenizerFile.Framing {
    func flag(_ name: String) throws -> Bool? {
      let key = "tokenizer.ggml.\(name)"
      return file.contains(key: key) ? try file.bool(key) : nil
    }
    let addsBOS: Bool
    switch kind {
    case .byteLevel(_, let name): addsBOS = ["llama-bpe", "llama3", "llama-v3", "falcon3", "tekken"].contains(name)
    case .sentencePiece: addsBOS = true
    }
    return TokenizerFile.Framing(
      addsBOS: try flag("add_bos_token") ?? addsBOS, addsEOS: try flag("add_eos_token") ?? false)
  }

  /// The content of tokenizer.json.
  func tokenizerJSON() throws -> Data {
    do {
      switch kind {
      case .byteLevel(let merges, let preTokenizer):
        return try TokenizerFile.json(tokens: tokens, merges: merges, tokenTypes: types, preTokenizer: preTokenizer)
      case .sentencePiece(let merges, let unknown, let addsSpacePrefix):
        let plain = ["<unk>", "<s>", "<|endoftext|>"]
        return try TokenizerFile.sentencePieceJSON(
          tokens: tokens, tokenTypes: types, merges: merges, unknown: unknown, addsSpacePrefix: addsSpacePrefix
        ) { stripsBehindControl && !plain.contains($0) }
      }
    } catch {
      throw LocatedError(path: path, problem: "\(error)", advice: "the tokenizer of this model cannot be read")
    }
  }

  /// The content of tokenizer_config.json.
  func configJSON() throws -> Data {
    try TokenizerFile.config(
      chatTemplate: templates.own, namedTemplates: templates.named, bos: ids.bos.map { tokens[$0] },
      eos: ids.eos.map { tokens[$0] }, pad: ids.pad.map { tokens[$0] }, framing: framing)
  }

  /// The name of the pre-tokenizer. Files of early 2024 name none, or "default". Every Qwen model has that of Qwen2. A
  /// file of the architecture `llama` may be a Llama 3, a SmolLM or another model, and a wrong pre-tokenizer would give
  /// wrong ids without an error.
  private static func preTokenizer(_ file: GGUFFile, _ ofArchitecture: String?) throws -> String {
    let key = "tokenizer.ggml.pre"
    let name = file.contains(key: key) ? try file.string(key) : nil
    if let name, name != "default" { return name }
    if let ofArchitecture { return ofArchitecture }
    throw LocatedError(
      path: file.path,
      problem: name == nil ? "has no metadata key `\(key)`" : "`\(key)` is \"default\", which names no pre-tokenizer",
      advice: "how a \(try file.string("general.architecture")) model cuts text into words is not known without it: "
        + "convert the model again with a present llama.cpp")
  }

  private static func types(_ file: GGUFFile, count: Int) throws -> [Int32] {
    let key = "tokenizer.ggml.token_type"
    guard file.contains(key: key) else { return [Int32](repeating: 1, count: count) }
    let types = try file.ints(key)
    guard types.count == count else {
      throw LocatedError(path: file.path, problem: "`\(key)` has \(types.count) entries for \(count) tokens")
    }
    return types.map { Int32(clamping: $0) }
  }
}
