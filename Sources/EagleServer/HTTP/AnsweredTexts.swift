import EagleDecoding
import EagleDraft
import Foundation

/// Collects the deltas of one answer for a response that is not streamed.
struct CollectedText {
  /// The parser of reasoning and calls; nil if all of the text is content.
  private var parser: OutputParser?
  private var pieces: [OutputParser.Piece] = []
  private var logprobs: [LogprobRun] = []
  /// The number of characters so far.
  private var characters = 0
  private var outcome: Outcome?

  init(parser: OutputParser?) { self.parser = parser }

  mutating func append(_ delta: TextDelta) {
    if !delta.logprobs.isEmpty { logprobs.append(LogprobRun(offset: characters, tokens: delta.logprobs)) }
    characters += delta.text.unicodeScalars.count
    pieces += parser?.append(delta.text, tokens: delta.tokens) ?? [.content(delta.text)]
  }

  mutating func finish(_ outcome: Outcome) {
    pieces += parser?.finish() ?? []
    self.outcome = outcome
    self.outcome?.reasoningTokens = parser?.reasoningTokens
  }

  /// The answer once it is finished, before that nil.
  var written: AnswerWriter.Written? {
    outcome.map { AnswerWriter.Written(pieces, $0, logprobs: logprobs) }
  }
}

/// The answers of a streamed response, and the events that report them.
struct StreamedTexts {
  var writer: any AnswerWriting
  /// The outcomes of the finished answers.
  private(set) var outcomes: [Outcome] = []
  private var parsers: [OutputParser?]
  /// The number of characters of each answer that were sent.
  private var offsets: [Int]

  init(writer: any AnswerWriting, parsers: [OutputParser?]) {
    (self.writer, self.parsers) = (writer, parsers)
    offsets = [Int](repeating: 0, count: parsers.count)
  }

  /// The events of a delta: its pieces in order. Its token counts and logprobs are in the event of the first content,
  /// or in an event of their own if all of its text is held back.
  mutating func events(_ delta: TextDelta, index: Int) -> [Data] {
    let offset = offsets[index]
    offsets[index] += delta.text.unicodeScalars.count
    guard let pieces = parsers[index]?.append(delta.text, tokens: delta.tokens) else {
      return [writer.delta(delta, index: index, offset: offset)]
    }
    var rest: TextDelta? = delta
    var events: [Data] = []
    for piece in pieces {
      if case .content(let text) = piece, var shown = rest {
        (shown.text, rest) = (text, nil)
        events.append(writer.delta(shown, index: index, offset: offset))
      } else {
        events.append(writer.piece(piece, index: index))
      }
    }
    guard var hidden = rest else { return events }
    hidden.text = ""
    return events + [writer.delta(hidden, index: index, offset: offset)]
  }

  /// The events that end an answer.
  mutating func end(_ outcome: Outcome, index: Int) -> [Data] {
    var outcome = outcome
    let pieces = parsers[index]?.finish() ?? []
    outcome.reasoningTokens = parsers[index]?.reasoningTokens
    outcomes.append(outcome)
    let events = pieces.map { writer.piece($0, index: index) }
    return events + [writer.end(outcome, index: index, hasCalls: (parsers[index]?.calls ?? 0) > 0)]
  }
}
