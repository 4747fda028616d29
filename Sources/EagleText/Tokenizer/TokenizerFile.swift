import Foundation

/// Writes the two tokenizer files of a Hugging Face folder from what a GGUF file holds.
package enum TokenizerFile {
  /// GGUF's kinds of tokens, as far as byte-level BPE vocabularies have them.
  private enum Kind {
    static let control: Int32 = 3
    static let userDefined: Int32 = 4
    static let unused: Int32 = 5
  }

  /// The content of a tokenizer.json.
  ///
  /// - Parameters:
  ///   - tokens: `tokenizer.ggml.tokens`, in GPT-2's byte alphabet (control and user-defined ones as plain text); the
  ///     index is the id. Unused ones (type 5) are left out.
  ///   - merges: `tokenizer.ggml.merges`, "left right" in order of rank.
  ///   - tokenTypes: `tokenizer.ggml.token_type`, one for each token.
  ///   - preTokenizer: `tokenizer.ggml.pre`. An unknown name is an error that gives it, and so is `default`, which says
  ///     nothing about the model's words.
  package static func json(
    tokens: [String], merges: [String], tokenTypes: [Int32], preTokenizer: String
  ) throws -> Data {
    guard tokens.count == tokenTypes.count else {
      throw TextError("the GGUF vocabulary has \(tokens.count) tokens, but \(tokenTypes.count) token types")
    }
    let style = try PreTokenizerStyle(ggufName: preTokenizer)
    let vocabulary = try vocabularyEntries(tokens, tokenTypes)
    let mergeLines = try merges.enumerated().map(mergeLine)
    let document = """
      {
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [\(list(addedEntries(tokens, tokenTypes), indent: 4))],
        "normalizer": \(style.normalizer),
        "pre_tokenizer": \(style.preTokenizer),
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
          "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
          "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
          "ignore_merges": \(style.ignoresMerges),
          "vocab": {\(list(vocabulary, indent: 6))},
          "merges": [\(list(mergeLines, indent: 6))]
        }
      }

      """
    return Data(document.utf8)
  }

  /// The content of a tokenizer_config.json. Fails only when a text cannot be written as JSON.
  package static func config(chatTemplate: String, bos: String?, eos: String?, pad: String?) throws -> Data {
    let fields: [(name: String, value: String?)] = [
      ("tokenizer_class", "PreTrainedTokenizerFast"), ("bos_token", bos), ("eos_token", eos), ("pad_token", pad),
      ("chat_template", chatTemplate),
    ]
    let flags = ["\"add_prefix_space\": false", "\"clean_up_tokenization_spaces\": false"]
    let texts = fields.map { field in "\(quoted(field.name)): \(field.value.map(quoted) ?? "null")" }
    return Data("{\(list(flags + texts, indent: 2))}\n".utf8)
  }

  private static func vocabularyEntries(_ tokens: [String], _ types: [Int32]) throws -> [String] {
    var seen = ByteTable(capacity: tokens.count)
    var entries: [String] = []
    for (id, token) in tokens.enumerated() where types[id] != Kind.unused {
      guard seen.insert(Array(token.utf8), Int32(id)) else {
        throw TextError("the GGUF vocabulary has the token \"\(token)\" twice, the second time as id \(id)")
      }
      entries.append("\(quoted(token)): \(id)")
    }
    return entries
  }

  private static func addedEntries(_ tokens: [String], _ types: [Int32]) -> [String] {
    zip(tokens, types).enumerated().compactMap { id, entry in
      guard entry.1 == Kind.control || entry.1 == Kind.userDefined else { return nil }
      return "{\"id\": \(id), \"content\": \(quoted(entry.0)), \"single_word\": false, \"lstrip\": false, "
        + "\"rstrip\": false, \"normalized\": false, \"special\": \(entry.1 == Kind.control)}"
    }
  }

  private static func mergeLine(rank: Int, merge: String) throws -> String {
    let parts = merge.split(separator: " ", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
      throw TextError("merge \(rank) of the GGUF vocabulary, \"\(merge)\", is not two tokens with a space between")
    }
    return quoted(merge)
  }

  private static func list(_ entries: [String], indent: Int) -> String {
    guard !entries.isEmpty else { return "" }
    let margin = "\n" + String(repeating: " ", count: indent)
    return margin + entries.joined(separator: "," + margin) + "\n" + String(repeating: " ", count: indent - 2)
  }

  /// `text` as a JSON string.
  static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}

/// How a model family cuts text into words, as JSON for tokenizer.json.
private struct PreTokenizerStyle {
  var normalizer = "null"
  var preTokenizer: String
  var ignoresMerges = false

  /// The style that GGUF calls by `name`.
  init(ggufName name: String) throws {
    let whole = PreTokenizerStyle.byteLevel(useRegex: true)
    switch name {
    case "gpt-2": preTokenizer = whole
    case "smollm":
      preTokenizer = PreTokenizerStyle.sequence([#"{"type": "Digits", "individual_digits": true}"#, whole])
    case "qwen2":
      normalizer = #"{"type": "NFC"}"#
      preTokenizer = PreTokenizerStyle.split(numbers: #"\p{N}"#)
    case "llama-bpe":
      preTokenizer = PreTokenizerStyle.split(numbers: #"\p{N}{1,3}"#)
      ignoresMerges = true
    default:
      throw TextError(
        "the GGUF pre-tokenizer \"\(name)\" is not supported: smollm, qwen2, gpt-2 and llama-bpe are")
    }
  }

  private static func split(numbers: String) -> String {
    let pattern =
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    let regex = TokenizerFile.quoted(pattern)
    let split = #"{"type": "Split", "pattern": {"Regex": "# + regex + #"}, "behavior": "Isolated", "invert": false}"#
    return sequence([split, byteLevel(useRegex: false)])
  }

  private static func byteLevel(useRegex: Bool) -> String {
    #"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": \#(useRegex)}"#
  }

  private static func sequence(_ components: [String]) -> String {
    #"{"type": "Sequence", "pretokenizers": [\#(components.joined(separator: ", "))]}"#
  }
}
