import EagleClient
import EagleCluster
import EagleCore
import EagleRecipe

extension Recipe {
  /// The locations that rank 0 has found for the names in a recipe.
  private struct Found: Codable {
    /// The target's name with its commit; nil for a path.
    var target: String?
    /// The path of the head of `draft.init_from` on rank 0, the only rank that reads it.
    var initFrom: String?
  }

  /// The recipe with local paths for the target and the head that it names. Rank 0 resolves the names; each node
  /// fetches the target once. Collective.
  func located(
    on cluster: any Communicator, stop: StopRequest = StopRequest(), say: @escaping @Sendable (String) -> Void
  ) throws -> Recipe {
    func hub(isOffline: Bool = false) throws -> ModelHub {
      var settings = try HubSettings()
      settings.isOffline = settings.isOffline || isOffline
      return ModelHub(settings, say: say) { try stop.throwIfMade(during: Self.download) }
    }
    /// A stop that ends a download is reported to the other ranks after it, where they wait.
    func unlessStopped(_ body: () throws -> Void) throws {
      do { try body() } catch is StoppedRun {}
    }
    var recipe = self
    let found = try cluster.fromRoot {
      var found = Found(initFrom: draft.initFrom)
      try unlessStopped {
        if let name = HubName(target.path) {
          let place = try hub().place(of: name)
          recipe.target.path = place.path
          found.target = name.pinned(to: place)?.description
        }
        if let name = draft.initFrom.flatMap({ HubName($0) }) { found.initFrom = try hub().place(of: name).path }
      }
      return found
    }
    try stop.throwIfAnyRankStops(cluster, during: Self.download)
    recipe.draft.initFrom = found.initFrom
    guard let name = found.target.flatMap({ HubName(parsing: $0) }) else { return recipe }
    if cluster.isFirstOfNode, !cluster.isRoot {
      try unlessStopped { recipe.target.path = try hub().place(of: name).path }
    }
    try stop.throwIfAnyRankStops(cluster, during: Self.download)
    if !cluster.isFirstOfNode { recipe.target.path = try hub(isOffline: true).place(of: name).path }
    return recipe
  }

  private static let download = "the download of a model"
}
