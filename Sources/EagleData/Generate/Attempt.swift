import EagleTensor
import EagleText

/// One synthetic conversation in progress.
struct Attempt {
  static func id(_ number: Int) -> String { "synthetic-\(number)" }
  static func number(_ id: String) -> Int? { id.hasPrefix("synthetic-") ? Int(id.dropFirst(10)) : nil }

  let number: Int
  /// The number of user turns that the conversation will have.
  let turns: Int
  var messages: [ChatMessage] = []
  /// Whether the target generates an answer next, not a question.
  var isAnswering = false

  var id: String { Self.id(number) }

  init(number: Int, _ config: SynthesizeConfig) {
    self.number = number
    var random = RandomSource(seed: config.sampling.seed, purpose: "turns of \(Self.id(number))")
    turns = 1 + Int(random.next() % UInt64(config.turns))
  }

  /// Whether all turns are complete, or an answer was cut.
  var isComplete: Bool { !isAnswering && (messages.count >= 2 * turns || messages.last?.isCut == true) }

  /// The beginning of the user's turn; empty for all turns but the first.
  func opening(_ config: SynthesizeConfig) -> String {
    messages.isEmpty ? config.openings[number % config.openings.count] : ""
  }

  /// The conversation as a line of the output.
  func line(rejected: String? = nil) -> GeneratedFile.Line {
    GeneratedFile.Line(id: id, conversations: messages.map { .init($0) }, rejected: rejected)
  }
}
