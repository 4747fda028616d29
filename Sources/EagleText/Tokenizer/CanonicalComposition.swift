import Foundation

/// Unicode's canonical composition (UAX #15), which turns NFD into NFC.
///
/// Foundation decomposes rightly, but leaves the marks that three Tibetan vowel signs become (U+0F73, U+0F75, U+0F81)
/// in the wrong order. Its composition leaves what is itself composed and a letter after it apart (a Hangul syllable
/// and a final consonant, a Kannada vowel sign and its length mark), makes syllables of old Hangul vowels, and takes a
/// letter above U+FFFF for the one whose number has the same low 16 bits. So the algorithm is implemented here, and
/// Foundation is used only for decompositions and for single pairs that it gets right.
///
/// Hugging Face tokenizers normalises by the tables of Unicode 9, and ids must be the same as there: to a character
/// that is newer, nothing happens, and marks do not cross it.
enum CanonicalComposition {
  private struct Part {
    let scalar: Unicode.Scalar
    let combiningClass: UInt8
  }

  /// The composed form of any text.
  static func composed(_ text: String) -> String {
    var result: [Unicode.Scalar] = []
    var starter: Int?  // the last character in `result` of combining class 0
    var lastClass: UInt8 = 0  // combining class of the last character in `result`
    for part in decomposed(text) {
      if let starter, starter == result.count - 1 || lastClass < part.combiningClass,
        let composite = composite(result[starter], part.scalar)
      {
        result[starter] = composite
        continue
      }
      if part.combiningClass == 0 { starter = result.count }
      lastClass = part.combiningClass
      result.append(part.scalar)
    }
    return String(String.UnicodeScalarView(result))
  }

  /// The decomposed form of any text, marks in canonical order.
  private static func decomposed(_ text: String) -> [Part] {
    if text.unicodeScalars.allSatisfy(isKnown) { return ordered(text) }
    var result: [Part] = []
    var known = String.UnicodeScalarView()  // since the last newer character
    for scalar in text.unicodeScalars {
      if isKnown(scalar) {
        known.append(scalar)
        continue
      }
      result += ordered(String(known))
      result.append(Part(scalar: scalar, combiningClass: 0))
      known = String.UnicodeScalarView()
    }
    return result + ordered(String(known))
  }

  /// The decomposed form of a text without newer characters.
  private static func ordered(_ text: String) -> [Part] {
    var parts = text.decomposedStringWithCanonicalMapping.unicodeScalars.map { scalar in
      Part(scalar: scalar, combiningClass: scalar.properties.canonicalCombiningClass.rawValue)
    }
    var start = 0  // of a character with its marks
    for end in parts.indices.dropFirst() where parts[end].combiningClass == 0 {
      order(&parts[start..<end])
      start = end
    }
    order(&parts[start...])
    return parts
  }

  /// Sorts marks by combining class; those of the same class keep their order.
  private static func order(_ marks: inout ArraySlice<Part>) {
    guard zip(marks, marks.dropFirst()).contains(where: { $0.combiningClass > $1.combiningClass }) else { return }
    let sorted = marks.enumerated().sorted {
      ($0.element.combiningClass, $0.offset) < ($1.element.combiningClass, $1.offset)
    }
    marks = ArraySlice(sorted.map(\.element))
  }

  /// Whether Unicode 9 has the character.
  private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x300 || scalar.properties.age.map { $0.major <= 9 } ?? false
  }

  /// The one character that `first` and `second` compose to, nil when they stay apart.
  private static func composite(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Unicode.Scalar? {
    // Nothing below U+0300 is the second of a pair, and no pair has one part on each side of U+FFFF.
    guard second.value >= 0x300, (first.value > 0xFFFF) == (second.value > 0xFFFF), isKnown(first),
      isKnown(second)
    else { return nil }
    if (0x1100...0x11FF).contains(second.value) { return hangul(first.value, second.value) }
    if first.value == 0xCCA, second.value == 0xCD5 { return Unicode.Scalar(0xCCB) }
    let pair = String(String.UnicodeScalarView([first, second])).precomposedStringWithCanonicalMapping.unicodeScalars
    return pair.count == 1 ? pair.first : nil
  }

  /// A syllable of a leading consonant and a vowel, or of a syllable without final consonant and one.
  private static func hangul(_ first: UInt32, _ second: UInt32) -> Unicode.Scalar? {
    let (syllables, leads, vowels, finals): (UInt32, UInt32, UInt32, UInt32) = (0xAC00, 0x1100, 0x1161, 0x11A7)
    if (leads..<leads + 19).contains(first), (vowels..<vowels + 21).contains(second) {
      return Unicode.Scalar(syllables + ((first - leads) * 21 + (second - vowels)) * 28)
    }
    guard (syllables..<syllables + 11172).contains(first), (first - syllables) % 28 == 0,
      (finals + 1..<finals + 28).contains(second)
    else { return nil }
    return Unicode.Scalar(first + (second - finals))
  }
}
