import EagleCore
import EagleRunFiles
import EagleText
import Foundation

/// The progress of a preparation: what a later start needs to resume after the last complete file of tokens.
struct PreparationState: Codable {
  /// The fingerprint of everything that determines the result; a folder with another one is started anew.
  let fingerprint: String
  /// The number of complete files of tokens.
  var files = 0
  /// The current data file, and its last line that is in the complete files of tokens.
  var input = 0
  var line = 0
  /// The tallies of the data files, including the current one.
  var reports: [ReadReport] = []
  var statistics = DataStatistics()
  /// Held-out conversations, ascending.
  var heldOut: [Int] = []
  /// The number of times that an epoch has each conversation.
  var repeats = Repeats()
  var counts: TokenCounts

  init(fingerprint: String, vocabularySize: Int) {
    self.fingerprint = fingerprint
    counts = TokenCounts(size: vocabularySize)
  }

  private static func path(_ folder: String) -> String { "\(folder)/state.json" }

  /// The state of an earlier start; nil if there is none, if it belongs to other data, or if its counts are invalid.
  ///
  /// - Parameter inputs: the number of data files
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
