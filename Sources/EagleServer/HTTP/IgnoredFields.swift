/// How a response names the fields of its request that had no effect.
package enum IgnoredFields {
  package static let header = "X-Eagle-Ignored"

  /// Names in a form that is safe in a header and in a log: letters, digits and `_.-`, other characters as `?`, and at
  /// most twenty names.
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
