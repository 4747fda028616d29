/// How an answer says which fields of its request changed nothing.
package enum IgnoredFields {
  package static let header = "X-Eagle-Ignored"

  /// Names as a header and a log can hold them: letters, digits and `_.-` of each, others as `?`; twenty names at most.
  package static func list(_ names: [String]) -> String {
    let shown = names.prefix(20).map { name in
      String(name.unicodeScalars.prefix(64).map { isPlain($0) ? Character($0) : "?" })
    }
    return shown.joined(separator: ", ") + (names.count > 20 ? ", ..." : "")
  }

  private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII
      && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "_.-".unicodeScalars.contains(scalar))
  }
}
