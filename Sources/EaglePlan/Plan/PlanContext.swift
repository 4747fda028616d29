import EagleCluster
import EagleRecipe

/// The subject of a plan: a recipe with the sizes of its models, this start of the program, and other clusters.
struct PlanContext {
  let recipe: Recipe
  let sizes: Sizes
  /// Ranks of this start, the nodes that they are on, and those on this node.
  let ranks: Int
  let nodes: Int
  let ranksOnNode: Int
  let others: OtherClusters

  init(_ recipe: Recipe, _ sizes: Sizes, cluster: any Communicator, others: OtherClusters) {
    (self.recipe, self.sizes, self.others) = (recipe, sizes, others)
    ranks = cluster.size
    nodes = Set(cluster.nodes).count
    ranksOnNode = cluster.ranksOnNode
  }

  /// Ranks on each node of other clusters.
  var ranksPerNode: Int { others.ranksPerNode ?? ranksOnNode }
}

/// Clusters other than the one at hand, which a plan predicts.
package struct OtherClusters {
  /// Numbers of nodes like this one.
  package var nodes: [Int]
  /// Ranks on each node; nil for as many as here.
  package var ranksPerNode: Int?
  package var link: StepModel.Link
  /// How much longer the slowest node computes than the mean, as a part of the mean.
  package var imbalance: Double
  /// Tokens of the data, when the files at hand are a part of it.
  package var dataTokens: Double?

  package init(nodes: [Int], ranksPerNode: Int?, link: StepModel.Link, imbalance: Double, dataTokens: Double?) {
    (self.nodes, self.ranksPerNode, self.link) = (nodes, ranksPerNode, link)
    (self.imbalance, self.dataTokens) = (imbalance, dataTokens)
  }
}
