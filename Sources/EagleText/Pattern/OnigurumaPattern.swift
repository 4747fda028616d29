/// Rewrites a pattern of a tokenizer.json so that PCRE2 splits text exactly where Oniguruma does, the engine behind
/// Hugging Face tokenizers.
///
/// Classes differ: `\s` is Unicode's White_Space (PCRE2 adds U+180E), and properties follow a newer Unicode version
/// there, so `UnicodeAdditions` lists what an older PCRE2 lacks. `$` is the end of any line. Constructs are
/// accepted from a list; what is not on it, because the engines read it differently or because it can cut characters
/// (`\C`) or match without an end (recursion, back-references), is refused by name.
struct OnigurumaPattern {
  private let source: String
  private var remaining: ArraySlice<Unicode.Scalar>
  private var output = ""
  private var isInClass = false

  /// Bytes of a pattern. Real ones have up to two thousand; each may become some thousand times as long.
  private static let longest = 1 << 14

  /// The same pattern in PCRE2's terms; throws when it uses something that has no equal there.
  static func translated(_ source: String) throws -> String {
    guard source.utf8.count <= longest else {
      throw TextError("a pattern of \(source.utf8.count) bytes is not supported, at most \(longest) are")
    }
    var translation = OnigurumaPattern(source)
    while let scalar = translation.remaining.popFirst() { try translation.consume(scalar) }
    return translation.output
  }

  private init(_ source: String) {
    self.source = source
    remaining = ArraySlice(source.unicodeScalars)
  }

  private mutating func consume(_ scalar: Unicode.Scalar) throws {
    switch scalar {
    case "\\": try consumeEscape()
    case "[" where isInClass: throw unsupported("a class inside a class")
    case "&" where isInClass && remaining.first == "&": throw unsupported("the class operator &&")
    case "^" where !isInClass: throw unsupported("the anchor ^")
    case "$" where !isInClass: output += #"(?=\n|\z)"#
    case "(" where !isInClass && remaining.first == "?": try consumeGroupOpening()
    case "(" where !isInClass && remaining.first == "*": throw unsupported("a verb (*")
    case "{" where !isInClass: try consumeRepetition()
    case "[": openClass()
    case "]":
      isInClass = false
      output.unicodeScalars.append(scalar)
    default: output.unicodeScalars.append(scalar)
    }
  }

  /// `{n}`, `{n,}` and `{n,m}`. What follows them, `+` and `?`, the two engines read differently, and so `{,m}`.
  private mutating func consumeRepetition() throws {
    guard let end = remaining.firstIndex(of: "}") else { throw unsupported("a brace that is not closed") }
    let bounds = remaining[..<end].split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
    let areNumbers = bounds.allSatisfy { $0.allSatisfy { ("0"..."9").contains($0) } }
    guard areNumbers, bounds.first?.isEmpty == false else {
      throw unsupported("the repetition {\(String(String.UnicodeScalarView(remaining[...end])))")
    }
    output += "{" + String(String.UnicodeScalarView(remaining[...end]))
    remaining = remaining[(end + 1)...]
    if let next = remaining.first, next == "+" || next == "?" { throw unsupported("} followed by \(next)") }
  }

  private mutating func openClass() {
    isInClass = true
    output += "["
    guard remaining.first == "^" else { return }
    remaining.removeFirst()
    output += "^"
  }

  private mutating func consumeGroupOpening() throws {
    // The option covers all alternatives, where the engines agree on it.
    if output.isEmpty, remaining.starts(with: "?i)".unicodeScalars) {
      remaining.removeFirst(3)
      output += "(?i)"
      return
    }
    let openings = ["?:", "?=", "?!", "?<=", "?<!", "?>", "?i:", "?-i:"]
    guard let opening = openings.first(where: { remaining.starts(with: $0.unicodeScalars) }) else {
      throw unsupported("a group that opens with (\(String(String.UnicodeScalarView(remaining.prefix(3))))")
    }
    remaining.removeFirst(opening.unicodeScalars.count)
    output += "(" + opening
  }

  private mutating func consumeEscape() throws {
    guard let escaped = remaining.popFirst() else { throw unsupported("a backslash at its end") }
    let name = escaped == "p" || escaped == "P" ? consumePropertyName() : ""
    switch "\(escaped)\(name)" {
    case "s": try appendClass(UnicodeAdditions.whiteSpace, negated: false)
    case "S": try appendClass(UnicodeAdditions.whiteSpace, negated: true)
    case "d": try appendClass(UnicodeAdditions.property("Nd") ?? "", negated: false)
    case "D": try appendClass(UnicodeAdditions.property("Nd") ?? "", negated: true)
    case "r", "n", "t", "f": output += "\\\(escaped)"
    default:
      if let members = UnicodeAdditions.property(String(name.dropFirst().dropLast())) {
        return try appendClass(members, negated: escaped == "P")
      }
      guard name.isEmpty, Self.isPunctuation(escaped) else { throw unsupported("\\\(escaped)\(name)") }
      output += "\\\(escaped)"
    }
  }

  /// An escaped one stands for itself. Letters, digits and spaces mean what each engine likes.
  private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII && scalar.value > 0x20 && scalar.value != 0x7F && !scalar.properties.isAlphabetic
      && !("0"..."9").contains(scalar)
  }

  private mutating func consumePropertyName() -> String {
    guard remaining.first == "{", let end = remaining.firstIndex(of: "}") else { return "" }
    let name = String(String.UnicodeScalarView(remaining[...end]))
    remaining = remaining[(end + 1)...]
    return name
  }

  private mutating func appendClass(_ members: String, negated: Bool) throws {
    guard isInClass else {
      output += negated ? "[^\(members)]" : "[\(members)]"
      return
    }
    guard !negated else { throw unsupported("a negated class inside a class") }
    output += members
  }

  private func unsupported(_ what: String) -> TextError {
    TextError("the pattern \(source) uses \(what), which is not supported")
  }
}
