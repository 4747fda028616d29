import Foundation

/// Unicode's canonical composition (UAX #15), which turns NFD into NFC.
///
/// Foundation decomposes rightly, but its composition leaves what is itself composed and a letter after it apart (a
/// Hangul syllable and a final consonant, a Kannada vowel sign and its length mark), and takes a letter above U+FFFF for
/// the one whose number has the same low 16 bits. So the algorithm stands here, and Foundation is asked only about
/// single pairs that it gets right.
///
/// Hugging Face tokenizers normalises by the tables of Unicode 9: a combining mark that is newer, beside another mark and
/// not in canonical order, keeps its place there and so has other ids.
enum CanonicalComposition {
  /// The composed form of any text.
  static func composed(_ text: String) -> String {
    var result: [Unicode.Scalar] = []
    var starter: Int?  // the last character in `result` of combining class 0
    var lastClass: UInt8 = 0  // combining class of the last character in `result`
    for scalar in text.decomposedStringWithCanonicalMapping.unicodeScalars {
      let combiningClass = scalar.properties.canonicalCombiningClass.rawValue
      if let starter, starter == result.count - 1 || lastClass < combiningClass,
        let composite = composite(result[starter], scalar)
      {
        result[starter] = composite
        continue
      }
      if combiningClass == 0 { starter = result.count }
      lastClass = combiningClass
      result.append(scalar)
    }
    return String(String.UnicodeScalarView(result))
  }

  /// The one character that `first` and `second` compose to, nil when they stay apart.
  private static func composite(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Unicode.Scalar? {
    // Nothing below U+0300 is the second of a pair, and no pair has one part on each side of U+FFFF.
    guard second.value >= 0x300, (first.value > 0xFFFF) == (second.value > 0xFFFF) else { return nil }
    if let syllable = hangul(first.value, second.value) { return syllable }
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
