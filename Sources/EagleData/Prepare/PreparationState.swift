import EagleCore
import EagleRunFiles
import EagleText
import Foundation

/// How far a preparation is: what a later start needs to go on behind the last whole file of tokens.
struct PreparationState: Codable {
  /// Of all that the result follows from; a folder of another one is begun anew.
  let fingerprint: String
  /// Files of tokens that are whole.
  var files = 0
  /// Data file that is being read, and its last line that is in these.
  var input = 0
  var line = 0
  /// What the data files have come to, the current one included.
  var reports: [ReadReport] = []
  var statistics = DataStatistics()
  /// Conversations that are never trained on, ascending.
  var heldOut: [Int] = []
  /// How often an epoch has each conversation.
  var repeats = Repeats()
  var counts: TokenCounts

  init(fingerprint: String, vocabularySize: Int) {
    self.fingerprint = fingerprint
    counts = TokenCounts(size: vocabularySize)
  }

  private static func path(_ folder: String) -> String { "\(folder)/state.json" }

  /// That of an earlier start; nil when there is none, or it was about other data.
  static func read(_ folder: String, fingerprint: String) -> PreparationState? {
    let data = FileManager.default.contents(atPath: path(folder))
    let state = data.flatMap { try? JSONDecoder().decode(PreparationState.self, from: $0) }
    return state?.fingerprint == fingerprint ? state : nil
  }

  func write(_ folder: String) throws {
    try AtomicFile.writeJSON(self, to: Self.path(folder), style: .compactEscaped)
  }

  static func remove(_ folder: String) throws { try FileManager.default.removeItem(atPath: path(folder)) }
}
