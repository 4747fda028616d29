import EagleClient
import EagleCluster
import EagleCore
import EagleRecipe

extension Recipe {
  /// The recipe with places on this machine for the target and the head that it names: what has a name on a hub is fetched,
  /// once on each node. Collective.
  func located(on cluster: any Communicator, say: @escaping @Sendable (String) -> Void) throws -> Recipe {
    let names = [target.path, draft.initFrom].compactMap { $0.flatMap { HubName($0) } }
    guard try cluster.anyTrue(!names.isEmpty) else { return self }
    if cluster.isFirstOfNode { for name in names { _ = try ModelHub(HubSettings(), say: say).path(of: name) } }
    try cluster.barrier()
    var settings = try HubSettings()
    settings.isOffline = true
    func place(_ text: String) throws -> String {
      try HubName(text).map { try ModelHub(settings) { _ in }.path(of: $0) } ?? text
    }
    var recipe = self
    recipe.target.path = try place(target.path)
    recipe.draft.initFrom = try draft.initFrom.map(place)
    return recipe
  }
}
