import EagleDecoding
import EagleDraft
import Foundation

/// One text of a whole answer, as its deltas come.
struct CollectedText {
  /// What finds reasoning and calls; nil where all of the text is content.
  private var parser: OutputParser?
  private var pieces: [OutputParser.Piece] = []
  private var logprobs: [LogprobRun] = []
  /// Characters of the text so far.
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

  /// The text once it is finished, before that nil.
  var written: AnswerWriter.Written? {
    outcome.map { AnswerWriter.Written(pieces, $0, logprobs: logprobs) }
  }
}

/// The texts of a streamed answer, and the events that they become.
struct StreamedTexts {
  var writer: any AnswerWriting
  /// Those of the texts that are finished.
  private(set) var outcomes: [Outcome] = []
  private var parsers: [OutputParser?]
  /// Characters of each text that were sent.
  private var offsets: [Int]

  init(writer: any AnswerWriting, parsers: [OutputParser?]) {
    (self.writer, self.parsers) = (writer, parsers)
    offsets = [Int](repeating: 0, count: parsers.count)
  }

  /// The events of a delta: its pieces in order. Its tokens and logprobs go with the first content, or by themselves
  /// where all of its text is held back.
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

  /// The events with which a text ends.
  mutating func end(_ outcome: Outcome, index: Int) -> [Data] {
    var outcome = outcome
    let pieces = parsers[index]?.finish() ?? []
    outcome.reasoningTokens = parsers[index]?.reasoningTokens
    outcomes.append(outcome)
    let events = pieces.map { writer.piece($0, index: index) }
    return events + [writer.end(outcome, index: index, hasCalls: (parsers[index]?.calls ?? 0) > 0)]
  }
}
