import EagleCluster
import EagleText

/// The unanswered prompts of all files, of which each rank takes the next one that no rank has taken.
///
/// Every rank reads all files; a ticket gives the number of its next prompt among the unanswered ones.
final class PromptQueue {
  private var stream: PromptStream
  private var seen: Set<String>
  private let nextTicket: () throws -> Int
  /// Unanswered prompts that have been passed: what all ranks have begun, as far as this one can tell.
  private(set) var passed = 0

  /// Collective.
  ///
  /// - Parameter answered: keys of the prompts that need no answer
  init(paths: [String], answered: Set<String>, cluster: any Communicator) throws {
    stream = PromptStream(paths: paths)
    seen = answered
    nextTicket = try cluster.tickets()
  }

  /// The next prompt for this rank; nil when there are no more.
  func next() throws -> Prompt? {
    let ticket = try nextTicket()
    while let prompt = try stream.next() {
      guard seen.insert(prompt.key).inserted else { continue }
      passed += 1
      if passed > ticket { return prompt }
    }
    return nil
  }
}
