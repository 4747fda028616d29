import EagleDraft

/// A draft plan with its costs, and the sampling of a text.
func planDrafts() throws {
  let costs = DecodingCosts(targetPass: [0.020, 0.021, 0.022, 0.024], draftPass: 0.001)
  print("speedup", costs.gain(acceptanceLength: 2.4, draftLength: 3, draftPasses: 3))

  let plan = DraftPlan(depth: 4, width: 2, nodes: 8, costs: costs)
  try plan.validate()

  var sampling = SamplingOptions()
  sampling.temperature = 0.7
  sampling.topP = 0.9
  try sampling.validate()
  print(plan, sampling.isGreedy ? "greedy" : "sampled")
}
