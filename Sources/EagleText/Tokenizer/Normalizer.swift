/// What happens to text before it is cut into words: any number of steps, one after the other.
struct Normalizer: Sendable {
  enum Step: Sendable {
    /// Unicode's composed form.
    case composed
    /// Text in front, where there is a text.
    case prepend([UInt8])
    /// Text in front of one that does not begin with it.
    case prependUnlessThere([UInt8])
    /// Each occurrence of a text, which is not empty, becomes another.
    case replace([UInt8], with: [UInt8])
  }

  private let steps: [Step]

  /// How many times as long all steps together may make a text, and how many there may be.
  private static let mostGrowth = 16
  private static let mostSteps = 16

  init(steps: [Step]) { self.steps = steps }

  /// Reads the normalizer of a tokenizer.json; what is not supported is refused by name.
  init(_ component: TokenizerFields?) throws {
    steps = try component.map(Normalizer.steps) ?? []
    guard steps.count <= Self.mostSteps else { throw TextError("there are \(steps.count) normalizers: too many") }
    let growth = steps.reduce(1) { min($0, 1 << 20) * $1.growth }
    guard growth <= Self.mostGrowth else {
      throw TextError(
        "the normalizers may make a text \(growth) times as long, at most \(Self.mostGrowth) is supported")
    }
  }

  private static func steps(_ component: TokenizerFields) throws -> [Step] {
    let type = try component.required("type", try component.string("type"))
    switch type {
    case "NFC": return [.composed]
    case "Sequence": return try component.objects("normalizers")?.flatMap(steps) ?? []
    case "Prepend": return [.prepend(Array(try component.required("prepend", try component.string("prepend")).utf8))]
    case "Replace": return [try replacement(component)]
    default:
      throw TextError("the normalizer \(type) is not supported: NFC, Prepend, Replace and Sequence are")
    }
  }

  /// A `Replace` of a normalizer or of a decoder.
  static func replacement(_ component: TokenizerFields) throws -> Step {
    guard let pattern = try component.fields("pattern")?.string("String"), !pattern.isEmpty else {
      throw TextError("a Replace whose pattern is not a String is not supported")
    }
    let content = try component.required("content", try component.string("content"))
    return .replace(Array(pattern.utf8), with: Array(content.utf8))
  }

  var isEmpty: Bool { steps.isEmpty }

  func normalized(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    var alignments: [TextAlignment]?
    return bytes.withUnsafeBufferPointer { normalized($0, &alignments) } ?? bytes
  }

  /// The normalised bytes of valid UTF-8, nil when `text` is in that form already. Adds to `alignments`, where there
  /// are some, what they come from.
  func normalized(_ text: UnsafeBufferPointer<UInt8>, _ alignments: inout [TextAlignment]?) -> [UInt8]? {
    var result: [UInt8]?
    for step in steps {
      let count = result?.count ?? text.count
      var alignment = alignments == nil ? nil : TextAlignment(originalCount: count)
      let changed =
        result?.withUnsafeBufferPointer { step.changed($0, &alignment) }
        ?? (result == nil ? step.changed(text, &alignment) : nil)
      guard let changed else { continue }
      result = changed
      if let alignment { alignments?.append(alignment) }
    }
    return result
  }
}

extension Normalizer.Step {
  /// At most how many times as long the step makes a text.
  fileprivate var growth: Int {
    switch self {
    case .composed: 3
    case .prepend(let content), .prependUnlessThere(let content): 1 + content.count / 16
    case .replace(let pattern, let content): max(1, (content.count + pattern.count - 1) / pattern.count)
    }
  }

  /// The changed text, nil where nothing changes.
  fileprivate func changed(_ text: UnsafeBufferPointer<UInt8>, _ alignment: inout TextAlignment?) -> [UInt8]? {
    switch self {
    case .composed: return ComposedText.composed(text, &alignment)
    case .prepend(let content):
      guard !text.isEmpty, !content.isEmpty else { return nil }
      alignment?.append(at: 0, from: 0, isCopied: false)
      alignment?.append(at: content.count, from: 0, isCopied: true)
      return content + text
    case .prependUnlessThere(let content):
      return text.starts(with: content) ? nil : Self.prepend(content).changed(text, &alignment)
    case .replace(let pattern, let content):
      return Self.replaced(text, pattern, with: content, &alignment)
    }
  }

  private static func replaced(
    _ text: UnsafeBufferPointer<UInt8>, _ pattern: [UInt8], with content: [UInt8], _ alignment: inout TextAlignment?
  ) -> [UInt8]? {
    guard let first = text.firstIndex(of: pattern[0]) else { return nil }
    var result: [UInt8] = []
    var (copied, position) = (0, first)
    while position < text.count {
      guard text[position] == pattern[0], text[position...].starts(with: pattern) else {
        position += 1
        continue
      }
      alignment?.append(at: result.count, from: copied, isCopied: true)
      result.append(contentsOf: text[copied..<position])
      alignment?.append(at: result.count, from: position, isCopied: false)
      result.append(contentsOf: content)
      position += pattern.count
      copied = position
    }
    guard copied > 0 else { return nil }
    alignment?.append(at: result.count, from: copied, isCopied: true)
    result.append(contentsOf: text[copied...])
    return result
  }
}
