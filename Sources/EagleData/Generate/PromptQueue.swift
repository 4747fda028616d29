import EagleCluster
import EagleCore
import EagleText
import Foundation

/// The queue of the unanswered prompts of all input files. Each rank takes the next prompt that no rank has taken.
///
/// Only rank 0 has read the input. Each rank reads its prompts from a file that rank 0 has written to the folder of
/// parts, which all ranks see.
final class PromptQueue {
  /// A line of the file.
  struct Line: Codable {
    private let id: String
    private let system: String?
    private let turns: [String]
    /// A list as a JSON string.
    private let tools: String

    init(_ prompt: Prompt) {
      (id, system, turns) = (prompt.id, prompt.system, prompt.turns)
      tools = JSON.array(prompt.tools).text()
    }

    fileprivate var prompt: Prompt {
      get throws { Prompt(id: id, system: system, turns: turns, tools: try JSON.read(Data(tools.utf8)).array ?? []) }
    }
  }

  private let file: MappedFile
  /// The end of each line in the file, in bytes.
  private let ends: [Int]
  private let nextTicket: () throws -> Int
  /// An estimate of the number of prompts that all ranks have begun.
  private(set) var passed = 0

  /// Opens the file of a survey. Collective.
  ///
  /// - Throws: if this rank does not see the file that rank 0 has written
  init(_ survey: PromptSurvey, cluster: any Communicator) throws {
    (file, ends) = (try MappedFile(path: survey.path), survey.ends)
    guard file.byteCount == ends.last ?? 0 else {
      throw LocatedError(
        path: survey.path, problem: "has \(file.byteCount) bytes, and rank 0 has written \(ends.last ?? 0)",
        advice: "all ranks must see one disk")
    }
    nextTicket = try cluster.tickets()
  }

  /// The next prompt for this rank; nil if there are no more.
  func next() throws -> Prompt? {
    let ticket = try nextTicket()
    passed = min(ticket + 1, ends.count)
    guard ticket < ends.count else { return nil }
    let range = (ticket == 0 ? 0 : ends[ticket - 1])..<ends[ticket]
    return try file.withBytes { try JSONDecoder().decode(Line.self, from: Data($0[range])).prompt }
  }
}
