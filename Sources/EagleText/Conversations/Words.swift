/// Words as far as counting and comparing texts needs them: runs of letters and digits, and each character of scripts
/// that are written without spaces.
package enum Words {
  package static func of(_ text: String) -> [Substring] {
    var words: [Substring] = []
    var start: String.Index?
    func close(at end: String.Index) {
      if let first = start { words.append(text[first..<end]) }
      start = nil
    }
    for index in text.indices {
      let character = text[index]
      if isAlone(character) {
        close(at: index)
        words.append(text[index...index])
      } else if character.isLetter || character.isNumber {
        start = start ?? index
      } else {
        close(at: index)
      }
    }
    close(at: text.endIndex)
    return words
  }

  /// Whether a character is a word by itself: Han and kana.
  private static func isAlone(_ character: Character) -> Bool {
    guard let scalar = character.unicodeScalars.first?.value else { return false }
    return 0x3040...0x30FF ~= scalar || 0x3400...0x4DBF ~= scalar || 0x4E00...0x9FFF ~= scalar
      || 0x20000...0x323AF ~= scalar
  }
}
