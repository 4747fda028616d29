import EagleCluster
import EagleCore
import EagleStorage
import EagleText
import Foundation

/// How many prompts the input of `regenerate` holds.
struct PromptCounts: Codable {
  /// Different prompts.
  private(set) var total = 0
  /// Prompts that came before.
  private(set) var repeated = 0
  /// Different prompts that are not answered yet.
  private(set) var unanswered = 0
  /// The tally of each file.
  private(set) var reports: [ReadReport] = []

  /// Counts the prompts of all files.
  ///
  /// - Parameters:
  ///   - answered: keys of the conversations in a finished output; nil when there is none
  ///   - each: called for each prompt; may end the work with an error
  init(paths: [String], answered: Set<String>?, each: () throws -> Void) throws {
    var (stream, seen) = (PromptStream(paths: paths), Set<String>())
    while let key = try stream.next()?.key {
      try each()
      if !seen.insert(key).inserted {
        repeated += 1
      } else if answered?.contains(key) != true {
        unanswered += 1
      }
    }
    total = seen.count
    reports = stream.reports
  }
}

extension Prompt {
  /// A digest of the system message, the user's turns and the tools, which tells different prompts apart.
  var key: String {
    var bytes = Data()
    for text in [system ?? ""] + turns {
      bytes.append(contentsOf: "\(text.utf8.count) ".utf8)
      bytes.append(contentsOf: text.utf8)
    }
    if !tools.isEmpty { bytes.append(contentsOf: JSON.array(tools).text().utf8) }
    return String(FileDigest.sha256(bytes).prefix(24))
  }
}
