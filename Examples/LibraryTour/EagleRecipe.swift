import EagleRecipe
import EagleTraining

/// A recipe from text, and the error of a wrong key.
func readRecipe() throws {
  let yaml = """
    run: example
    output: checkpoints/example
    target: {path: models/SmolLM2-135M-Instruct}
    data: {train: [data/smollm2-chat.jsonl]}
    """
  let recipe = try Recipe.parse(yaml, path: "example.yaml", overrides: ["train.epochs=1"])
  print("epochs", recipe.train.epochs)

  do {
    _ = try Recipe.parse("train: {epoch: 1}", path: "wrong.yaml")
  } catch let error as RecipeError {
    print(error)
  }
}
