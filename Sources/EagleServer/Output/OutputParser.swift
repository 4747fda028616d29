/// Splits an answer into reasoning, content and calls of tools, incrementally. Calls are recognised only in content.
package struct OutputParser: Sendable {
  package enum Piece: Sendable, Equatable {
    case reasoning(String)
    case content(String)
    /// A call and its index: the number of calls before it.
    case call(ToolCall, index: Int)

    var reasoningText: String? { if case .reasoning(let text) = self { text } else { nil } }
    var contentText: String? { if case .content(let text) = self { text } else { nil } }
    var toolCall: ToolCall? { if case .call(let call, _) = self { call } else { nil } }
  }

  /// Whether reasoning is reported; otherwise it is dropped.
  package var includesReasoning = true
  /// Whether all calls are reported; otherwise only the first.
  package var isParallel = true
  /// The number of calls that were reported.
  package private(set) var calls = 0
  /// The number of tokens of the reasoning with its markup; nil for a model that does not mark reasoning.
  package private(set) var reasoningTokens: Int?

  private var reasoningParser: ReasoningParser?
  private var callParser: ToolCallParser?

  /// A parser for a model that marks its reasoning, for a request with tools, for both, or for neither.
  package init(reasoning: ReasoningParser? = nil, calls: ToolCallParser? = nil) {
    (reasoningParser, callParser) = (reasoning, calls)
    if reasoning != nil { reasoningTokens = 0 }
  }

  /// Parses the next part of the text and returns the pieces that it completes.
  ///
  /// - Parameter tokens: the number of tokens of that part
  package mutating func append(_ text: String, tokens: Int = 0) -> [Piece] {
    let wasInside = reasoningParser?.isInside == true
    let pieces = text.isEmpty ? [] : read(reasoningParser?.append(text) ?? [.content(text)])
    if let count = reasoningTokens, wasInside || reasoningParser?.isInside == true { reasoningTokens = count + tokens }
    return pieces
  }

  /// The pieces that were held back.
  package mutating func finish() -> [Piece] {
    let pieces = read(reasoningParser?.finish() ?? [])
    return pieces + report(callParser?.finish() ?? [])
  }

  private mutating func read(_ pieces: [ReasoningParser.Piece]) -> [Piece] {
    var output: [Piece] = []
    for piece in pieces {
      switch piece {
      case .reasoning(let text): if includesReasoning { output.append(.reasoning(text)) }
      case .content(let text): output += report(callParser?.append(text) ?? [.content(text)])
      }
    }
    return output
  }

  private mutating func report(_ pieces: [ToolCallParser.Piece]) -> [Piece] {
    var output: [Piece] = []
    for piece in pieces {
      switch piece {
      case .content(let text): output.append(.content(text))
      case .call(let call) where isParallel || calls == 0:
        output.append(.call(call, index: calls))
        calls += 1
      case .call: break
      }
    }
    return output
  }
}
