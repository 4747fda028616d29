import EagleCore
import EagleModels
import EagleStorage
import EagleText
import Foundation

/// The text side of a chat model: its sizes, tokenizer and chat template, without weights.
package struct ChatFormat: Sendable {
  /// The Hugging Face folder, or the GGUF file.
  package let path: String
  package let shape: TargetShape
  package let tokenizer: Tokenizer
  package let template: ChatTemplate
  /// The recommendations of the model's author.
  package let generation: GenerationConfig
  /// The SHA-256 of tokenizer.json, as the model has it or as it would be imported.
  package let tokenizerDigest: String
  /// Variables of every rendering.
  package let options: JSON.Object

  /// Loads everything of a model except the weights.
  ///
  /// - Parameters:
  ///   - source: configuration, tokenizer and chat template
  ///   - shape: the sizes, if they were already read; nil reads them
  ///   - name: the chat template: `auto` for the folder's own, a name or a `.jinja` file
  ///   - options: variables of every rendering
  /// - Throws: as `ChatModel` does
  package init(
    _ source: ModelSource, shape: TargetShape? = nil, template name: String = "auto",
    options: TemplateOptions = TemplateOptions()
  ) throws {
    path = source.path
    self.options = options.json
    self.shape = try shape ?? TargetShape(source)
    let files = try source.tokenizerFiles()
    tokenizer = try Tokenizer(files: files, without: self.shape.omittedTokens)
    guard tokenizer.vocabularySize <= self.shape.vocabularySize else {
      throw LocatedError(
        path: path,
        problem: "the tokenizer has \(tokenizer.vocabularySize) ids and the model \(self.shape.vocabularySize)",
        advice: "take the tokenizer that belongs to this model")
    }
    tokenizerDigest = FileDigest.sha256(files.content("tokenizer.json") ?? Data())
    generation = try GenerationConfig(source.texts, vocabularySize: self.shape.vocabularySize)
    template = try ChatTemplate.load(files: files, name: name, options: options.json, tokenizer: tokenizer)
  }

  /// The ids that end a turn.
  package var stopIDs: Set<Int32> { template.stopIDs.union(shape.eosTokens).union(generation.stopIDs) }

  /// The token ids of a dialogue, with the tools that the answer may call and with variables of the template.
  package func prompt(
    _ messages: [ChatMessage], tools: [JSON] = [], options: JSON.Object = JSON.Object()
  ) throws -> [Int32] {
    try template.prompt(messages, tools: tools, options: options, tokenizer: tokenizer)
  }

  /// Whether a prompt ends with an open `<think>`, so that the answer begins with reasoning.
  package func opensReasoning(_ prompt: [Int32]) -> Bool { ends(prompt, with: "<think>") }

  /// Whether a prompt ends with `</think>`, so that the answer has no reasoning.
  package func closesReasoning(_ prompt: [Int32]) -> Bool { ends(prompt, with: "</think>") }

  private func ends(_ prompt: [Int32], with tag: String) -> Bool {
    let tail = tokenizer.decode(Array(prompt.suffix(16)), skipSpecial: false)
    return tail.reversed().drop(while: \.isWhitespace).starts(with: tag.reversed())
  }

  /// The text of generated ids, without control tokens. The text follows a prompt, so a leading space is kept.
  package func text(_ ids: [Int32]) -> String { tokenizer.decode(ids, skipSpecial: true, startsText: false) }
}
