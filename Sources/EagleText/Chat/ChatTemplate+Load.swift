import EagleCore
import Foundation

extension ChatTemplate {
  /// The template called `name` for the model in a folder.
  ///
  /// `auto` is the folder's own: chat_template.jinja, else `chat_template` in tokenizer_config.json, whose list of
  /// named templates has a `default` and perhaps a `tool_use`. Other names are those of such a list, of a built-in
  /// template, and of a file that ends in `.jinja`.
  ///
  /// - Throws: when there is no such template, and when it cannot be run
  package static func load(
    folder: String, name: String = "auto", options: JSON.Object = JSON.Object(), tokenizer: Tokenizer
  ) throws -> ChatTemplate {
    try load(files: TextFiles(folder: folder), name: name, options: options, tokenizer: tokenizer)
  }

  /// The same from the text files of a model.
  package static func load(
    files: TextFiles, name: String = "auto", options: JSON.Object = JSON.Object(), tokenizer: Tokenizer
  ) throws -> ChatTemplate {
    try ChatTemplate(try source(files, name: name), options: options, tokenizer: tokenizer)
  }

  /// Templates that need no file: plain ChatML, and ChatML with SmolLM2's system message.
  package static let builtIn: [String: String] = [
    "chatml": chatML(system: nil), "qwen3-instruct": chatML(system: nil),
    "smollm2": chatML(system: "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
  ]

  private static func chatML(system: String?) -> String {
    let opening = system.map {
      "{% if messages[0].role != 'system' %}<|im_start|>system\n\($0)<|im_end|>\n{% endif %}"
    }
    return (opening ?? "")
      + "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
      + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
  }

  private static func source(_ files: TextFiles, name: String) throws -> Source {
    let config = try TokenizerSettings(files)
    if let own = try own(files, config, name: name) { return own }
    if let text = builtIn[name] { return config.source(path: "the built-in template \(name)", text: text) }
    guard name.hasSuffix(".jinja") else { throw missing(name, files, config) }
    guard let bytes = FileManager.default.contents(atPath: name) else {
      throw TextError("\(name): there is no such chat template")
    }
    return config.source(path: name, text: String(decoding: bytes, as: UTF8.self))
  }

  private static func missing(_ name: String, _ files: TextFiles, _ config: TokenizerSettings) -> TextError {
    let names = builtIn.keys.sorted().joined(separator: ", ")
    let place = files.isFolder ? "in it and no chat_template.jinja beside it" : "in its metadata"
    return TextError(
      name == "auto"
        ? "\(config.path): there is no chat_template \(place); name a template instead: \(names), or a .jinja file"
        : "there is no chat template \"\(name)\" in \(files.path): choose auto, \(names), or a file that ends in .jinja"
    )
  }

  /// The model's own template, or one of its named ones.
  private static func own(_ files: TextFiles, _ config: TokenizerSettings, name: String) throws -> Source? {
    func text(_ file: String) -> String? { files.content(file).map { String(decoding: $0, as: UTF8.self) } }
    let file = "chat_template.jinja"
    if name == "auto", let own = text(file) {
      var source = config.source(path: files.place(of: file), text: own)
      source.toolText = text("additional_chat_templates/tool_use.jinja")
      return source
    }
    guard let text = config.templates[name == "auto" ? "default" : name] else { return nil }
    var source = config.source(path: config.path, text: text)
    if name == "auto" { source.toolText = config.templates["tool_use"] }
    return source
  }
}

/// What tokenizer_config.json says about templates.
struct TokenizerSettings {
  let path: String
  /// By name; a template without one is called `default`.
  private(set) var templates: [String: String] = [:]
  private(set) var specialTokens = JSON.Object()

  /// Reads the file where there is one.
  init(_ files: TextFiles) throws {
    let name = "tokenizer_config.json"
    path = files.place(of: name)
    guard let bytes = files.content(name) else { return }
    let value: JSON
    do { value = try JSON.read(bytes) } catch { throw TextError("\(path): not valid JSON: \(error)") }
    guard let fields = value.object else { throw TextError("\(path): expected an object, not \(value.kind)") }
    templates = try Self.templates(fields["chat_template"] ?? .null, path)
    for (key, value) in fields.entries where key.hasSuffix("_token") {
      if let text = value.string ?? value.object?["content"]?.string { specialTokens[key] = .string(text) }
    }
  }

  private static func templates(_ value: JSON, _ path: String) throws -> [String: String] {
    if value.isNull { return [:] }
    if let text = value.string { return ["default": text] }
    let named = value.array?.compactMap { entry -> (String, String)? in
      guard let name = entry.object?["name"]?.string, let text = entry.object?["template"]?.string else { return nil }
      return (name, text)
    }
    guard let named, named.count == value.array?.count else {
      throw TextError("\(path): at chat_template: expected a text, or a list of objects with name and template")
    }
    return Dictionary(named) { first, _ in first }
  }

  func source(path: String, text: String) -> ChatTemplate.Source {
    var source = ChatTemplate.Source(path: path, text: text)
    source.specialTokens = specialTokens
    return source
  }
}
