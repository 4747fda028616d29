import EagleCore
import EagleText

/// The settings of the training conversations, and of their conversion to tokens.
public struct DataConfig: Config {
  /// The JSON Lines files, one conversation per line, plain or compressed with gzip or Zstandard.
  public var train: [DataFile] = []
  /// The fraction of the conversations that is held out for measurement, at least 0 and below 1.
  public var heldOut = 0.02
  /// The name of the chat template, a `.jinja` file, or `auto`: the one in the target's folder.
  public var chatTemplate = "auto"
  /// Variables of the chat template, such as `enable_thinking`; evaluation and generation render with them too.
  public var chatTemplateOptions = TemplateOptions()
  /// The rows of tokens that a conversation is converted to.
  public var rows = ConversationRows.auto
  /// Whether the reasoning of answers is kept, in a field of its own or between `<think>` and `</think>`.
  public var reasoning = Inclusion.keep
  /// The maximum number of tokens of a conversation.
  public var maxLength = 2048
  /// The turns that are trained on.
  public var trainedTurns = TrainedTurns.assistant
  /// The treatment of a conversation with more tokens: its beginning is kept, or it is left out.
  public var tooLong = LongConversations.cut
  /// Whether conversations are kept whose answer is marked as cut. Its missing end is not trained.
  public var cutAnswers = Inclusion.keep
  /// Whether conversations are kept whose answer ends in a loop.
  public var loopingAnswers = Inclusion.keep
  /// Whether conversations are kept whose messages are those of an earlier one.
  public var duplicates = Inclusion.drop

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks the ranges of all settings, and that files are named.
  public func validate() throws {
    try require(!train.isEmpty, "train", "is empty: name at least one file of conversations")
    try require(!train.contains { $0.path.isEmpty }, "train", "holds an empty path")
    for file in train {
      try require(
        file.weight > 0 && file.weight <= 100, "train", "the weight of \(file.path) must be above 0 and at most 100")
    }
    try require(heldOut >= 0 && heldOut < 1, "held_out", "must be at least 0 and below 1, not \(heldOut)")
    try require(!chatTemplate.isEmpty, "chat_template", "is empty: name a template, or write auto")
    try requireCount(maxLength, "max_length", atLeast: 2)
  }

  enum CodingKeys: String, CodingKey {
    case train
    case heldOut = "held_out"
    case chatTemplate = "chat_template"
    case chatTemplateOptions = "chat_template_options"
    case rows, reasoning
    case maxLength = "max_length"
    case trainedTurns = "trained_turns"
    case tooLong = "too_long"
    case cutAnswers = "cut_answers"
    case loopingAnswers = "looping_answers"
    case duplicates
  }
}

/// A file of conversations, and how often each of them is trained in an epoch: a path, or `{path: …, weight: …}`.
///
/// A weight of 0.25 samples a quarter of the conversations. With 2.5, an epoch has each conversation twice and a
/// sampled half of them a third time.
public struct DataFile: Equatable, Sendable, ExpressibleByStringLiteral {
  /// The path of the file.
  public var path: String
  /// The number of times that an epoch has each conversation, above 0 and at most 100.
  public var weight = 1.0

  /// Creates a file with its weight.
  public init(path: String, weight: Double = 1) {
    self.path = path
    self.weight = weight
  }

  /// Creates a file of weight 1 from its path.
  public init(stringLiteral path: String) { self.init(path: path) }
}

extension DataFile: Codable {
  private enum CodingKeys: String, CodingKey, CaseIterable { case path, weight }

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public init(from decoder: any Decoder) throws {
    if let path = try? decoder.singleValueContainer().decode(String.self) {
      self.init(path: path)
      return
    }
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    for key in try decoder.container(keyedBy: Key.self).allKeys where CodingKeys(stringValue: key.stringValue) == nil {
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: decoder.codingPath, debugDescription: "has the unknown key \(key.stringValue): path and weight"))
    }
    self.init(
      path: try fields.decode(String.self, forKey: .path),
      weight: try fields.decodeIfPresent(Double.self, forKey: .weight) ?? 1)
  }

  public func encode(to encoder: any Encoder) throws {
    if weight == 1 {
      var container = encoder.singleValueContainer()
      try container.encode(path)
    } else {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(path, forKey: .path)
      try container.encode(weight, forKey: .weight)
    }
  }
}

/// The turns that carry loss.
public enum TrainedTurns: String, Codable, CaseIterable, Sendable {
  /// Turns of the assistant: the text that the target generates when the head is used.
  case assistant
  /// Also turns of the user: the target predicts every token, and small data sets become larger.
  case all

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  var roles: Set<ChatMessage.Role> { self == .assistant ? [.assistant] : [.assistant, .user] }
}

/// Whether a kind of conversations, or a part of them, is kept for training.
public enum Inclusion: String, Codable, CaseIterable, Sendable {
  /// A choice: `keep` leaves it in the training data, `drop` removes it.
  case keep, drop

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The treatment of conversations that are longer than `max_length`.
public enum LongConversations: String, Codable, CaseIterable, Sendable {
  /// A treatment: `cut` keeps the beginning, `drop` leaves the conversation out.
  case cut, drop

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}
