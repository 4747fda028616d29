/// Splits an answer into its reasoning and its content, incrementally: `<think>reasoning</think>content`.
///
/// Reasoning comes first or not at all: a tag after content is content. Whitespace around the reasoning belongs to its
/// markup and is dropped. The time is linear in the text. The parser holds back at most a run of whitespace and the
/// prefix of a tag.
package struct ReasoningParser: Sendable {
  package enum Piece: Sendable, Equatable {
    case reasoning(String)
    case content(String)
  }

  private enum State {
    /// Only whitespace was read.
    case start
    case reasoning
    /// The reasoning is closed and no content was read.
    case gap
    case content
  }

  private var state: State
  /// How many bytes of the next tag were read.
  private var matched = 0
  /// Whitespace that is held back, followed by the prefix of a tag.
  private var held: [UInt8] = []
  private var isAtStart = true

  private static let opening = Array("<think>".utf8)
  private static let closing = Array("</think>".utf8)

  /// Whether a text without the opening tag has no reasoning; otherwise such a text begins with reasoning.
  private let needsOpening: Bool

  /// - Parameters:
  ///   - isOpen: whether the prompt ends with an open tag
  ///   - needsOpening: whether a text whose prompt has no open tag must begin with one to have reasoning
  package init(isOpen: Bool = false, needsOpening: Bool = true) {
    state = isOpen ? .reasoning : .start
    self.needsOpening = needsOpening
  }

  /// Whether the text so far ends within reasoning.
  var isInside: Bool { if case .reasoning = state { true } else { false } }

  /// Parses the next part of the text and returns the pieces that it completes.
  package mutating func append(_ text: String) -> [Piece] {
    var output = Output()
    for byte in text.utf8 { take(byte, &output) }
    return output.pieces
  }

  /// The pieces that were held back. Reasoning that was never closed is reasoning.
  package mutating func finish() -> [Piece] {
    var output = Output()
    if case .start = state, !held.isEmpty { takeUnopened(&output) }
    switch state {
    case .start, .content: output.add(held, isReasoning: false)
    case .reasoning: if matched > 0 { output.add(held, isReasoning: true) }
    case .gap: break
    }
    (held, matched) = ([], 0)
    return output.pieces
  }

  private mutating func take(_ byte: UInt8, _ output: inout Output) {
    switch state {
    case .start: takeAtStart(byte, &output)
    case .reasoning: takeInReasoning(byte, &output)
    case .gap where isJSONSpace(byte): break
    case .gap, .content:
      state = .content
      output.add([byte], isReasoning: false)
    }
  }

  private mutating func takeAtStart(_ byte: UInt8, _ output: inout Output) {
    held.append(byte)
    if matched == 0 && isJSONSpace(byte) { return }
    guard byte == Self.opening[matched] else { return takeUnopened(&output) }
    matched += 1
    if matched == Self.opening.count { (held, matched, state) = ([], 0, .reasoning) }
  }

  /// Handles a text that does not begin with the opening tag.
  private mutating func takeUnopened(_ output: inout Output) {
    let read = held
    (held, matched, state) = ([], 0, needsOpening ? .content : .reasoning)
    if needsOpening { return output.add(read, isReasoning: false) }
    for byte in read { takeInReasoning(byte, &output) }
  }

  private mutating func takeInReasoning(_ byte: UInt8, _ output: inout Output) {
    if byte == Self.closing[matched] {
      held.append(byte)
      matched += 1
      if matched == Self.closing.count { (held, matched, state) = ([], 0, .gap) }
      return
    }
    // `<` occurs only at the start of a tag, so that after a mismatch no match can begin within the old one.
    if matched > 0 { release(&output) }
    if byte == Self.closing[0] {
      held.append(byte)
      matched = 1
    } else if isJSONSpace(byte) {
      if !isAtStart { held.append(byte) }
    } else {
      held.append(byte)
      release(&output)
    }
  }

  private mutating func release(_ output: inout Output) {
    output.add(held, isReasoning: true)
    (held, matched, isAtStart) = ([], 0, false)
  }

  /// Collects the output and joins adjacent bytes of the same kind to one piece.
  private struct Output {
    private var bytes: [UInt8] = []
    private var isReasoning = false
    private var done: [Piece] = []

    mutating func add(_ more: [UInt8], isReasoning: Bool) {
      if isReasoning != self.isReasoning { close() }
      self.isReasoning = isReasoning
      bytes += more
    }

    private mutating func close() {
      guard !bytes.isEmpty else { return }
      let text = String(decoding: bytes, as: UTF8.self)
      done.append(isReasoning ? .reasoning(text) : .content(text))
      bytes = []
    }

    var pieces: [Piece] {
      var copy = self
      copy.close()
      return copy.done
    }
  }
}

/// Whether a byte is whitespace between the tokens of JSON.
func isJSONSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
