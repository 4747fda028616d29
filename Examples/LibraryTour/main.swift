// Runs the examples of the library's reference pages, one for each public module.
//
//     swift run -c release LibraryTour
//     swift run -c release LibraryTour decode models/SmolLM2-135M-Instruct checkpoints/quickstart/export
//     swift run -c release LibraryTour capture recipes/quickstart.yaml checkpoints/tour-int8
//     swift run -c release LibraryTour train recipes/quickstart.yaml checkpoints/tour
//     mpirun -np 2 .build/release/LibraryTour ranks
import EagleChat
import EagleCore
import EagleText
import Foundation

let arguments = Array(CommandLine.arguments.dropFirst())
switch (arguments.first ?? "", arguments.count) {
case ("", 0):
  // Examples that need no file.
  showProgress()
  try sumOverRanks()
  addStatistics()
  try planDrafts()
  try chooseData()
  try chooseTraining()
  try readRecipe()
case ("decode", 3):
  try streamText(folder: arguments[1])
  try describeTarget(folder: arguments[1])
  try answer("What is rain?", targetFolder: arguments[1], draftFolder: arguments[2])
  let model = try ChatModel(folder: arguments[1], precision: .bf16)
  let prompt = try model.prompt([ChatMessage(role: .user, content: "What is snow?")])
  try decode(prompt, stopIDs: model.stopIDs, target: model.target, draft: model.head(at: arguments[2]))
case ("capture", 3):
  _ = try captureStates(recipe: arguments[1], output: arguments[2])
case ("train", 3):
  try train(recipe: arguments[1], output: arguments[2])
case ("ranks", 1):
  try nameHosts()
default:
  print("usage: LibraryTour [decode TARGET DRAFT | capture RECIPE OUTPUT | train RECIPE OUTPUT | ranks]")
  exit(64)
}
