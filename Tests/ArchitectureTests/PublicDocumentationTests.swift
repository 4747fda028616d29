import Foundation
import Testing

/// The pages of the library's reference consist of documentation comments, without the source around them.
@Suite struct PublicDocumentationTests {
  @Test("every public declaration has a documentation comment, which begins with no preposition")
  func publicDeclarationsAreDocumented() throws {
    for module in try Repository.publicModules() {
      var count = 0
      for file in Repository.swiftFiles(of: module) {
        let declarations = PublicDeclarations(source: try Repository.text(file))
        count += declarations.list.count
        for complaint in declarations.complaints { Issue.record("\(file):\(complaint)") }
      }
      #expect(count > 0, "\(module) has no public declaration")
    }
  }

  private let source = """
    /// A kind.
    public enum Kind {
      /// The first kind.
      case first
      case second

      /// - Parameter name: its name
      @discardableResult
      public func make(_ name: String) -> Kind { .first }
      public init(from decoder: any Decoder) throws {}
      private enum Hidden {
        case third
      }
      /// A number.
      @available(*, deprecated)
      public static func count() -> Int { 0 }
    }

    // No documentation comment.
    public protocol Sink {
      /// In the order of ranks.
      func write()
      /// That of the first rank.
      var size: Int { get }
      /// Those that wait.
      var waiting: Int { get }
    }

    public import Foundation
    struct Inner {
      var bare = 0
    }
    """

  @Test("comments that are missing, begin with a list or begin with a preposition are found")
  func complaints() {
    #expect(
      PublicDeclarations(source: source).complaints == [
        "5: has no documentation comment: case second",
        "9: has no sentence before the list: public func make(_ name: String) -> Kind { .first }",
        "20: has no documentation comment: public protocol Sink {",
        "22: begins with the preposition In: func write()",
        "24: begins with the preposition That of: var size: Int { get }",
      ])
  }
}

/// The public declarations of a source file with their comments, line by line: swift-format's indentation of two spaces
/// shows to which declaration a line belongs.
struct PublicDeclarations {
  struct Declaration {
    /// The number of its line, counted from 1.
    let line: Int
    let code: String
    /// The lines of the documentation comment above it, without slashes.
    let comment: [String]

    /// The problem of the documentation comment; nil if there is none.
    var complaint: String? {
      guard let first = comment.first else { return isWitness ? nil : "has no documentation comment" }
      if first.isEmpty || first.hasPrefix("- ") { return "has no sentence before the list" }
      let preposition = #/(That of|Those of|Of|For|In|On|At|With|By|From|To)\s/#.ignoresCase()
      return first.prefixMatch(of: preposition).map { "begins with the preposition \($0.output.1)" }
    }

    /// Whether a protocol of the standard library or of Foundation documents the declaration.
    private var isWitness: Bool {
      code.contains(
        #/\b(?:override |func encode\(to |func hash\(into |func ==|init\(from decoder|enum CodingKeys\b)/#)
        || code.contains(#/\b(?:var|let) (?:description|debugDescription|errorDescription)\b/#)
    }
  }

  /// Declarations that are marked `public`, and cases of public enums and requirements of public protocols, which are
  /// public.
  let list: [Declaration]

  init(source: String) {
    let lines = source.components(separatedBy: "\n")
    var list: [Declaration] = []
    var types: [(indent: Int, isEnum: Bool)] = []  // public enums and protocols around the line
    for (index, line) in lines.enumerated() {
      let code = line.trimmingCharacters(in: .whitespaces)
      if code.isEmpty || code.hasPrefix("//") { continue }
      let indent = line.prefix { $0 == " " }.count
      types.removeAll { $0.indent >= indent }
      let isMember = types.last.map { $0.indent + 2 == indent && Self.isMember(code, ofEnum: $0.isEnum) } ?? false
      guard isMember || code.contains(#/^(?:@\S+ )*(?:[a-z]+ )*public (?!import\b)/#) else { continue }
      list.append(Declaration(line: index + 1, code: code, comment: Self.comment(above: index, in: lines)))
      if let type = code.firstMatch(of: #/\bpublic (?:indirect )?(enum|protocol)\b/#) {
        types.append((indent, type.output.1 == "enum"))
      }
    }
    self.list = list
  }

  /// The problems of the declarations, each as `line: problem: code`.
  var complaints: [String] {
    list.compactMap { declaration in
      declaration.complaint.map { "\(declaration.line): \($0): \(declaration.code)" }
    }
  }

  /// Whether a line inside a public enum is a case, or one inside a public protocol is a requirement.
  private static func isMember(_ code: String, ofEnum isEnum: Bool) -> Bool {
    isEnum
      ? code.contains(#/^(?:indirect )?case /#)
      : code.contains(#/^(?:@\S+ )*(?:static |mutating )*(?:func|init|var|subscript|associatedtype)\b/#)
  }

  /// The documentation comment directly above a line; lines with an attribute may be between.
  private static func comment(above index: Int, in lines: [String]) -> [String] {
    let above = lines[..<index].reversed().map { $0.trimmingCharacters(in: .whitespaces) }
    let comment = above.drop { $0.contains(#/^@\w+(?:\(.*\))?$/#) }.prefix { $0.hasPrefix("///") }
    return comment.reversed().map { $0.dropFirst(3).trimmingCharacters(in: .whitespaces) }
  }
}
