import EagleModels
import EagleTensor

// D draft vocabulary.

/// What a draft proposes in one round: tokens that may follow the newest one, as a tree.
package struct Proposal {
  /// The newest token, then the proposed ones: the rows of the target's pass.
  package private(set) var rows: [Int32]
  /// How the rows hang together; the newest token is the root.
  package private(set) var tree: RowTree
  /// When the tokens were drawn and not taken as the most likely ones: the distribution that each was drawn from.
  package var drawn: [DraftDistribution] = []
  /// Draft passes that it took.
  package var passes = 0

  /// No proposal.
  package init(after token: Int32) {
    rows = [token]
    tree = RowTree(parents: [-1])
  }

  /// - Parameters:
  ///   - tokens: proposed ones, each parent before its children
  ///   - parents: row of each one's parent, 0 being the newest token
  package init(after token: Int32, tokens: [Int32], parents: [Int]) {
    rows = [token] + tokens
    tree = RowTree(parents: [-1] + parents)
  }

  /// Proposed tokens.
  package var count: Int { rows.count - 1 }

  /// The row of a child of `row` that proposes this token.
  func child(of row: Int, token: Int32) -> Int? {
    rows.indices.first { tree.parents[$0] == row && rows[$0] == token }
  }

  /// A child of `row`.
  func child(of row: Int) -> Int? { tree.parents.firstIndex(of: row) }
}

/// Probabilities over the draft vocabulary, zero for all other tokens.
package struct DraftDistribution {
  package let probabilities: Tensor  // [D]
  package let targetIDs: [Int32]  // [D]
}

/// The draft side of one sequence. It follows the target: a row for each position whose states the target has given.
package protocol Drafter: AnyObject {
  /// Layers of the target whose outputs it wants.
  var captureLayers: [Int] { get }
  /// Positions that it has seen.
  var rowCount: Int { get }
  /// Adds positions with their captured states [R, 3H] and the token after each.
  func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind)
  /// Proposes tokens that follow `token`, the last of the tokens given to `extend`.
  ///
  /// - Throws: `GenerationError` for logits that are not finite
  func propose(after token: Int32, _ plan: DraftPlan, _ sampler: Sampler, _ budget: DraftBudget?) throws -> Proposal
  /// Forgets the positions from `rows` on.
  func truncate(to rows: Int)
  /// Bytes of memory that its positions take.
  var cacheBytes: Int { get }
  /// Makes sure that `rows` more positions, and a round behind them, find addresses.
  ///
  /// - Throws: where the system refuses them
  func reserve(_ rows: Int) throws
  /// Gives memory that no position needs back to the system.
  func releaseUnused()
}

/// A drafter without a cache of its own.
extension Drafter {
  package var cacheBytes: Int { 0 }
  package func reserve(_ rows: Int) throws {}
  package func releaseUnused() {}
}
