// Answers a question with a target model and a draft head.
//
//     swift run -c release GenerateText models/SmolLM2-135M-Instruct checkpoints/quickstart/export "What is rain?"
import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleText
import Foundation

let arguments = CommandLine.arguments
guard arguments.count == 4 else {
  print("usage: GenerateText TARGET-FOLDER DRAFT-FOLDER QUESTION")
  exit(64)
}
let model = try ChatModel(folder: arguments[1], precision: .bf16)
let draft = try DraftFolder.read(arguments[2], target: model.target)
let prompt = try model.prompt([ChatMessage(role: .user, content: arguments[3])])

// The head proposes as many tokens as pay on this machine; the text is the one that the target writes alone.
let costs = try DecodingCosts.estimate(target: model.target, draft: draft)
let plan = DraftPlan.adaptive(costs, for: draft)
let options = DecodingOptions(maxNewTokens: 200, stopIDs: model.stopIDs, plan: plan)
let session = DecodingSession(target: model.target, draft: draft)
let tokens = try session.tokens(prompt, options)
var text = StreamingDetokenizer(model.tokenizer)
while let token = try tokens.next() { print(text.append(token.id), terminator: "") }
print(text.finish())
print("acceptance length", try tokens.finish().statistics.acceptanceLength)
