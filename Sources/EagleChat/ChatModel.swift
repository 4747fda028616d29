import EagleCore
import EagleModels
import EagleText

/// A target with its tokenizer and chat template, which turn text into token ids and back.
public struct ChatModel: Sendable {
  /// The target model.
  public let target: TargetModel
  /// Everything but the weights.
  package let format: ChatFormat

  /// The tokenizer of the target.
  public var tokenizer: Tokenizer { format.tokenizer }
  package var template: ChatTemplate { format.template }
  /// The recommendations of the model's author. The stop ids apply everywhere; the sampling applies only to chat and
  /// generation, not to training, evaluation or measurements.
  package var generation: GenerationConfig { format.generation }

  /// Loads a Hugging Face folder or a GGUF file.
  ///
  /// - Parameters:
  ///   - folder: configuration, tokenizer, chat template and weights: the folder, or the file
  ///   - name: the chat template: `auto` for the folder's own, a name or a `.jinja` file
  ///   - options: variables of every rendering
  ///   - format: the weights as stored, or quantised at load
  ///   - precision: the precision of the GEMMs
  ///   - cache: the format of KV caches; nil for that of the precision
  ///   - context: the maximum context length, if the rotary embedding depends on it
  /// - Throws: when a file is missing or broken, when generation_config.json has an invalid value, and when the
  ///   tokenizer has ids outside the model's vocabulary
  public init(
    folder: String, template name: String = "auto", options: TemplateOptions = TemplateOptions(),
    format: WeightFormat = .stored, precision: ComputePrecision, cache: CacheFormat? = nil, context: Int? = nil
  ) throws {
    try self.init(
      ModelSource(path: folder), template: name, options: options, format: format, precision: precision,
      cache: cache, context: context)
  }

  package init(
    _ source: ModelSource, template name: String = "auto", options: TemplateOptions = TemplateOptions(),
    format: WeightFormat = .stored, precision: ComputePrecision, cache: CacheFormat? = nil, context: Int? = nil
  ) throws {
    target = try TargetModel(source, format: format, precision: precision, cache: cache, context: context)
    self.format = try ChatFormat(source, shape: target.shape, template: name, options: options)
  }

  /// Adds the weights to a format.
  ///
  /// - Throws: when a file of weights is missing or broken
  package init(_ format: ChatFormat, precision: ComputePrecision) throws {
    target = try TargetModel(folder: format.path, precision: precision, context: format.shape.maxPositions)
    self.format = format
  }

  /// The ids that end a turn.
  public var stopIDs: Set<Int32> { format.stopIDs }

  /// The token ids of a dialogue in the chat template, ready for the model's next turn.
  public func prompt(_ messages: [ChatMessage]) throws -> [Int32] { try format.prompt(messages) }

  /// The token ids of a dialogue, with the tools that the answer may call and with variables of the template.
  package func prompt(
    _ messages: [ChatMessage], tools: [JSON], options: JSON.Object = JSON.Object()
  ) throws -> [Int32] {
    try format.prompt(messages, tools: tools, options: options)
  }

  /// Whether a prompt ends with an open `<think>`, so that the answer begins with reasoning.
  package func opensReasoning(_ prompt: [Int32]) -> Bool { format.opensReasoning(prompt) }

  /// Whether a prompt ends with `</think>`, so that the answer has no reasoning.
  package func closesReasoning(_ prompt: [Int32]) -> Bool { format.closesReasoning(prompt) }

  /// The text of generated ids, without control tokens. The text follows a prompt, so a leading space is kept.
  public func text(_ ids: [Int32]) -> String { format.text(ids) }
}
