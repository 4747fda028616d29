import EagleModels
import EagleTensor

// D draft vocabulary.

/// The tokens that a draft proposes in one round, as a tree below the newest token.
///
/// A node is named by its index among the tokens of the target's pass; index 0 is the newest token, the root.
package struct Proposal {
  /// The tokens of the target's pass: the newest one, then the proposed ones.
  package private(set) var tokens: [Int32]
  /// The tree of these tokens.
  package private(set) var tree: RowTree
  /// The distribution that each proposed token was sampled from; empty where the likeliest tokens were taken.
  package var sampledFrom: [DraftDistribution] = []
  /// The number of draft passes.
  package var passes = 0
  /// The probability that the first draft is accepted, where the head predicts it.
  package var confidence: Double?

  /// An empty proposal.
  package init(after token: Int32) {
    tokens = [token]
    tree = RowTree(parents: [-1])
  }

  /// - Parameters:
  ///   - token: the newest one
  ///   - proposed: its descendants, each parent before its children
  ///   - parents: the index of each one's parent, 0 being the newest token
  package init(after token: Int32, tokens proposed: [Int32], parents: [Int]) {
    tokens = [token] + proposed
    tree = RowTree(parents: [-1] + parents)
  }

  /// The number of proposed tokens.
  package var count: Int { tokens.count - 1 }

  /// The levels of the tree below the newest token.
  package var depth: Int { tree.depth.max() ?? 0 }

  /// The child of a node that proposes this token.
  package func child(of node: Int, token: Int32) -> Int? {
    tokens.indices.first { tree.parents[$0] == node && tokens[$0] == token }
  }

  /// The first child of a node.
  package func child(of node: Int) -> Int? { tree.parents.firstIndex(of: node) }
}

/// Probabilities over the draft vocabulary, zero for all other tokens.
package struct DraftDistribution {
  package let probabilities: Tensor  // [D]
  package let targetIDs: [Int32]  // [D]
}
