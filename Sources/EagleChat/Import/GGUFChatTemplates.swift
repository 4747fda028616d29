import EagleCore
import EagleStorage

/// The chat templates of a GGUF file.
struct GGUFChatTemplates {
  /// The model's template; nil if the file has none.
  let own: String?
  /// Its other templates by name.
  let named: [String: String]

  /// - Throws: `LocatedError` for a template that the file names but does not contain
  init(of file: GGUFFile) throws {
    let (key, list) = ("tokenizer.chat_template", "tokenizer.chat_templates")
    let text = file.contains(key: key) ? try file.string(key) : ""
    own = text.isEmpty ? nil : text
    let present = file.metadata.keys.filter { $0.hasPrefix("\(key).") }.map { String($0.dropFirst(key.count + 1)) }
    let names = Set(present + (file.contains(key: list) ? try file.strings(list) : []))
    named = try names.subtracting(["default"]).reduce(into: [:]) { $0[$1] = try file.string("\(key).\($1)") }
  }
}
