/// Rewrites a pattern of a tokenizer.json so that PCRE2 cuts text exactly where Oniguruma does, the engine behind
/// Hugging Face tokenizers.
///
/// Three classes differ: `\s` is Unicode's White_Space (PCRE2 adds U+180E), and `\p{L}` and `\p{N}` follow a newer
/// Unicode version there, so `UnicodeAdditions` lists what an older PCRE2 lacks. Constructs are
/// accepted from a list; what is not on it, because the engines read it differently or because it can cut characters
/// (`\C`) or match without an end (recursion, back-references), is refused by name.
struct OnigurumaPattern {
  private let source: String
  private var remaining: ArraySlice<Unicode.Scalar>
  private var output = ""
  private var isInClass = false

  /// The same pattern in PCRE2's terms; throws when it uses something that has no equal there.
  static func translated(_ source: String) throws -> String {
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
    case "^" where !isInClass, "$" where !isInClass: throw unsupported("the anchor \(scalar)")
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
    case "p{L}": try appendClass("\\p{L}" + UnicodeAdditions.letters, negated: false)
    case "P{L}": try appendClass("\\p{L}" + UnicodeAdditions.letters, negated: true)
    case "p{N}": try appendClass("\\p{N}" + UnicodeAdditions.numbers, negated: false)
    case "P{N}": try appendClass("\\p{N}" + UnicodeAdditions.numbers, negated: true)
    case "d", "D", "r", "n", "t", "f": output += "\\\(escaped)"
    default:
      guard name.isEmpty ? Self.isPunctuation(escaped) : Self.isProperty(name) else {
        throw unsupported("\\\(escaped)\(name)")
      }
      output += "\\\(escaped)\(name)"
    }
  }

  /// An escaped one stands for itself. Letters, digits and spaces mean what each engine likes.
  private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII && scalar.value > 0x20 && scalar.value != 0x7F && !scalar.properties.isAlphabetic
      && !("0"..."9").contains(scalar)
  }

  /// General categories and scripts; PCRE2 has properties of its own that begin with X.
  private static func isProperty(_ name: String) -> Bool {
    let letters = name.dropFirst().dropLast()
    return letters.first != "X" && !letters.isEmpty
      && letters.unicodeScalars.allSatisfy { $0.isASCII && $0.properties.isAlphabetic || $0 == "_" }
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

/// Members of character classes as PCRE2 writes them inside brackets.
enum UnicodeAdditions {
  /// White_Space, which Oniguruma's `\s` means.
  static let whiteSpace = members([
    0x9...0xD, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029,
    0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000,
  ])

  /// Letters that came with Unicode 15 and 16 (PCRE2 10.42 knows Unicode 14).
  static let letters = members([
    0x1C89...0x1C8A, 0xA7CB...0xA7CD, 0xA7DA...0xA7DC, 0x105C0...0x105F3, 0x10D4A...0x10D65, 0x10D6F...0x10D85,
    0x10EC2...0x10EC4, 0x1123F...0x11240, 0x11380...0x11389, 0x1138B...0x1138B, 0x1138E...0x1138E,
    0x11390...0x113B5, 0x113B7...0x113B7, 0x113D1...0x113D1, 0x113D3...0x113D3, 0x11BC0...0x11BE0,
    0x11F02...0x11F02, 0x11F04...0x11F10, 0x11F12...0x11F33, 0x1342F...0x1342F, 0x13441...0x13446,
    0x13460...0x143FA, 0x16100...0x1611D, 0x16D40...0x16D6C, 0x18CFF...0x18CFF, 0x1B132...0x1B132,
    0x1B155...0x1B155, 0x1DF25...0x1DF2A, 0x1E030...0x1E06D, 0x1E4D0...0x1E4EB, 0x1E5D0...0x1E5ED,
    0x1E5F0...0x1E5F0, 0x2B739...0x2B739, 0x2EBF0...0x2EE5D, 0x31350...0x323AF,
  ])

  /// Numbers that came with Unicode 15 and 16.
  static let numbers = members(newNumbers)

  /// Numbers as the Digits pre-tokenizer counts them: Rust's tables are one version further, at Unicode 17.
  static let digits = members(newNumbers + [0x11DE0...0x11DE9, 0x16FF4...0x16FF6])

  private static let newNumbers: [ClosedRange<UInt32>] = [
    0x10D40...0x10D49, 0x116D0...0x116E3, 0x11BF0...0x11BF9, 0x11F50...0x11F59, 0x16130...0x16139,
    0x16D70...0x16D79, 0x1CCF0...0x1CCF9, 0x1D2C0...0x1D2D3, 0x1E4F0...0x1E4F9, 0x1E5F1...0x1E5FA,
  ]

  private static func members(_ ranges: [ClosedRange<UInt32>]) -> String {
    ranges.map { range in
      let first = "\\x{\(String(range.lowerBound, radix: 16))}"
      return range.count == 1 ? first : first + "-\\x{\(String(range.upperBound, radix: 16))}"
    }.joined()
  }
}
