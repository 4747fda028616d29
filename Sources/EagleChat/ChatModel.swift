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

  /// Loads a Hugging Face folder. `auto` takes the chat template that belongs to it.
  ///
  /// - Throws: when a file is missing or broken, when generation_config.json has a value without a meaning, and when
  ///   the tokenizer has ids that the model does not know
  public init(
    folder: String, template name: String = "auto", format: WeightFormat = .stored, precision: ComputePrecision
  ) throws {
    target = try TargetModel(folder: folder, format: format, precision: precision)
    tokenizer = try Tokenizer(folder: folder)
    guard tokenizer.vocabularySize <= target.shape.vocabularySize else {
      throw LocatedError(
        path: folder,
        problem: "tokenizer.json has \(tokenizer.vocabularySize) ids and the model \(target.shape.vocabularySize)",
        advice: "take the tokenizer that belongs to this model")
    }
    generation = try GenerationConfig(folder: folder, vocabularySize: target.shape.vocabularySize)
    template = try ChatTemplate.detect(folder: folder, tokenizer: tokenizer, name: name)
  }

  /// The ids that end a turn.
  public var stopIDs: Set<Int32> { template.stopIDs.union(target.shape.eosTokens).union(generation.stopIDs) }

  /// The ids of a dialogue, ready for the model's next turn.
  public func prompt(_ messages: [ChatMessage]) throws -> [Int32] {
    try template.prompt(messages, tokenizer: tokenizer)
  }

  /// The text of generated ids, without control tokens.
  public func text(_ ids: [Int32]) -> String { tokenizer.decode(ids, skipSpecial: true) }
}
