/// Limits a recipe's aliases (`*name` of an `&name`) before the YAML library expands them.
///
/// Nested lists of aliases grow exponentially with their levels, and the library walks the whole expansion recursively
/// if an alias is a key. With n aliases, a document of m nodes in d levels expands to at most m · 3^(n/3) nodes in d ·
/// (n + 1) levels.
enum RecipeAliases {
  /// The maximum number of aliases, far more than recipes need.
  private static let most = 16
  /// The maximum nesting of brackets, and the maximum number of marks and blanks at the start of a line, in a recipe
  /// with aliases.
  private static let deepest = 64

  /// Quotes and comments are not recognised, so a star within a string also counts if an anchor has the same name.
  ///
  /// - Throws: `RecipeError` for YAML with more than `most` aliases, or with aliases and more than `deepest` levels
  static func check(_ yaml: String, path: String) throws {
    let bytes = Array(yaml.utf8)
    let anchors = Set(names(behind: UInt8(ascii: "&"), in: bytes))
    let count = names(behind: UInt8(ascii: "*"), in: bytes).count { anchors.contains($0) }
    guard count > 0 else { return }
    guard count <= most else {
      throw RecipeError(at: path, "has \(count) YAML aliases, and at most \(most) are read; write the values out")
    }
    guard max(bracketDepth(bytes), longestMargin(bytes)) <= deepest else {
      throw RecipeError(at: path, "has YAML aliases and nests deeper than \(deepest) levels; write the values out")
    }
  }

  /// The names that follow a mark, in order.
  private static func names(behind mark: UInt8, in bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    bytes.indices.filter { bytes[$0] == mark }.map { bytes[($0 + 1)...].prefix(while: isOfName) }.filter { !$0.isEmpty }
  }

  private static func isOfName(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }

  /// The maximum nesting depth of brackets.
  private static func bracketDepth(_ bytes: [UInt8]) -> Int {
    var (depth, deepest) = (0, 0)
    for byte in bytes {
      if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") { depth += 1 }
      if byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") { depth = max(0, depth - 1) }
      deepest = max(deepest, depth)
    }
    return deepest
  }

  /// The maximum number of blanks and marks of block collections (`- ? :`) at the start of a line. Each level has at
  /// least two.
  private static func longestMargin(_ bytes: [UInt8]) -> Int {
    bytes.split(whereSeparator: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") })
      .map { $0.prefix { " \t-?:".utf8.contains($0) }.count }.max() ?? 0
  }
}
