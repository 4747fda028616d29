import EagleCore
import Foundation

/// The tokens that a model wants before and after a whole text, such as BOS.
struct TextFrame: Sendable {
  private(set) var before: [Int32] = []
  private(set) var after: [Int32] = []

  /// What the post_processor of a tokenizer.json puts around a single text.
  init(_ component: TokenizerFields?) throws {
    for fields in try component.map(TextFrame.flattened) ?? [] {
      let type = try fields.required("type", try fields.string("type"))
      switch type {
      case "ByteLevel": break
      case "TemplateProcessing": try readTemplate(fields)
      default:
        throw TextError("the post_processor \(type) is not supported: ByteLevel and TemplateProcessing are")
      }
    }
  }

  private static func flattened(_ component: TokenizerFields) throws -> [TokenizerFields] {
    guard try component.string("type") == "Sequence" else { return [component] }
    return try component.objects("processors")?.flatMap(flattened) ?? []
  }

  private mutating func readTemplate(_ fields: TokenizerFields) throws {
    let tokens = try fields.fields("special_tokens")
    var isBehindText = false
    for item in try fields.objects("single") ?? [] {
      if try item.fields("Sequence") != nil {
        isBehindText = true
      } else if let name = try item.fields("SpecialToken")?.string("id") {
        guard let ids = try tokens?.fields(name)?.value("ids")?.int32s else {
          throw TextError("the post_processor has no ids for its token \"\(name)\"")
        }
        if isBehindText { after += ids } else { before += ids }
      }
    }
  }

  /// Follows `add_bos_token` and `add_eos_token` of a tokenizer_config.json, which count more than the post_processor.
  mutating func apply(_ config: TokenizerFields, id: (String) -> Int32?) throws {
    before = try TextFrame.tokens("bos", config, id) ?? before
    after = try TextFrame.tokens("eos", config, id) ?? after
  }

  private static func tokens(
    _ name: String, _ config: TokenizerFields, _ id: (String) -> Int32?
  ) throws -> [Int32]? {
    guard let isAdded = try config.bool("add_\(name)_token") else { return nil }
    guard isAdded else { return [] }
    let key = "\(name)_token"
    // An entry is the token or an object that describes it.
    let text = config.value(key)?.string ?? config.value(key)?.object?["content"]?.string
    guard let text, let token = id(text) else {
      throw TextError(
        "add_\(key) is true, and \(key) is \(text.map { "\"\($0)\"" } ?? "missing"): no token has that text")
    }
    return [token]
  }

  /// `ids` with the tokens around them that are not there already.
  func around(_ ids: [Int32]) -> [Int32] {
    let start = ids.starts(with: before) ? [] : before
    let end = ids.suffix(after.count).elementsEqual(after) ? [] : after
    return start + ids + end
  }
}
