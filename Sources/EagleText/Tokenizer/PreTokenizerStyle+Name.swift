import EagleCore

extension PreTokenizerStyle {
  /// The name that GGUF has for the style of a tokenizer.json; nil where it has none.
  ///
  /// Spellings that mean the same are the same style: a component alone or in a Sequence, defaults left out.
  static func ggufName(_ document: TokenizerDocument) throws -> String? {
    let normalizer = try components(document.normalizer)
    let preTokenizer = try components(document.preTokenizer)
    return try ggufNames.first { name in
      let style = try PreTokenizerStyle(ggufName: name)
      let own = (try components(style.normalizer), try components(style.preTokenizer))
      return style.ignoresMerges == document.model.ignoreMerges && own == (normalizer, preTokenizer)
    }
  }

  /// The parts of a component in order, each by its type and the fields that change what it does.
  static func components(_ component: TokenizerFields?) throws -> [String] {
    guard let component else { return [] }
    let type = try component.required("type", component.string("type"))
    switch type {
    case "Sequence":
      let parts = try component.objects("pretokenizers") ?? component.objects("normalizers") ?? []
      return try parts.flatMap { try components($0) }
    case "ByteLevel":
      return [
        "ByteLevel prefix \(try component.bool("add_prefix_space") ?? true) regex \(try component.bool("use_regex") ?? true)"
      ]
    case "Digits": return ["Digits \(try component.bool("individual_digits") ?? false)"]
    case "Punctuation": return ["Punctuation \(try component.string("behavior") ?? "Isolated")"]
    case "Split":
      let pattern = try component.fields("pattern")
      let text = try pattern?.string("Regex").map { "/\($0)/" } ?? pattern?.string("String") ?? ""
      return [
        "Split \(text) \(try component.string("behavior") ?? "") \(try component.bool("invert") ?? false)"
      ]
    case "NFC": return [type]
    default: return [JSON.object(component.object).text()]
    }
  }

  private static func components(_ json: String) throws -> [String] {
    let value = try JSON.read(Array(json.utf8))
    return value.isNull ? [] : try components(TokenizerFields(value, place: "the style"))
  }
}
