import EagleCore
import Foundation

/// Splits an answer into content and calls of tools, incrementally.
///
/// A call is reported once it is complete and valid: of one of the request's tools, with an object as arguments.
/// Anything else that looks like one is content, to the byte. Whitespace directly before and after a call belongs to
/// its markup and is dropped. The time is linear in the text.
package struct ToolCallParser: Sendable {
  package enum Piece: Sendable, Equatable {
    case content(String)
    case call(ToolCall)
  }

  private enum State {
    /// How many bytes of the opening marker were read.
    case content(matched: Int)
    /// After the opening marker and before a value. With a name, the value is the arguments.
    case gap(name: String?)
    /// The name that `[ARGS]` ends, from this index of `held`.
    case name(start: Int)
    /// A value from this index of `held`.
    case value(JSONExtent, start: Int, name: String?)
    /// After a valid value, before or in the closing marker.
    case closing([ToolCall], matched: Int)
  }

  package let syntax: ToolSyntax
  private let names: Set<String>
  private var state = State.content(matched: 0)
  /// Bytes that may turn out to be markup.
  private var held: [UInt8] = []
  /// Whether no content was read.
  private var isAtStart = true
  /// Whether only whitespace was read since a call.
  private var isBehindCall = false
  private var content: [UInt8] = []
  private var pieces: [Piece] = []

  private static let longestName = 256

  /// - Parameter names: the tools of the request
  package init(_ syntax: ToolSyntax, names: Set<String>) {
    (self.syntax, self.names) = (syntax, names)
  }

  /// Parses the next part of the text and returns the pieces that it completes.
  package mutating func append(_ text: String) -> [Piece] {
    for byte in text.utf8 { take(byte) }
    return collect()
  }

  /// The pieces that were held back. A call without its closing marker is a call; an incomplete call is content.
  package mutating func finish() -> [Piece] {
    switch state {
    case .closing(let calls, _): report(calls)
    case .content(matched: 0) where isBehindCall: held = []
    default: release()
    }
    state = .content(matched: 0)
    return collect()
  }

  private mutating func collect() -> [Piece] {
    closeContent()
    defer { pieces = [] }
    return pieces
  }

  private mutating func take(_ byte: UInt8) {
    switch state {
    case .content(let matched): takeContent(byte, matched: matched)
    case .gap(let name): takeGap(byte, name: name)
    case .name(let start): takeName(byte, start: start)
    case .value(let extent, let start, let name): takeValue(byte, extent, start: start, name: name)
    case .closing(let calls, let matched): takeClosing(byte, calls, matched: matched)
    }
  }

  // MARK: the states

  private mutating func takeContent(_ byte: UInt8, matched: Int) {
    let marker = syntax.opening
    if byte == marker[matched] {
      held.append(byte)
      state = matched + 1 == marker.count ? .gap(name: nil) : .content(matched: matched + 1)
      return
    }
    // The first byte of a marker occurs in it only once, so that after a mismatch no match can begin within the old
    // one.
    if matched > 0 {
      fail()
      return takeContent(byte, matched: 0)
    }
    if isJSONSpace(byte) || isSeparator(byte) {
      held.append(byte)
    } else if syntax == .llama3, isAtStart, byte == UInt8(ascii: "{") {
      beginValue(byte, name: nil)
    } else {
      held.append(byte)
      release()
    }
  }

  /// Llama's calls may be separated by semicolons.
  private func isSeparator(_ byte: UInt8) -> Bool {
    syntax == .llama3 && isBehindCall && byte == UInt8(ascii: ";")
  }

  private mutating func takeGap(_ byte: UInt8, name: String?) {
    if isJSONSpace(byte) {
      held.append(byte)
    } else if byte == UInt8(ascii: "{") && (syntax != .mistral || name != nil) {
      beginValue(byte, name: name)
    } else if syntax == .mistral && name == nil {
      if byte == UInt8(ascii: "[") { return beginValue(byte, name: nil) }
      state = .name(start: held.count)
      held.append(byte)
    } else {
      fail()
      take(byte)
    }
  }

  private mutating func takeName(_ byte: UInt8, start: Int) {
    guard held.count - start < Self.longestName, byte != UInt8(ascii: "\n") else {
      fail()
      return take(byte)
    }
    held.append(byte)
    guard byte == ToolSyntax.arguments.last,
      held[start...].suffix(ToolSyntax.arguments.count) == ToolSyntax.arguments[...]
    else { return }
    state = .gap(name: ToolSyntax.name(held[start...].dropLast(ToolSyntax.arguments.count)))
  }

  private mutating func beginValue(_ byte: UInt8, name: String?) {
    var extent = JSONExtent()
    _ = extent.isEnd(byte)
    state = .value(extent, start: held.count, name: name)
    held.append(byte)
  }

  private mutating func takeValue(_ byte: UInt8, _ extent: JSONExtent, start: Int, name: String?) {
    var extent = extent
    held.append(byte)
    guard extent.isEnd(byte) else {
      state = .value(extent, start: start, name: name)
      return
    }
    guard let calls = syntax.calls(Data(held[start...]), name: name, names: names) else { return fail() }
    if syntax.closing.isEmpty { report(calls) } else { state = .closing(calls, matched: 0) }
  }

  private mutating func takeClosing(_ byte: UInt8, _ calls: [ToolCall], matched: Int) {
    if byte == syntax.closing[matched] {
      held.append(byte)
      if matched + 1 == syntax.closing.count { report(calls) } else { state = .closing(calls, matched: matched + 1) }
    } else if matched == 0 && isJSONSpace(byte) {
      held.append(byte)
    } else {
      fail()
      take(byte)
    }
  }

  // MARK: what is decided

  private mutating func fail() {
    release()
    state = .content(matched: 0)
  }

  /// Releases the held bytes as content.
  private mutating func release() {
    if isBehindCall { held = Array(held.drop(while: isJSONSpace)) }
    guard !held.isEmpty else { return }
    content += held
    (held, isAtStart, isBehindCall) = ([], false, false)
  }

  private mutating func report(_ calls: [ToolCall]) {
    closeContent()
    pieces += calls.map { .call($0) }
    (held, isBehindCall, state) = ([], true, .content(matched: 0))
  }

  private mutating func closeContent() {
    guard !content.isEmpty else { return }
    pieces.append(.content(String(decoding: content, as: UTF8.self)))
    content = []
  }
}
