import EagleChat
import EagleCluster
import EagleStorage
import EagleText
import Foundation

/// The input of `regenerate`, counted by rank 0 for all.
struct Questions {
  private struct Counts: Codable {
    var total = 0
    var repeated = 0
    var unknown = 0
  }

  private var counts = Counts()
  /// What reading the files came to; on rank 0.
  private(set) var reports: [ReadReport] = []

  /// Different questions.
  var total: Int { counts.total }
  /// Questions that came before.
  var repeated: Int { counts.repeated }
  /// Those that a finished output does not answer.
  var unknown: Int { counts.unknown }

  /// Collective.
  ///
  /// - Parameter known: keys of a finished output, on rank 0
  init(paths: [String], known: Set<String>?, _ cluster: any Communicator) throws {
    if cluster.isRoot { try count(paths, known, cluster) }
    let mine = cluster.isRoot ? try JSONEncoder().encode(counts) : Data()
    counts = try JSONDecoder().decode(Counts.self, from: try cluster.broadcast(data: mine))
  }

  private mutating func count(_ paths: [String], _ known: Set<String>?, _ cluster: any Communicator) throws {
    var (stream, seen) = (PromptStream(paths: paths), Set<String>())
    while let key = try stream.next()?.key {
      cluster.tick()
      if !seen.insert(key).inserted {
        counts.repeated += 1
      } else if known?.contains(key) != true {
        counts.unknown += 1
      }
    }
    counts.total = seen.count
    reports = stream.reports
  }
}

extension Prompt {
  /// What tells a question from others: the system message and the user's turns.
  var key: String {
    var bytes = Data()
    for text in [system ?? ""] + turns {
      bytes.append(contentsOf: "\(text.utf8.count) ".utf8)
      bytes.append(contentsOf: text.utf8)
    }
    return String(FileDigest.sha256(bytes).prefix(24))
  }
}

extension ChatModel {
  /// Everything beside the weights that prompts and the ends of answers follow from, to compare ranks by.
  func textFingerprint() throws -> String {
    """
    tokenizer.json \(try FileDigest.sha256(path: "\(target.path)/tokenizer.json"))
    chat template \(template.family.rawValue)
    stop ids \(stopIDs.sorted())
    """
  }
}
