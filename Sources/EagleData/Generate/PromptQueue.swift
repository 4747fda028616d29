import EagleCluster
import EagleCore
import EagleText
import Foundation

/// The unanswered prompts of all input files, of which each rank takes the next one that no rank has taken.
///
/// Rank 0 alone has read the input. Each rank reads the prompts that it takes from the file that rank 0 has written in
/// the folder of parts, which all ranks see.
final class PromptQueue {
  /// A line of the file.
  struct Line: Codable {
    private let id: String
    private let system: String?
    private let turns: [String]
    /// A JSON text of a list.
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
  /// Where in the file each line ends.
  private let ends: [Int]
  private let nextTicket: () throws -> Int
  /// Prompts that all ranks have begun, as far as this one can tell.
  private(set) var passed = 0

  /// Opens the file of a survey. Collective.
  ///
  /// - Throws: when this rank does not see the file as rank 0 has written it
  init(_ survey: PromptSurvey, cluster: any Communicator) throws {
    (file, ends) = (try MappedFile(path: survey.path), survey.ends)
    guard file.byteCount == ends.last ?? 0 else {
      throw LocatedError(
        path: survey.path, problem: "has \(file.byteCount) bytes, and rank 0 has written \(ends.last ?? 0)",
        advice: "all ranks must see one disk")
    }
    nextTicket = try cluster.tickets()
  }

  /// The next prompt for this rank; nil when there are no more.
  func next() throws -> Prompt? {
    let ticket = try nextTicket()
    passed = min(ticket + 1, ends.count)
    guard ticket < ends.count else { return nil }
    let range = (ticket == 0 ? 0 : ends[ticket - 1])..<ends[ticket]
    return try file.withBytes { try JSONDecoder().decode(Line.self, from: Data($0[range])).prompt }
  }
}
