import Foundation

/// A short text of a benchmark, token by token, with the drafted ones marked.
package struct ExampleText: Codable, Sendable, Equatable {
  package var benchmark: String
  /// The prompt, cut where it is long.
  package var prompt: String
  package var tokens: [Token]
  /// Whether the text continued.
  package var isCut: Bool

  /// One token; its text is empty where a character ends with a later one.
  package struct Token: Codable, Sendable, Equatable {
    package var text: String
    /// The number of the target's pass that yielded it; 0 is the prompt's.
    package var pass: Int
    /// Whether the draft proposed it and the target accepted it; else the target sampled it.
    package var accepted: Bool

    package init(text: String, pass: Int, accepted: Bool) {
      self.text = text
      self.pass = pass
      self.accepted = accepted
    }
  }

  package init(benchmark: String, prompt: String, tokens: [Token], isCut: Bool) {
    (self.benchmark, self.prompt, self.tokens, self.isCut) = (benchmark, prompt, tokens, isCut)
  }

  enum CodingKeys: String, CodingKey {
    case benchmark, prompt
    case tokens = "pieces"
    case isCut = "cut"
  }
}
