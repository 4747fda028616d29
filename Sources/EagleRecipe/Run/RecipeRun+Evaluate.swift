import EagleCluster
import EagleModels
import EagleTraining

extension RecipeRun {
  /// Measures a head on the recipe's benchmarks.
  ///
  /// - Parameter path: folder of the head; nil takes the run's export
  public func evaluate(draft path: String?) throws -> [String: BenchmarkResult] {
    let draft = try DraftFolder.read(path ?? folder.export, target: model.target)
    return try makeEvaluator().run(draft)
  }
}
