import Foundation

/// A short text of a benchmark, token by token: which of them were drafted.
public struct ExampleText: Codable, Sendable, Equatable {
  public var benchmark: String
  /// What was asked, cut where it is long.
  public var prompt: String
  public var pieces: [Piece]
  /// Whether the text went on.
  public var isCut: Bool

  /// The text of one token; empty where a character ends with a later one.
  public struct Piece: Codable, Sendable, Equatable {
    public var text: String
    /// The target's pass that it came with; 0 is the prompt's.
    public var pass: Int
    /// Whether the draft had proposed it, and the target agreed; else the target wrote it itself.
    public var accepted: Bool

    package init(text: String, pass: Int, accepted: Bool) {
      self.text = text
      self.pass = pass
      self.accepted = accepted
    }
  }

  package init(benchmark: String, prompt: String, pieces: [Piece], isCut: Bool) {
    (self.benchmark, self.prompt, self.pieces, self.isCut) = (benchmark, prompt, pieces, isCut)
  }

  enum CodingKeys: String, CodingKey {
    case benchmark, prompt, pieces
    case isCut = "cut"
  }
}
