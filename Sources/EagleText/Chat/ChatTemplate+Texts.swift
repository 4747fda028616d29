import EagleCore
import Foundation

extension ChatTemplate {
  /// The templates of a folder by name, as `load` finds them: `default`, perhaps `tool_use`, and others of a list.
  package static func texts(folder: String) throws -> [String: String] {
    var texts = try TokenizerSettings(TextFiles(folder: folder)).templates
    func read(_ name: String) -> String? {
      FileManager.default.contents(atPath: "\(folder)/\(name)").map { String(decoding: $0, as: UTF8.self) }
    }
    guard let own = read("chat_template.jinja") else { return texts }
    texts["default"] = own
    texts["tool_use"] = read("additional_chat_templates/tool_use.jinja")
    return texts
  }

  /// The text of a special token, such as `bos_token`, that a folder's tokenizer_config.json names.
  package static func specialToken(_ name: String, folder: String) throws -> String? {
    try TokenizerSettings(TextFiles(folder: folder)).specialTokens[name]?.string
  }
}
