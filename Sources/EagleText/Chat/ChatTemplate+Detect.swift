import Foundation

extension ChatTemplate {
  /// The template called `name`, or with "auto" the one that the model folder's own chat template amounts to.
  ///
  /// Throws when the name is unknown, the folder has no chat template, or its template is not one of the known ones:
  /// another markup than ChatML, thinking blocks, or a default system prompt of its own would be rendered wrongly.
  package static func detect(folder: String, tokenizer: Tokenizer, name: String) throws -> ChatTemplate {
    if name != "auto" { return try ChatTemplate(family(named: name), tokenizer: tokenizer) }
    let (template, path) = try readTemplate(folder: folder)
    guard template.contains("<|im_start|>"), template.contains("<|im_end|>") else {
      throw TextError(
        "\(path): its chat template is not ChatML (<|im_start|> … <|im_end|>), which is what is supported: \(names)")
    }
    if let system = Family.smollm2.defaultSystem, template.contains(system) {
      return try ChatTemplate(.smollm2, tokenizer: tokenizer)
    }
    if let what = otherwiseRendered(template) {
      throw TextError(
        "\(path): its chat template has \(what), which is not supported; where plain ChatML is right, name it: \(names)"
      )
    }
    return try ChatTemplate(.qwen3Instruct, tokenizer: tokenizer)
  }

  /// What plain ChatML would leave out of every prompt. In a template a line break is one character or `\n` in quotes.
  ///
  /// Blocks that a template merely removes from earlier answers, as those of Qwen3-Instruct-2507 may, change nothing.
  private static func otherwiseRendered(_ template: String) -> String? {
    func contains(_ pattern: String) -> Bool { template.range(of: pattern, options: .regularExpression) != nil }
    let lineBreak = #"(\\n|\n)"#
    if contains("enable_thinking") || contains(#"<\|im_start\|>assistant"# + lineBreak + "<think>") {
      return "thinking blocks"
    }
    return contains(#"<\|im_start\|>system"# + lineBreak + "[A-Za-z]") ? "a default system prompt of its own" : nil
  }

  private static var names: String { Family.allCases.map(\.rawValue).joined(separator: ", ") }

  private static func family(named name: String) throws -> Family {
    guard let family = Family(rawValue: name) else {
      throw TextError("there is no chat template \"\(name)\", choose auto, \(names)")
    }
    return family
  }

  /// The template text and the file that it stands in: tokenizer_config.json, or chat_template.jinja beside it.
  private static func readTemplate(folder: String) throws -> (template: String, path: String) {
    let folder = URL(fileURLWithPath: folder)
    let config = folder.appendingPathComponent("tokenizer_config.json").path
    let jinja = folder.appendingPathComponent("chat_template.jinja").path
    if let json = FileManager.default.contents(atPath: config),
      let template = try template(in: json, path: config)
    {
      return (template, config)
    }
    if let bytes = FileManager.default.contents(atPath: jinja) {
      return (String(decoding: bytes, as: UTF8.self), jinja)
    }
    throw TextError(
      "\(config): there is no chat_template in it and no chat_template.jinja beside it; name one of \(names) instead")
  }

  private static func template(in json: Data, path: String) throws -> String? {
    do {
      return try JSONDecoder().decode(TokenizerConfig.self, from: json).chatTemplate?.text
    } catch {
      throw TextError(decoding: error, path: path)
    }
  }

  private struct TokenizerConfig: Decodable {
    let chatTemplate: Template?

    enum CodingKeys: String, CodingKey {
      case chatTemplate = "chat_template"
    }
  }

  /// One template, or several by name, of which the one called "default" counts.
  private struct Template: Decodable {
    let text: String?

    private struct Named: Decodable {
      let name: String
      let template: String
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let text = try? container.decode(String.self) {
        self.text = text
      } else {
        text = try container.decode([Named].self).first { $0.name == "default" }?.template
      }
    }
  }
}
