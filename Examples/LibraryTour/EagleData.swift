import EagleData
import EagleDraft

/// The training conversations of a run, some of them synthetic.
func chooseData() throws {
  var data = DataConfig()
  data.train = ["data/synthetic.jsonl", DataFile(path: "data/public.jsonl", weight: 0.25)]
  data.maxLength = 1024
  data.trainedTurns = .assistant
  data.cutAnswers = .drop
  try data.validate()

  var synthesis = SynthesizeConfig()
  synthesis.conversations = 500
  synthesis.output = "data/synthetic.jsonl"
  synthesis.sampling.temperature = 0.8
  try synthesis.validate()
  print(data.train.count, "files,", synthesis.conversations, "synthetic conversations")
}
