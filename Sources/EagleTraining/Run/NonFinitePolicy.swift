import EagleCore
import EagleRunFiles
import Foundation

/// The handling of steps whose loss or gradient is not finite: each is skipped, with the names of the responsible
/// conversations, and too many in a row end the run.
struct NonFinitePolicy {
  /// The maximum number of consecutive skipped steps, `train.max_skipped_steps`.
  let limit: Int
  /// Conversations that are left out already, `train.leave_out`.
  let leaveOut: [String]
  /// The number of consecutive skipped steps up to the last step.
  var skippedInARow = 0

  enum Decision {
    case goOn
    /// The run ends with the state of this step as its newest checkpoint.
    case giveUp(lastGood: Int, because: (_ output: String) -> LocatedError)
  }

  init(_ config: TrainConfig) { (limit, leaveOut) = (config.maxSkippedSteps, config.leaveOut) }

  /// Counts a skipped step.
  mutating func decide(on skipped: SkippedStep) throws -> Decision {
    skippedInARow += 1
    guard skippedInARow > limit else { return .goOn }
    let (count, names) = (skippedInARow, Self.names(skipped))
    let (good, remedy) = (skipped.step - count, try remedy(skipped))
    return .giveUp(lastGood: good) { output in
      LocatedError(
        path: output, problem: "\(count) steps in a row up to step \(skipped.step) had non-finite values; \(names)",
        advice: "the weights of step \(good) are kept; \(remedy), and start again: the run goes on from there")
    }
  }

  /// Records a step without trained conversations. Between skipped steps it counts as one, because it updates nothing.
  mutating func noteEmptyStep() {
    if skippedInARow > 0 { skippedInARow += 1 }
  }

  private func remedy(_ skipped: SkippedStep) throws -> String {
    guard !skipped.conversations.isEmpty else { return "lower train.learning_rate" }
    let list = String(decoding: try JSONEncoder().encode(leaveOut + skipped.conversations), as: UTF8.self)
    return "set train.leave_out to \(list), or lower train.learning_rate"
  }

  /// The responsible conversations as readable text.
  static func names(_ skipped: SkippedStep) -> String {
    skipped.conversations.isEmpty
      ? "no conversation shows it alone" : "conversations: \(skipped.conversations.joined(separator: ", "))"
  }
}
