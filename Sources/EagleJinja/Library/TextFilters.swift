extension Text {
  /// The text without HTML's tags and comments, its whitespace as single spaces.
  var withoutTags: Text {
    var rest = self
    for (opening, closing) in [("<!--", "-->"), ("<", ">")] {
      var (builder, start) = (TextBuilder(), 0)
      while let place = rest.place(of: opening, from: start), let end = rest.place(of: closing, from: place) {
        builder.append(rest.slice(start..<place))
        start = end + closing.utf8.count
      }
      builder.append(rest.slice(start..<rest.bytes.count))
      rest = builder.text
    }
    return Text(" ").joined(rest.words()).unescaped
  }

  private func place(of pattern: String, from start: Int) -> Int? {
    occurrences(of: Array(pattern.utf8), in: start..<bytes.count, limit: 1).first
  }

  private var unescaped: Text {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&amp;", "&")]
    return entities.reduce(self) { text, entity in
      text.replacing(Text(entity.0), with: Text(entity.1), limit: -1)
    }
  }

  /// Words of letters, digits and underscores.
  var wordCount: Int {
    var (count, isInside) = (0, false)
    for scalar in string.unicodeScalars {
      let isWord = scalar == "_" || scalar.isWordCharacter
      if isWord, !isInside { count += 1 }
      isInside = isWord
    }
    return count
  }

  /// RFC 3986's unreserved characters and, outside of queries, `/` stay; each other byte is `%XX`.
  func urlEncoded(isQuery: Bool) -> Text {
    var builder = TextBuilder()
    for (i, byte) in bytes.enumerated() {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"),
        UInt8(ascii: "~"):
        builder.append([byte], origin(at: i))
      case UInt8(ascii: "/") where !isQuery: builder.append([byte], origin(at: i))
      case UInt8(ascii: " ") where isQuery: builder.append("+", origin(at: i))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        builder.append("%" + (digits.count < 2 ? "0" : "") + digits, origin(at: i))
      }
    }
    return builder.text
  }
}

extension Unicode.Scalar {
  fileprivate var isWordCharacter: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: properties.numericType != nil
    }
  }
}
