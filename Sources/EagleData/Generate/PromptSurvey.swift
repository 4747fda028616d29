import EagleCore
import EagleStorage
import EagleText
import Foundation

/// The result of one pass over the input of `regenerate`: counts for all ranks, and the file of unanswered prompts.
struct PromptSurvey: Codable {
  /// The number of different prompts.
  private(set) var total = 0
  /// The number of repeated prompts.
  private(set) var repeated = 0
  /// The tally of each file.
  private(set) var reports: [ReadReport] = []
  /// The number of conversations that earlier runs have finished.
  let known: Int
  /// The file of unanswered prompts, in the folder of parts.
  let path: String
  /// The end of each of its lines, in bytes.
  private(set) var ends: [Int] = []

  /// The number of different prompts that are not answered yet.
  var unanswered: Int { ends.count }

  /// Reads all files once and writes each different prompt without an answer to a file. Only rank 0 may call it.
  ///
  /// - Parameters:
  ///   - paths: the files of prompts
  ///   - answered: keys of the conversations that earlier runs have finished
  ///   - folder: a folder that all ranks see, whose owner removes it
  ///   - order: called with the key of each different prompt, answered or not, in the order of the input
  ///   - each: called for each prompt; an error that it throws ends the work
  static func write(
    _ paths: [String], answered: Set<String>, folder: String, order: inout [String], each: () throws -> Void
  ) throws -> PromptSurvey {
    var (prompts, seen) = (PromptStream(paths: paths), Set<String>())
    var survey = PromptSurvey(known: answered.count, path: try newPath(in: folder))
    try AtomicFile.write(path: survey.path) { file in
      while let prompt = try prompts.next() {
        try each()
        let key = prompt.key
        guard seen.insert(key).inserted else {
          survey.repeated += 1
          continue
        }
        order.append(key)
        if answered.contains(key) { continue }
        try file.write(JSONStyle.compact.encode(PromptQueue.Line(prompt)))
        survey.ends.append(file.byteCount)
      }
    }
    (survey.total, survey.reports) = (seen.count, prompts.reports)
    return survey
  }

  private init(known: Int, path: String) { (self.known, self.path) = (known, path) }

  /// A name that no earlier file had, because other machines may still have such a file open. Removes the files of
  /// earlier runs.
  private static func newPath(in folder: String) throws -> String {
    // Temporary files of killed processes.
    FilePath.removeLeftovers(in: folder) { $0.hasPrefix(".questions-") }
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasPrefix("questions-") {
      try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
    return "\(folder)/questions-\(String(UInt64.random(in: .min ... .max), radix: 36))"
  }
}

extension Prompt {
  /// A digest of the system message, the user's turns and the tools, which identifies a prompt.
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
