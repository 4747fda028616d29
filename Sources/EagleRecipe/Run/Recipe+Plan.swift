import EagleCluster
import EagleTraining
import Foundation

extension Recipe {
  /// What the run will take, on rank 0; nil on the others. Writes nothing under the recipe's output. Collective.
  ///
  /// - Parameters:
  ///   - elsewhere: other machines that it is wanted for
  ///   - cluster: the ranks that measure
  ///   - folder: an empty one for this rank's temporary files
  public func plan(
    _ elsewhere: Planner.Elsewhere, cluster: any Communicator, folder: String
  ) throws -> RunPlan? {
    try cluster.agree(on: try canonicalText, about: "the recipe")
    var settings = Planner.Settings()
    (settings.run, settings.output, settings.target) = (run, output, target)
    (settings.regenerate, settings.synthesize, settings.data) = (regenerate, synthesize, data)
    (settings.capture, settings.draft, settings.train) = (capture, draft, train)
    (settings.evaluate, settings.cluster) = (evaluate, self.cluster)
    return try Planner(settings, elsewhere: elsewhere, cluster: cluster).run(folder: folder)
  }
}
