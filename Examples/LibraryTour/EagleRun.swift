import EagleCluster
import EagleCore
import EagleRecipe
import EagleRun
import EagleRunFiles

/// A run of a recipe in another output folder: its training, and the measurements of its best head.
func train(recipe path: String, output: String) throws {
  var recipe = try Recipe.load(path: path)
  recipe.output = output
  let run = try RecipeRun(recipe, cluster: SoloCommunicator(), progress: SilentProgress())
  print(run.description)
  try run.train(resume: true)

  let results = try run.evaluate(draft: nil)
  for (name, result) in results.sorted(by: { $0.key < $1.key }) {
    print(name, result.accLength, result.speedup)
  }
}
