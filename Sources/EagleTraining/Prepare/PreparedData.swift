import EagleModels
import EagleStorage
import Foundation

/// Conversations as token ids, ready for capture: `prepared/` of a run.
public struct PreparedData: Sendable {
  /// What `prepared/manifest.json` holds.
  struct Manifest: Codable, Equatable {
    /// Of everything that the token ids and masks depend on.
    var tokensFingerprint: String
    /// Of that, the held-out split and the draft vocabulary.
    var fingerprint: String
    /// Conversations that are never trained on, ascending.
    var heldOut: [Int]
    /// Draft vocabulary: target ids, ascending.
    var draftVocabulary: [Int32]
    var targetVocabularySize: Int
    var statistics: DataStatistics

    enum CodingKeys: String, CodingKey {
      case fingerprint, statistics
      case tokensFingerprint = "tokens_fingerprint"
      case heldOut = "held_out"
      case draftVocabulary = "draft_vocabulary"
      case targetVocabularySize = "target_vocabulary_size"
    }
  }

  public let tokens: TokenStore
  /// Of the token ids and masks: what captured states depend on.
  public let tokensFingerprint: String
  /// Of everything in the folder.
  public let fingerprint: String
  public let heldOut: [Int]
  public let vocabulary: DraftVocabulary
  public let statistics: DataStatistics
  private let namesPath: String?

  static func manifestPath(_ folder: String) -> String { "\(folder)/manifest.json" }
  static func tokensPath(_ folder: String) -> String { "\(folder)/tokens.h5" }
  static func namesPath(_ folder: String) -> String { "\(folder)/conversations.jsonl" }

  /// Opens a finished preparation.
  public init(folder: String) throws {
    let path = Self.manifestPath(folder)
    guard let data = FileManager.default.contents(atPath: path),
      let manifest = try? JSONDecoder().decode(Manifest.self, from: data)
    else {
      throw TrainingError(path: path, problem: "there is no prepared data", advice: "run `eagle-train prepare` first")
    }
    tokens = try TokenStore(path: Self.tokensPath(folder))
    tokensFingerprint = manifest.tokensFingerprint
    fingerprint = manifest.fingerprint
    heldOut = manifest.heldOut
    vocabulary = try DraftVocabulary(
      checking: manifest.draftVocabulary, targetSize: manifest.targetVocabularySize, path: path)
    statistics = manifest.statistics
    namesPath = Self.namesPath(folder)
  }

  /// Data that no preparation made, for measurements.
  init(tokens: TokenStore, vocabulary: DraftVocabulary) {
    self.tokens = tokens
    (tokensFingerprint, fingerprint) = ("none", "none")
    (heldOut, self.vocabulary, statistics, namesPath) = ([], vocabulary, DataStatistics(), nil)
  }

  /// The id that the data files give to a conversation. Reads the list of all: for messages.
  public func name(of conversation: Int) -> String {
    let lines =
      namesPath.flatMap { FileManager.default.contents(atPath: $0) }?.split(separator: UInt8(ascii: "\n")) ?? []
    let line = conversation < lines.count ? Data(lines[conversation]) : Data()
    return (try? JSONDecoder().decode(String.self, from: line)) ?? "number \(conversation)"
  }

  /// Conversations to train on, ascending.
  public var trained: [Int] {
    let heldOut = Set(heldOut)
    return (0..<tokens.conversationCount).filter { !heldOut.contains($0) }
  }
}

/// What the conversations are like.
public struct DataStatistics: Codable, Equatable, Sendable {
  public var conversations = 0
  public var heldOut = 0
  public var tokens = 0
  /// Tokens of assistant turns.
  public var assistantTokens = 0
  /// Conversations cut at the greatest length.
  public var cut = 0
  /// Conversations left out, by reason.
  public var leftOut: [String: Int] = [:]
  /// Lines that could not be read.
  public var skippedLines = 0
  /// Share of the trained tokens that are in the draft vocabulary.
  public var vocabularyCoverage = 0.0

  enum CodingKeys: String, CodingKey {
    case conversations, tokens, cut
    case heldOut = "held_out"
    case assistantTokens = "assistant_tokens"
    case leftOut = "left_out"
    case skippedLines = "skipped_lines"
    case vocabularyCoverage = "vocabulary_coverage"
  }
}
