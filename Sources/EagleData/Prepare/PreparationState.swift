import EagleCore
import EagleRunFiles
import EagleText
import Foundation

/// The progress of a preparation: what a later start needs to go on behind the last whole file of tokens.
struct PreparationState: Codable {
  /// The fingerprint of all that the result follows from; a folder with another one is begun anew.
  let fingerprint: String
  /// Files of tokens that are whole.
  var files = 0
  /// The data file that is being read, and its last line that is in the files of tokens.
  var input = 0
  var line = 0
  /// The tallies of the data files, the current one included.
  var reports: [ReadReport] = []
  var statistics = DataStatistics()
  /// Conversations that are never trained on, ascending.
  var heldOut: [Int] = []
  /// The number of times that an epoch has each conversation.
  var repeats = Repeats()
  var counts: TokenCounts

  init(fingerprint: String, vocabularySize: Int) {
    self.fingerprint = fingerprint
    counts = TokenCounts(size: vocabularySize)
  }

  private static func path(_ folder: String) -> String { "\(folder)/state.json" }

  /// The state of an earlier start; nil when there is none, when it was about other data, or counts what cannot be.
  ///
  /// - Parameter inputs: how many data files there are
  static func read(_ folder: String, fingerprint: String, inputs: Int) -> PreparationState? {
    guard let data = FileManager.default.contents(atPath: path(folder)),
      let state = try? JSONDecoder().decode(PreparationState.self, from: data), state.fingerprint == fingerprint,
      0...PreparedData.mostFiles ~= state.files, 0..<inputs ~= state.input, state.line >= 0,
      state.reports.count == state.input + 1
    else { return nil }
    return state
  }

  func write(_ folder: String) throws {
    try AtomicFile.writeJSON(self, to: Self.path(folder), style: .compactEscaped)
  }

  static func exists(_ folder: String) -> Bool { FileManager.default.fileExists(atPath: path(folder)) }

  static func remove(_ folder: String) throws {
    if exists(folder) { try FileManager.default.removeItem(atPath: path(folder)) }
  }
}
