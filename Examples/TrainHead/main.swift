// Trains a draft head from a recipe in code: prepare, capture, train, evaluate, export.
//
//     swift run -c release TrainHead models/SmolLM2-135M-Instruct data/smollm2-chat.jsonl checkpoints/example
import EagleCluster
import EagleCore
import EagleRecipe
import EagleRun
import Foundation

/// Prints the messages of a run, without progress.
final class Lines: ProgressSink {
  func advance(_: String, done _: Int, total _: Int, unit _: String, note _: String) {}
  func finish(_ stage: String, _ summary: String) { print("\(stage): \(summary)") }
  func say(_ line: String) { print(line) }
}

let arguments = CommandLine.arguments
guard arguments.count == 4 else {
  print("usage: TrainHead TARGET-FOLDER CONVERSATIONS OUTPUT-FOLDER")
  exit(64)
}
var recipe = Recipe()
recipe.run = "example"
recipe.target.path = arguments[1]
recipe.data.train = [.init(path: arguments[2])]
recipe.data.maxLength = 160
recipe.output = arguments[3]
recipe.draft.vocabularySize = 8192
recipe.train.epochs = 1
recipe.train.learningRate = 5e-4
try recipe.validate()
try RecipeRun(recipe, cluster: SoloCommunicator(), progress: Lines()).train(resume: true)
