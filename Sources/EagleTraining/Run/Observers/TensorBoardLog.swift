import EagleCluster
import EagleCore
import EagleRunFiles

/// Events for TensorBoard, which rank 0 writes if the recipe enables them.
///
/// If the file cannot be written, a warning is printed and the log ends, but the run continues.
final class TensorBoardLog: StepObserver {
  private let folder: String
  private let progress: any ProgressSink
  private var state: State

  private enum State {
    case waiting
    case open(EventFile)
    case off
  }

  init(_ inputs: TrainingInputs, output: String, cluster: any Communicator, progress: any ProgressSink) {
    folder = RunFolder(output).tensorboard
    self.progress = progress
    state = inputs.config.tensorboard && cluster.isRoot ? .waiting : .off
  }

  /// Opens the event file of this start of the program, for the steps after `step`, unless it is already open.
  func open(after step: Int) {
    guard case .waiting = state else { return }
    do {
      state = .open(try EventFile(folder: folder, after: step))
    } catch {
      giveUp(error)
    }
  }

  func didUpdate(_ metrics: StepMetrics) { append(metrics.step) { metrics.scalars } }

  func didEvaluate(_ record: EvaluationRecord) {
    open(after: record.step)
    append(record.step) { record.scalars }
  }

  private func append(_ step: Int, _ scalars: () -> [EventFile.Scalar]) {
    guard case .open(let file) = state else { return }
    do {
      try file.append(scalars(), step: step)
    } catch {
      giveUp(error)
    }
  }

  private func giveUp(_ error: any Error) {
    state = .off
    progress.say("warning: no more events for TensorBoard: \(error); training goes on")
  }
}
