import EagleCore
import EagleModels
import EagleText

/// A target with its tokenizer and chat template, which turn text into token ids and back.
public struct ChatModel: Sendable {
  public let target: TargetModel
  public let tokenizer: Tokenizer
  package let template: ChatTemplate
  /// The recommendations of the model's author. Stop ids hold everywhere; sampling is for those who chat with the
  /// model, not for training, evaluation or measurements.
  package let generation: GenerationConfig

  /// Loads a Hugging Face folder.
  ///
  /// - Parameters:
  ///   - folder: configuration, tokenizer, chat template and weights
  ///   - name: the chat template: `auto` for the folder's own, a name or a `.jinja` file
  ///   - options: variables of every rendering
  ///   - format: the weights as stored, or quantised at load
  ///   - precision: that of matrix products
  ///   - context: the longest text, where the rotary embedding depends on it
  /// - Throws: when a file is missing or broken, when generation_config.json has a value without a meaning, and when
  ///   the tokenizer has ids that the model does not know
  public init(
    folder: String, template name: String = "auto", options: TemplateOptions = TemplateOptions(),
    format: WeightFormat = .stored, precision: ComputePrecision, context: Int? = nil
  ) throws {
    target = try TargetModel(folder: folder, format: format, precision: precision, context: context)
    tokenizer = try Tokenizer(folder: folder, size: target.shape.vocabularySize)
    guard tokenizer.vocabularySize <= target.shape.vocabularySize else {
      throw LocatedError(
        path: folder,
        problem: "tokenizer.json has \(tokenizer.vocabularySize) ids and the model \(target.shape.vocabularySize)",
        advice: "take the tokenizer that belongs to this model")
    }
    generation = try GenerationConfig(folder: folder, vocabularySize: target.shape.vocabularySize)
    template = try ChatTemplate.load(folder: folder, name: name, options: options.json, tokenizer: tokenizer)
  }

  /// The ids that end a turn.
  public var stopIDs: Set<Int32> { template.stopIDs.union(target.shape.eosTokens).union(generation.stopIDs) }

  /// The ids of a dialogue, ready for the model's next turn.
  public func prompt(_ messages: [ChatMessage]) throws -> [Int32] { try prompt(messages, tools: []) }

  /// The ids of a dialogue with tools that the answer may call, and with variables of the template.
  package func prompt(
    _ messages: [ChatMessage], tools: [JSON], options: JSON.Object = JSON.Object()
  ) throws -> [Int32] {
    try template.prompt(messages, tools: tools, options: options, tokenizer: tokenizer)
  }

  /// Whether a prompt ends with an open `<think>`: what follows is reasoning.
  package func opensReasoning(_ prompt: [Int32]) -> Bool {
    let tail = tokenizer.decode(Array(prompt.suffix(16)), skipSpecial: false)
    return tail.reversed().drop(while: \.isWhitespace).starts(with: "<think>".reversed())
  }

  /// The text of generated ids, without control tokens. It follows a prompt: a space in front is the model's.
  public func text(_ ids: [Int32]) -> String { tokenizer.decode(ids, skipSpecial: true, startsText: false) }
}
