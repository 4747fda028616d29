import EagleModels
import EagleTensor

// R positions · H hidden.

/// The draft head's state for one sequence. It follows the target, with an entry for each position whose states the
/// target has computed.
package protocol Drafter: AnyObject {
  /// The layers of the target whose outputs it needs.
  var captureLayers: [Int] { get }
  /// The number of positions that it has seen.
  var count: Int { get }
  /// Adds positions with their captured states [R, nH] and the token after each.
  func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind)
  /// Proposes tokens that follow `token`, the last of the tokens given to `extend`.
  ///
  /// - Throws: `GenerationError` for logits that are not finite
  func propose(after token: Int32, plan: DraftPlan, sampler: Sampler, budget: DraftBudget?) throws -> Proposal
  /// Drops the positions from `count` on.
  func truncate(to count: Int)
  /// The bytes of memory that its positions take.
  var cacheBytes: Int { get }
  /// Reserves addresses for `count` more positions, and for a round after them.
  ///
  /// - Throws: where the system refuses them
  func reserve(_ count: Int) throws
  /// Returns memory that no position needs to the system.
  func releaseUnused()
}

/// The cache requirements of a drafter without a cache.
extension Drafter {
  package var cacheBytes: Int { 0 }
  package func reserve(_ count: Int) throws {}
  package func releaseUnused() {}
}
