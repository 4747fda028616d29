import Foundation

/// Writes the two tokenizer files of a Hugging Face folder from what a GGUF file holds.
package enum TokenizerFile {
  /// The content of a tokenizer.json with a byte-level vocabulary.
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
    let vocabulary = try GGUFTokenList(tokens, types: tokenTypes)
    let style = try PreTokenizerStyle(ggufName: preTokenizer)
    let decoder = #"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}"#
    return document(
      normalizer: style.normalizer, preTokenizer: style.preTokenizer, decoder: decoder,
      settings: #""unk_token": null, "fuse_unk": false, "byte_fallback": false, "#
        + #""ignore_merges": \#(style.ignoresMerges)"#,
      addedTokens: vocabulary.addedTokens(), vocabulary: try vocabulary.entries(),
      merges: try merges.enumerated().map(mergeLine))
  }

  /// The content of a tokenizer.json with a vocabulary from SentencePiece.
  ///
  /// - Parameters:
  ///   - tokens: `tokenizer.ggml.tokens`; the index is the id. Unused ones (type 5) are left out.
  ///   - tokenTypes: `tokenizer.ggml.token_type`, one for each token.
  ///   - merges: what the GGUF file says about their order.
  ///   - unknown: `tokenizer.ggml.unknown_token_id`.
  ///   - addsSpacePrefix: `tokenizer.ggml.add_space_prefix`: whether a text gets a space in front.
  ///   - stripsRight: whether a control token includes the white space after it, which GGUF does not say.
  package static func sentencePieceJSON(
    tokens: [String], tokenTypes: [Int32], merges: SentencePieceMerges, unknown: Int?, addsSpacePrefix: Bool,
    stripsRight: (String) -> Bool = { _ in false }
  ) throws -> Data {
    let vocabulary = try GGUFTokenList(tokens, types: tokenTypes, unknown: unknown)
    let spaces = #"{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}"#
    let prefix = #"{"type": "Prepend", "prepend": "▁"}, "#
    let decoders = [
      #"{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}"#, #"{"type": "ByteFallback"}"#,
      #"{"type": "Fuse"}"#,
    ]
    let strip = #"{"type": "Strip", "content": " ", "start": 1, "stop": 0}"#
    let lines: [String]
    switch merges {
    case .listed(let merges): lines = try merges.enumerated().map(mergeLine)
    case .scored(let scores): lines = try vocabulary.merges(scores: scores).map { quoted("\($0.left) \($0.right)") }
    }
    return document(
      normalizer: #"{"type": "Sequence", "normalizers": [\#(addsSpacePrefix ? prefix : "")\#(spaces)]}"#,
      preTokenizer: "null",
      decoder: #"{"type": "Sequence", "decoders": ["#
        + (decoders + (addsSpacePrefix ? [strip] : [])).joined(separator: ", ") + "]}",
      settings: #""unk_token": \#(vocabulary.unknown.map { quoted(tokens[$0]) } ?? "null"), "fuse_unk": true, "#
        + #""byte_fallback": \#(vocabulary.hasBytes), "ignore_merges": false"#,
      addedTokens: vocabulary.addedTokens(stripsRight: stripsRight), vocabulary: try vocabulary.entries(), merges: lines
    )
  }

  private static func document(
    normalizer: String, preTokenizer: String, decoder: String, settings: String, addedTokens: [String],
    vocabulary: [String], merges: [String]
  ) -> Data {
    let document = """
      {
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [\(list(addedTokens, indent: 4))],
        "normalizer": \(normalizer),
        "pre_tokenizer": \(preTokenizer),
        "post_processor": null,
        "decoder": \(decoder),
        "model": {
          "type": "BPE", "dropout": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, \(settings),
          "vocab": {\(list(vocabulary, indent: 6))},
          "merges": [\(list(merges, indent: 6))]
        }
      }

      """
    return Data(document.utf8)
  }

  /// Whether BOS and EOS are added around every text; nil leaves it to the tokenizer.json.
  package struct Framing {
    package var addsBOS: Bool?
    package var addsEOS: Bool?

    package init(addsBOS: Bool? = nil, addsEOS: Bool? = nil) { (self.addsBOS, self.addsEOS) = (addsBOS, addsEOS) }
  }

  /// The content of a tokenizer_config.json. Fails only when a text cannot be written as JSON.
  ///
  /// - Parameters:
  ///   - chatTemplate: the model's template; nil where it has none
  ///   - namedTemplates: its other templates, by name
  package static func config(
    chatTemplate: String?, namedTemplates: [String: String] = [:], bos: String?, eos: String?, pad: String?,
    framing: Framing = Framing()
  ) throws -> Data {
    let fields: [(name: String, value: String?)] = [
      ("tokenizer_class", "PreTrainedTokenizerFast"), ("bos_token", bos), ("eos_token", eos), ("pad_token", pad),
    ]
    var flags = ["\"add_prefix_space\": false", "\"clean_up_tokenization_spaces\": false"]
    if let addsBOS = framing.addsBOS { flags.append("\"add_bos_token\": \(addsBOS && bos != nil)") }
    if let addsEOS = framing.addsEOS { flags.append("\"add_eos_token\": \(addsEOS && eos != nil)") }
    let template = "\"chat_template\": \(templates(chatTemplate, named: namedTemplates))"
    let texts = fields.map { field in "\(quoted(field.name)): \(field.value.map(quoted) ?? "null")" } + [template]
    return Data("{\(list(flags + texts, indent: 2))}\n".utf8)
  }

  /// A template by itself, or the list of all when there are named ones.
  private static func templates(_ own: String?, named: [String: String]) -> String {
    if named.isEmpty { return own.map(quoted) ?? "null" }
    let all = named.merging(own.map { ["default": $0] } ?? [:]) { $1 }.sorted { $0.key < $1.key }
    let entries = all.map { "{\"name\": \(quoted($0.key)), \"template\": \(quoted($0.value))}" }
    return "[\(entries.joined(separator: ", "))]"
  }

  private static func mergeLine(rank: Int, merge: String) throws -> String {
    let parts = merge.unicodeScalars.split(separator: " ", omittingEmptySubsequences: false)
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
