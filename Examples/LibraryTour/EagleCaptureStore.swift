import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleRecipe
import EagleRun
import EagleTraining

/// The capture store of a recipe, with states of 8 bits.
func captureStates(recipe path: String, output: String) throws -> CaptureStore {
  var recipe = try Recipe.load(path: path)
  recipe.output = output
  recipe.capture.mode = .store
  recipe.capture.states = .int8
  recipe.capture.shardTokens = 32768
  try recipe.validate()
  let run = try RecipeRun(recipe, cluster: SoloCommunicator(), progress: SilentProgress())
  let store: CaptureStore = try run.capture(run.prepare())
  return store
}
