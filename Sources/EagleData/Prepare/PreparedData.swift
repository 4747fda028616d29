import EagleCaptureStore
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleText
import Foundation

/// Conversations as token ids, ready for capture: `prepared/` of a run.
public struct PreparedData: Sendable {
  /// The content of `prepared/manifest.json`.
  struct Manifest: Codable {
    /// The fingerprint of everything that determines the token ids and masks.
    var tokensFingerprint: String
    /// The fingerprint of ids and masks, the held-out split and the draft vocabulary.
    var fingerprint: String
    /// Files of tokens.
    var files: Int
    /// Held-out conversations, ascending.
    var heldOut: [Int]
    /// The number of times that an epoch has each conversation.
    var repeats: Repeats
    /// Draft vocabulary: target ids, ascending.
    var draftVocabulary: [Int32]
    var targetVocabularySize: Int
    /// The last token that is not trained; files of older versions have none.
    var maskToken: Int32?
    var statistics: DataStatistics

    enum CodingKeys: String, CodingKey {
      case fingerprint, files, repeats, statistics
      case tokensFingerprint = "tokens_fingerprint"
      case heldOut = "held_out"
      case draftVocabulary = "draft_vocabulary"
      case targetVocabularySize = "target_vocabulary_size"
      case maskToken = "mask_token"
    }
  }

  package let tokens: TokenStore
  /// The fingerprint of the token ids and masks, on which captured states depend.
  package let tokensFingerprint: String
  /// The fingerprint of everything in the folder.
  package let fingerprint: String
  package let heldOut: [Int]
  package let vocabulary: DraftVocabulary
  package let statistics: DataStatistics
  /// A token that is never trained, for the mask tokens of blocks; nil if every token is trained.
  package let maskToken: Int32?
  private let repeats: Repeats
  private let names: ConversationNames

  static func manifestPath(_ folder: String) -> String { "\(folder)/manifest.json" }
  static func fileNumber(_ file: Int) -> String { String(format: "%05d", file) }
  static func tokensPath(_ folder: String, _ file: Int) -> String { "\(folder)/tokens-\(fileNumber(file)).h5" }
  static func namesPath(_ folder: String, _ file: Int) -> String { "\(folder)/conversations-\(fileNumber(file)).jsonl" }

  /// Throws if a folder that preparation would replace or remove contains other files than prepared data.
  ///
  /// - Parameter folder: `prepared/` of a run, or `prepared.partial/`
  package static func requireReplaceable(_ folder: String) throws {
    try AtomicFolder.requireOnly("prepared data", in: folder, isPart: isFile)
  }

  /// Whether a file of this name belongs to finished or unfinished prepared data, of this version or an earlier one.
  private static func isFile(_ name: String) -> Bool {
    ["manifest.json", "statistics.md", "state.json", "tokens.h5"].contains(name)
      || name.wholeMatch(of: /tokens-[0-9]+\.h5|conversations-[0-9]+\.jsonl|digests-[0-9]+\.bin/) != nil
  }

  /// Opens a finished preparation.
  package init(folder: String) throws {
    let path = Self.manifestPath(folder)
    guard let data = FileManager.default.contents(atPath: path),
      let manifest = try? JSONDecoder().decode(Manifest.self, from: data)
    else {
      throw LocatedError(path: path, problem: "there is no prepared data", advice: "run `eagle-train prepare` first")
    }
    guard 0...Self.mostFiles ~= manifest.files else { throw Self.damaged(path, "it counts \(manifest.files) files") }
    tokens = try TokenStore(paths: (0..<manifest.files).map { Self.tokensPath(folder, $0) })
    tokensFingerprint = manifest.tokensFingerprint
    fingerprint = manifest.fingerprint
    heldOut = manifest.heldOut
    repeats = manifest.repeats
    let count = tokens.conversationCount
    guard repeats.fits(count: count) else {
      throw Self.damaged(path, "it repeats conversations that the tokens do not have")
    }
    guard heldOut.allSatisfy({ 0..<count ~= $0 }) else {
      throw Self.damaged(path, "it holds out conversations that the tokens do not have")
    }
    vocabulary = try DraftVocabulary(
      checking: manifest.draftVocabulary, targetSize: manifest.targetVocabularySize, path: path)
    statistics = manifest.statistics
    maskToken = manifest.maskToken
    names = ConversationNames(paths: (0..<manifest.files).map { Self.namesPath(folder, $0) })
  }

  /// An upper bound of the number of token files, which have 20 M tokens each.
  static let mostFiles = 1 << 20

  private static func damaged(_ path: String, _ problem: String) -> LocatedError {
    LocatedError(path: path, problem: problem, advice: "run `eagle-train prepare` again")
  }

  /// Data without files, for measurements and tests.
  package init(tokens: TokenStore, vocabulary: DraftVocabulary, fingerprint: String = "none") {
    self.tokens = tokens
    (tokensFingerprint, self.fingerprint) = (fingerprint, fingerprint)
    (heldOut, self.vocabulary, statistics, repeats) = ([], vocabulary, DataStatistics(), Repeats())
    names = ConversationNames(paths: [])
    maskToken = nil
  }

  /// The name of a conversation in `train.leave_out`: its id, or `#` and its number if several have that id. The first
  /// call reads the list of all ids.
  package func name(of conversation: Int) -> String {
    names.unique(conversation, count: tokens.conversationCount) ?? "#\(conversation)"
  }

  /// Conversations by the names that `name(of:)` gives; an id of several conversations means all of them.
  ///
  /// - Throws: for a name that no conversation has, and if ids are missing
  package func conversations(named wanted: [String]) throws -> Set<Int> {
    guard !wanted.isEmpty else { return [] }
    let ids = names.ids
    guard ids.count == tokens.conversationCount else {
      throw LocatedError(
        path: names.paths.first ?? "prepared",
        problem: "\(ids.count) ids for \(tokens.conversationCount) conversations",
        advice: "the files of ids are damaged: remove the prepared folder and prepare again")
    }
    let byName = Dictionary(grouping: ids.enumerated(), by: \.element).mapValues { $0.map(\.offset) }
    var found: Set<Int> = []
    for name in wanted {
      let number = name.hasPrefix("#") ? Int(name.dropFirst()) : nil
      if let conversations = byName[name] {
        found.formUnion(conversations)
      } else if let number, 0..<tokens.conversationCount ~= number {
        found.insert(number)
      } else {
        throw LocatedError(
          path: "train.leave_out", problem: "no prepared conversation is called \(name)",
          advice: "name it as `metrics.jsonl` and the error that named it do")
      }
    }
    return found
  }

  /// The conversations of an epoch, ascending; one that the weight of its file repeats occurs several times.
  package var trained: [Int] {
    let heldOut = Set(heldOut)
    let times = repeats.times(count: tokens.conversationCount)
    return times.indices.filter { !heldOut.contains($0) }.flatMap { [Int](repeating: $0, count: times[$0]) }
  }
}
