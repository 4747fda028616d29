import ArgumentParser
import EagleModels
import EagleTraining

/// Which model, and how.
struct ModelOptions: ParsableArguments {
  @Option(help: "Folder of the target model (Hugging Face layout).")
  var target: String

  @Option(help: "Folder of a draft head; without one decoding is plain.")
  var draft: String?

  @Option(help: "Name of the chat template; auto takes the target's own.")
  var chatTemplate = "auto"

  func load() throws -> (model: ChatModel, draft: DraftModel?) {
    let model = try ChatModel(folder: target, template: chatTemplate)
    return (model, try draft.map { try DraftFolder.read($0, target: model.target) })
  }
}
