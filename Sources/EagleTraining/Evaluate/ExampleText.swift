import EagleDecoding
import EagleStorage
import EagleText
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
  }

  enum CodingKeys: String, CodingKey {
    case benchmark, prompt, pieces
    case isCut = "cut"
  }

  private static let mostTokens = 80
  private static let mostCharacters = 400

  init(benchmark: String, prompt: String, _ generation: Generation, _ model: ChatModel) {
    self.benchmark = benchmark
    self.prompt =
      prompt.count > Self.mostCharacters ? String(prompt.prefix(Self.mostCharacters)) + " …" : prompt
    var stream = AnswerStream(model.tokenizer)
    var (pieces, rest) = ([Piece](), generation.ids[...])
    for (number, pass) in generation.passes.enumerated() {
      for (place, id) in rest.prefix(pass.tokens).enumerated() {
        pieces.append(Piece(text: stream.append(id), pass: number, accepted: place < pass.accepted))
      }
      rest = rest.dropFirst(pass.tokens)
    }
    isCut = pieces.count > Self.mostTokens
    self.pieces = Array(pieces.prefix(Self.mostTokens))
  }
}

/// The texts of one evaluation: an entry of `examples.json`.
public struct EpochExamples: Codable, Sendable, Equatable {
  /// As in `evaluation.json`.
  public var epoch: Int
  public var step: Int
  public var texts: [ExampleText]
}

/// `examples.json`: the example texts of a run's evaluations, oldest first.
public enum ExamplesFile {
  /// The entries of a file; none when there is no such file, or none that can be read.
  public static func read(_ path: String) -> [EpochExamples] {
    FileManager.default.contents(atPath: path)
      .flatMap { try? JSONDecoder().decode([EpochExamples].self, from: $0) } ?? []
  }

  /// Adds the texts of an evaluation in place of those of its epoch and later ones.
  public static func write(_ texts: [ExampleText], epoch: Int, step: Int, to path: String) throws {
    let all = read(path).filter { $0.epoch < epoch } + [EpochExamples(epoch: epoch, step: step, texts: texts)]
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    try AtomicFile.write(path: path, data: try encoder.encode(all))
  }
}
