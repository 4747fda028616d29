import EagleCore
import EagleJinja
import Foundation

/// The chat template of a model, a Jinja program, and the tokens that it ends turns with.
///
/// What it renders is tokenised as Hugging Face transformers does, with one difference on purpose: a content that
/// spells out a special token, such as `<|im_end|>`, stays text and cannot forge a turn.
package struct ChatTemplate: Sendable {
  /// The source of the template, and of the one for conversations with tools where there are two.
  package let source: Source
  /// Variables of every rendering in addition to the conversation: `enable_thinking`, `reasoning_effort`.
  package let options: JSON.Object
  /// The id of the token that ends an answer.
  package let endOfTurn: Int32
  /// The ids at which an answer ends: the end of turn, and the end of text where the tokenizer names one.
  package let stopIDs: Set<Int32>

  private let template: Template
  private let toolTemplate: Template?
  package let form: MessageForm
  /// The texts of `stopIDs`.
  let stopTexts: [[UInt8]]

  /// The texts of templates and of the special tokens that they write.
  package struct Source: Sendable, Equatable {
    /// Where the template is stored, for errors.
    package let path: String
    package let text: String
    /// The template called `tool_use`, which renders conversations with tools.
    package var toolText: String?
    /// `bos_token`, `eos_token` and the others of tokenizer_config.json.
    package var specialTokens = JSON.Object()

    package init(path: String, text: String) { (self.path, self.text) = (path, text) }

    /// All of it, to compare.
    var identity: String {
      JSON.array([.string(text), .string(toolText ?? ""), .object(specialTokens)]).text()
    }
  }

  /// Parses the templates and finds the end of a turn by rendering one.
  ///
  /// - Throws: `TemplateError` with line and column for a template that cannot be run; `TextError` where no token ends
  ///   an answer
  package init(_ source: Source, options: JSON.Object = JSON.Object(), tokenizer: Tokenizer) throws {
    (self.source, self.options) = (source, options)
    template = try Template(source.text, name: source.path)
    let toolTemplate = try source.toolText.map { try Template($0, name: "\(source.path) (tool_use)") }
    self.toolTemplate = toolTemplate
    form = MessageForm(texts: [source.text, source.toolText ?? ""]) { [template] messages, tool in
      let variables = Self.variables(options, messages, tools: [tool], addsGenerationPrompt: true)
      return try (toolTemplate ?? template).render(variables, trusted: source.specialTokens).text
    }
    let endOfText = source.specialTokens["eos_token"]?.string.flatMap(tokenizer.id(of:))
    let probe = try? Self.probe(template, source.specialTokens, options)
    let end = try probe.flatMap { try Self.firstSpecial(in: $0, tokenizer) } ?? endOfText
    guard let end else {
      throw TextError("\(source.path): no special token ends an answer, and tokenizer_config.json has no eos_token")
    }
    endOfTurn = end
    // Qwen's base vocabulary ends documents with <|endoftext|>, which no configuration file names.
    let documentEnd = tokenizer.id(of: "<|endoftext|>").flatMap { tokenizer.isSpecial($0) ? $0 : nil }
    stopIDs = Set([end, endOfText, documentEnd].compactMap { $0 })
    stopTexts = stopIDs.sorted().map(tokenizer.bytes(of:))
  }

  /// Everything that renderings follow from, to compare.
  package var identity: String { source.identity + JSON.object(options).text() }

  /// Whether a template reads the variable or field `name`.
  package func references(_ name: String) -> Bool {
    template.referencesVariable(name) || toolTemplate?.referencesVariable(name) == true
  }

  /// A short answer, to see what ends it.
  private static func probe(
    _ template: Template, _ trusted: JSON.Object, _ options: JSON.Object
  ) throws -> (text: String, end: Int)? {
    let answer = "EagleTrain"
    let messages: [JSON] = [
      ["role": "user", "content": "question"], ["role": "assistant", "content": .string(answer)],
    ]
    let variables = variables(options, messages, tools: [], addsGenerationPrompt: false)
    let text = try template.render(variables, trusted: trusted).text
    guard let range = text.range(of: answer, options: .backwards) else { return nil }
    return (text, text.utf8.distance(from: text.startIndex, to: range.upperBound))
  }

  private static func firstSpecial(in probe: (text: String, end: Int), _ tokenizer: Tokenizer) throws -> Int32? {
    let (ids, starts) = try tokenizer.encode(probe.text, ordinary: [])
    return zip(ids, starts).first { $1 >= probe.end && tokenizer.isSpecial($0) }?.0
  }

  // MARK: rendering

  /// The end of a rendering, after the messages.
  enum Ending {
    /// The beginning of the assistant's next turn.
    case generationPrompt
    /// The last message's end.
    case lastMessage
  }

  /// The text of messages.
  ///
  /// - Parameters:
  ///   - tools: descriptions of tools; none leaves the variable empty
  ///   - options: variables that override those of the template
  func render(
    _ messages: some Sequence<ChatMessage>, tools: [JSON] = [], options own: JSON.Object = JSON.Object(),
    ending: Ending
  ) throws -> RenderedText {
    var variables = options
    for (key, value) in own.entries { variables[key] = value }
    let all = Self.variables(
      variables, messages.map(form.value), tools: tools, addsGenerationPrompt: ending == .generationPrompt)
    let template = tools.isEmpty ? template : toolTemplate ?? template
    return RenderedText(try template.render(all, trusted: source.specialTokens))
  }

  /// The variables of a rendering: those of a template's own, and the conversation.
  private static func variables(
    _ own: JSON.Object, _ messages: [JSON], tools: [JSON], addsGenerationPrompt: Bool
  ) -> JSON.Object {
    var variables = own
    variables["messages"] = .array(messages)
    variables["tools"] = tools.isEmpty ? .null : .array(tools)
    variables["documents"] = variables["documents"] ?? .null
    variables["add_generation_prompt"] = .bool(addsGenerationPrompt)
    return variables
  }
}

/// A rendered conversation: its bytes, and which of them the template did not write itself.
struct RenderedText {
  var text: String
  var bytes: [UInt8]
  /// Ranges of the bytes that come from messages and tools, ascending.
  var data: [Range<Int>]

  init(_ rendered: RenderedTemplate) {
    (text, data) = (rendered.text, rendered.dataRanges)
    bytes = Array(rendered.text.utf8)
  }

  var count: Int { bytes.count }

  /// Whether the first `count` bytes of both are the same.
  func agrees(with other: RenderedText, upTo count: Int) -> Bool {
    count <= bytes.count && count <= other.bytes.count && bytes[..<count] == other.bytes[..<count]
  }

  /// Keeps the first `count` bytes.
  mutating func truncate(to count: Int) {
    bytes.removeSubrange(count...)
    text = String(decoding: bytes, as: UTF8.self)
    data = data.filter { $0.lowerBound < count }.map { $0.clamped(to: 0..<count) }
  }

  /// Appends text of a message, or of the template.
  mutating func append(_ more: String, isData: Bool) {
    if isData, !more.isEmpty { data.append(count..<count + more.utf8.count) }
    text += more
    bytes += Array(more.utf8)
  }

  /// The first of some texts that the template wrote after `start`.
  func first(of texts: [[UInt8]], from start: Int) -> Range<Int>? {
    var best: Range<Int>?
    var low = start
    for range in data.filter({ $0.upperBound > start }) + [count..<count] {
      let gap = low..<max(low, range.lowerBound)
      for text in texts {
        if let found = bytes.firstRange(of: text, in: gap), found.lowerBound < best?.lowerBound ?? .max { best = found }
      }
      if best != nil { return best }
      low = max(low, range.upperBound)
    }
    return nil
  }
}

extension [UInt8] {
  /// The first occurrence of a pattern within `range`.
  func firstRange(of pattern: [UInt8], in range: Range<Int>) -> Range<Int>? {
    guard !pattern.isEmpty, range.count >= pattern.count else { return nil }
    return withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return nil }
      var start = range.lowerBound
      let last = range.upperBound - pattern.count
      while start <= last, let found = memchr(base + start, Int32(pattern[0]), last - start + 1) {
        start = base.distance(to: UnsafeRawPointer(found))
        if memcmp(base + start, pattern, pattern.count) == 0 { return start..<start + pattern.count }
        start += 1
      }
      return nil
    }
  }

  /// The last occurrence of a pattern within `range`.
  func lastRange(of pattern: [UInt8], in range: Range<Int>) -> Range<Int>? {
    guard !pattern.isEmpty, range.count >= pattern.count else { return nil }
    return (range.lowerBound...range.upperBound - pattern.count).reversed().lazy
      .map { $0..<$0 + pattern.count }
      .first { self[$0].elementsEqual(pattern) }
  }
}
