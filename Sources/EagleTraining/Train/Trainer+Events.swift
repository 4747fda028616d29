import EagleRunFiles
import Foundation

// Events for TensorBoard.
extension Trainer {
  /// Puts an evaluation of the run among its events, when the recipe wants events.
  public func logEvents(_ record: EvaluationRecord) { logEvents(record.scalars, step: record.step) }

  func logEvents(_ scalars: @autoclosure () -> [EventFile.Scalar], step: Int) {
    guard let events else { return }
    do {
      try events.append(scalars(), step: step)
    } catch {
      sayWithoutEvents(error)
      self.events = nil
    }
  }

  func openEvents() -> EventFile? {
    do {
      return try EventFile(folder: RunFolder(job.output).tensorboard, after: step)
    } catch {
      sayWithoutEvents(error)
      return nil
    }
  }

  /// Curves that are drawn elsewhere are not worth the end of a run.
  private func sayWithoutEvents(_ error: any Error) {
    progress.say("warning: no more events for TensorBoard: \(error); training goes on")
  }
}
