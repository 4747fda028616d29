import EagleCore
import EagleModels
import EagleText

/// The text side of a chat model: its sizes, tokenizer and chat template, without weights.
package struct ChatFormat: Sendable {
  /// The Hugging Face folder.
  package let folder: String
  package let shape: TargetShape
  package let tokenizer: Tokenizer
  package let template: ChatTemplate
  /// The recommendations of the model's author.
  package let generation: GenerationConfig
  /// Variables of every rendering.
  package let options: JSON.Object

  /// Loads what lies beside the weights.
  ///
  /// - Parameters:
  ///   - folder: configuration, tokenizer and chat template
  ///   - shape: the sizes, where they have been read; nil reads config.json
  ///   - name: the chat template: `auto` for the folder's own, a name or a `.jinja` file
  ///   - options: variables of every rendering
  /// - Throws: as `ChatModel` does
  package init(
    folder: String, shape: TargetShape? = nil, template name: String = "auto",
    options: TemplateOptions = TemplateOptions()
  ) throws {
    self.folder = folder
    self.options = options.json
    self.shape = try shape ?? TargetShape(folder: folder)
    tokenizer = try Tokenizer(folder: folder, without: self.shape.omittedTokens)
    guard tokenizer.vocabularySize <= self.shape.vocabularySize else {
      throw LocatedError(
        path: folder,
        problem: "tokenizer.json has \(tokenizer.vocabularySize) ids and the model \(self.shape.vocabularySize)",
        advice: "take the tokenizer that belongs to this model")
    }
    generation = try GenerationConfig(folder: folder, vocabularySize: self.shape.vocabularySize)
    template = try ChatTemplate.load(folder: folder, name: name, options: options.json, tokenizer: tokenizer)
  }

  /// The ids that end a turn.
  package var stopIDs: Set<Int32> { template.stopIDs.union(shape.eosTokens).union(generation.stopIDs) }

  /// The ids of a dialogue with tools that the answer may call, and with variables of the template.
  package func prompt(
    _ messages: [ChatMessage], tools: [JSON] = [], options: JSON.Object = JSON.Object()
  ) throws -> [Int32] {
    try template.prompt(messages, tools: tools, options: options, tokenizer: tokenizer)
  }

  /// Whether a prompt ends with an open `<think>`: what follows is reasoning.
  package func opensReasoning(_ prompt: [Int32]) -> Bool {
    let tail = tokenizer.decode(Array(prompt.suffix(16)), skipSpecial: false)
    return tail.reversed().drop(while: \.isWhitespace).starts(with: "<think>".reversed())
  }

  /// The text of generated ids, without control tokens. It follows a prompt: a space in front is the model's.
  package func text(_ ids: [Int32]) -> String { tokenizer.decode(ids, skipSpecial: true, startsText: false) }
}
