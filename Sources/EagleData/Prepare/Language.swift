import EagleText

/// The language of a text by its script, which is enough to detect that a draft vocabulary leaves a language out.
package enum Language: String, Codable, CaseIterable, Sendable {
  case latin, chinese, japanese, korean, cyrillic, arabic, other

  /// The maximum number of scalars of a message that are counted.
  private static let mostScalars = 2000

  /// The language of most letters. A tenth of kana distinguishes Japanese from Chinese.
  static func of(_ messages: [ChatMessage]) -> Language {
    var counts = [Int](repeating: 0, count: allCases.count)
    for message in messages {
      var (seen, latin) = (0, 0)
      for scalar in message.content.unicodeScalars {
        if seen == mostScalars { break }
        seen += 1
        // A fast path for ASCII, the most frequent case; the table handles the others.
        if scalar.value < 0x80 {
          if (scalar.value | 0x20) &- 0x61 < 26 { latin += 1 }
        } else if let index = index(of: scalar.value) {
          counts[index] += 1
        }
      }
      counts[0] += latin
    }
    let kana = counts[2]
    if kana * 10 > counts[1] + kana, kana > 0 { counts[2] += counts[1] }
    let most = counts.indices.max { (counts[$0], $1) < (counts[$1], $0) }!
    return counts[most] == 0 ? .other : allCases[most]
  }

  /// The index among the cases; nil if the scalar is not a letter.
  private static func index(of scalar: UInt32) -> Int? {
    switch scalar {
    case 0x41...0x5A, 0x61...0x7A, 0xC0...0x24F: 0
    case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0x20000...0x323AF: 1
    case 0x3040...0x30FF: 2
    case 0x1100...0x11FF, 0xAC00...0xD7AF: 3
    case 0x400...0x52F: 4
    case 0x600...0x6FF: 5
    case 0x370...0x3FF, 0x530...0x10FF, 0x1200...0x1FFF: 6
    default: nil
    }
  }
}
