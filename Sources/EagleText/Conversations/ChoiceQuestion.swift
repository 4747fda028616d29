/// A question of multiple choice.
struct ChoiceQuestion {
  let question: String
  /// In the order of their letters.
  let options: [String]

  /// Whether any of it is written in Chinese characters.
  var isChinese: Bool {
    ([question] + options).contains { text in text.unicodeScalars.contains { (0x4e00...0x9fff).contains($0.value) } }
  }

  /// The question, its options and what to do, in the language of its set.
  func turn(isChinese: Bool) -> String {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    let lines = zip(letters, options).map { "\($0). \($1)" }.joined(separator: "\n")
    let request = isChinese ? "请选出正确的选项，并说明理由。" : "Choose the right option, and give the reason."
    return "\(question)\n\n\(lines)\n\n\(request)"
  }
}
