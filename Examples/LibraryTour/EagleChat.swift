import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleText

/// The answer of a target with its draft head to a question.
func answer(_ question: String, targetFolder: String, draftFolder: String) throws {
  let model = try ChatModel(folder: targetFolder, precision: .bf16)
  let draft = try model.head(at: draftFolder)
  let prompt = try model.prompt([ChatMessage(role: .user, content: question)])

  let session = DecodingSession(target: model.target, draft: draft)
  let options = DecodingOptions(maxNewTokens: 200, stopIDs: model.stopIDs)
  let generation = try session.generate(prompt, options)
  print(model.text(generation.ids))
}
