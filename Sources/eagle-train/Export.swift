import ArgumentParser
import EagleCore
import EagleModels
import EagleStorage
import EagleTraining
import Foundation

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Write a checkpoint's head as a Hugging Face folder.")

  @Argument(help: "A checkpoint: a step folder of a run.")
  var checkpoint: String

  @Option(help: "Folder to write.")
  var output: String

  @Option(help: "Folder of the target model; by default the one that the checkpoint was trained for.")
  var target: String?

  func run() throws {
    try DraftFolder.requireReplaceable(output)
    let opened = try CheckpointFolder.open(checkpoint)
    let info = try TrainingCheckpoint.info(opened)
    let folder = target ?? info.targetPath
    let model = try TargetModel(folder: folder)
    guard model.fingerprint == info.targetFingerprint else {
      throw LocatedError(
        path: folder, problem: "is not the target that \(checkpoint) was trained for",
        advice: "name the right one with --target")
    }
    try DraftFolder.write(try TrainingCheckpoint.draft(opened, target: model.shape), target: model.shape, to: output)
    Output.note("exported step \(info.step) to \(output)")
  }
}
