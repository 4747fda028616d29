import EagleCluster
import EagleCore
import EagleText
import Foundation

/// The unanswered prompts of all input files, of which each rank takes the next one that no rank has taken.
///
/// Rank 0 alone reads the input. It writes the unanswered prompts to a file in the folder of parts, which all ranks
/// see, and each rank reads those that it takes from there.
final class PromptQueue {
  /// A line of the file.
  private struct Line: Codable {
    let id: String
    let system: String?
    let turns: [String]
    /// A JSON text of a list.
    let tools: String

    init(_ prompt: Prompt) {
      (id, system, turns) = (prompt.id, prompt.system, prompt.turns)
      tools = JSON.array(prompt.tools).text()
    }

    var prompt: Prompt {
      get throws { Prompt(id: id, system: system, turns: turns, tools: try JSON.read(Data(tools.utf8)).array ?? []) }
    }
  }

  /// Where the file lies, and where in it each line ends.
  private struct Index: Codable {
    let path: String
    var ends: [Int] = []
  }

  private let file: MappedFile
  private let ends: [Int]
  private let nextTicket: () throws -> Int
  /// Prompts that all ranks have begun, as far as this one can tell.
  private(set) var passed = 0

  /// Collective.
  ///
  /// - Parameters:
  ///   - paths: the files of prompts, read on rank 0
  ///   - answered: keys of the prompts that need no answer; rank 0 alone uses them
  ///   - folder: a folder that all ranks see, whose owner removes it
  /// - Throws: `StoppedRun` on all ranks when a stop of one of them was requested
  init(paths: [String], answered: Set<String>, folder: String, stage: GenerationStage) throws {
    let index = try stage.fromRoot { each in
      try Self.write(PromptStream(paths: paths), answered: answered, folder: folder, each: each)
    }
    (file, ends) = (try MappedFile(path: index.path), index.ends)
    guard file.byteCount == ends.last ?? 0 else {
      throw LocatedError(
        path: index.path, problem: "has \(file.byteCount) bytes, and rank 0 has written \(ends.last ?? 0)",
        advice: "all ranks must see one disk")
    }
    nextTicket = try stage.cluster.tickets()
  }

  /// The next prompt for this rank; nil when there are no more.
  func next() throws -> Prompt? {
    let ticket = try nextTicket()
    passed = min(ticket + 1, ends.count)
    guard ticket < ends.count else { return nil }
    let range = (ticket == 0 ? 0 : ends[ticket - 1])..<ends[ticket]
    return try file.withBytes { try JSONDecoder().decode(Line.self, from: Data($0[range])).prompt }
  }

  /// Writes each different prompt without an answer. The name is a new one: other machines may still hold an earlier
  /// file under an old name.
  private static func write(
    _ prompts: PromptStream, answered: Set<String>, folder: String, each: () throws -> Void
  ) throws -> Index {
    // Of a process that was killed here: the name of the file was its own.
    FilePath.removeLeftovers(in: folder) { $0.hasPrefix(".questions-") }
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasPrefix("questions-") {
      try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
    var (prompts, seen) = (prompts, answered)
    var index = Index(path: "\(folder)/questions-\(String(UInt64.random(in: .min ... .max), radix: 36))")
    try AtomicFile.write(path: index.path) { file in
      while let prompt = try prompts.next() {
        try each()
        guard seen.insert(prompt.key).inserted else { continue }
        try file.write(JSONStyle.compact.encode(Line(prompt)))
        index.ends.append(file.byteCount)
      }
    }
    return index
  }
}
