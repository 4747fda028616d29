import EagleChat
import EagleText

/// How a model marks reasoning and calls of tools in what it writes.
package struct OutputFormat: Sendable {
  /// Nil for a model that knows no syntax of calls: they stay content.
  package let syntax: ToolSyntax?
  /// Whether the template or the vocabulary knows `<think>`.
  package let marksReasoning: Bool

  /// What the template and the vocabulary of a model hold.
  package init(_ model: ChatModel) {
    let template = model.template.source.text + (model.template.source.toolText ?? "")
    let tokenizer = model.tokenizer
    syntax = ToolSyntax(template: template) { tokenizer.id(of: $0) != nil }
    marksReasoning = template.contains("<think>") || tokenizer.id(of: "<think>") != nil
  }

  /// The parser of one answer; nil where all of it is content.
  ///
  /// - Parameter isReasoning: whether the prompt ends within reasoning
  package func parser(_ request: ChatRequest, isReasoning: Bool) -> OutputParser? {
    let calls = request.tools.names.isEmpty ? nil : syntax.map { ToolCallParser($0, names: request.tools.names) }
    guard marksReasoning || calls != nil else { return nil }
    var parser = OutputParser(reasoning: marksReasoning ? ReasoningParser(isOpen: isReasoning) : nil, calls: calls)
    (parser.includesReasoning, parser.isParallel) = (request.includesReasoning, request.tools.isParallel)
    return parser
  }
}
