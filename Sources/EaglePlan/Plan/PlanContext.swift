import EagleCluster
import EagleRecipe

/// The subject of a plan: a recipe with the sizes of its models, this start of the program, and other clusters.
struct PlanContext {
  let recipe: Recipe
  let sizes: Sizes
  /// The ranks of this start, their nodes, and the ranks on this node.
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

  /// The number of ranks on each node of other clusters.
  var ranksPerNode: Int { others.ranksPerNode ?? ranksOnNode }
}

/// The clusters that a plan predicts in addition to the current one.
package struct OtherClusters {
  /// The numbers of nodes, which are like this one.
  package var nodes: [Int]
  /// The number of ranks on each node; nil for the number on this node.
  package var ranksPerNode: Int?
  package var link: StepModel.Link
  /// How much longer the slowest node computes than the mean, as a fraction of the mean.
  package var imbalance: Double
  /// The number of tokens of the whole data, if the files are only a part of it.
  package var dataTokens: Double?

  package init(nodes: [Int], ranksPerNode: Int?, link: StepModel.Link, imbalance: Double, dataTokens: Double?) {
    (self.nodes, self.ranksPerNode, self.link) = (nodes, ranksPerNode, link)
    (self.imbalance, self.dataTokens) = (imbalance, dataTokens)
  }
}
