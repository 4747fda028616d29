import EagleChat
import EagleText

/// The markup of reasoning and tool calls in a model's output.
package struct OutputFormat: Sendable {
  /// Nil if calls stay content.
  package let syntax: ToolSyntax?
  /// Nil if reasoning stays content.
  package let reasoning: ReasoningStyle?
  /// What the server says of markup that it does not parse; nil if there is none.
  package let warning: String?
  private let callMarkers: Set<Int32>
  private let reasoningMarkers: Set<Int32>

  /// Detected from the template and the vocabulary of the model, unless the settings specify it.
  package init(_ model: ChatModel, _ config: ServerConfig) {
    let template = model.template.source.text + (model.template.source.toolText ?? "")
    let knows = { model.tokenizer.id(of: $0) != nil }
    syntax = config.toolParser.resolved(ToolSyntax(template: template, knows: knows))
    let marksReasoning = template.contains("<think>") || knows("<think>")
    reasoning = config.reasoningParser.resolved(marksReasoning ? .qwen3 : nil)
    warning = ToolSyntax.unknownMarker(template: template).map {
      "warning: the chat template uses the markup \($0), which this server does not parse: "
        + "what a model writes in it stays in the content"
    }
    callMarkers = Set((syntax?.markers ?? []).compactMap(model.tokenizer.id(of:)))
    reasoningMarkers = Set((reasoning == nil ? [] : ["<think>", "</think>"]).compactMap(model.tokenizer.id(of:)))
  }

  /// The parsers in use, as the server prints them.
  package var description: String {
    "tool parser \(syntax?.rawValue ?? "none"), reasoning parser \(reasoning?.rawValue ?? "none")"
  }

  /// The tokens that a parser must see even if they are special.
  func markers(_ request: ChatRequest) -> Set<Int32> {
    reasoningMarkers.union(request.tools.names.isEmpty ? [] : callMarkers)
  }

  /// The parser of one answer; nil if all of it is content.
  ///
  /// - Parameters:
  ///   - isReasoning: whether the prompt ends within reasoning
  ///   - hasReasoned: whether the prompt has already closed the reasoning of the answer
  package func parser(_ request: ChatRequest, isReasoning: Bool, hasReasoned: Bool) -> OutputParser? {
    let calls = request.tools.names.isEmpty ? nil : syntax.map { ToolCallParser($0, names: request.tools.names) }
    guard reasoning != nil || calls != nil else { return nil }
    let reasoning = reasoning.map { ReasoningParser(isOpen: isReasoning, needsOpening: $0 == .qwen3 || hasReasoned) }
    var parser = OutputParser(reasoning: reasoning, calls: calls)
    (parser.includesReasoning, parser.isParallel) = (request.includesReasoning, request.tools.isParallel)
    return parser
  }
}
