import EagleDraft
import EagleModels
import EagleTensor

// R tokens in the pass · H hidden.

/// The caches of one sequence: the target's and, for speculative decoding, the draft's, which follows it. Reference
/// semantics.
final class SequenceCaches {
  let target: TargetModel
  let drafter: (any Drafter)?
  private(set) var sequence: CachedSequence
  /// States of cached positions that the drafter has not seen, [R, nH] each, in order.
  private var unseen: [Tensor] = []

  /// The most positions by which the drafter may lag: their states stay in memory while nothing is drafted.
  private static let maxUnseen = 64

  init(target: TargetModel, drafter: (any Drafter)?, capacity: Int) {
    (self.target, self.drafter) = (target, drafter)
    sequence = CachedSequence(target.makeCache(capacity: capacity))
  }

  /// The entries of the target's cache that have ids.
  var count: Int { sequence.ids.count }

  var byteCount: Int { sequence.kv.byteCount + (drafter?.cacheBytes ?? 0) }

  /// Truncates to the prefix that a prompt can reuse, and returns the number of its tokens.
  ///
  /// The last common entry is computed again: its logits are needed, and so are its states, for the draft. Nothing can
  /// be reused where a layer with a window has dropped what that entry sees.
  func reusePrefix(of prompt: [Int32]) -> Int {
    let common = max(0, min(sequence.commonPrefix(with: prompt), drafter?.count ?? .max) - 1)
    let reused = sequence.kv.canTruncate(to: common) ? common : 0
    truncate(to: reused)
    return reused
  }

  /// Reserves addresses for the tokens of the next pass, in both caches.
  ///
  /// - Throws: `AddressSpaceError` where the system refuses them
  func reserve(_ tokens: Int) throws {
    try sequence.kv.reserve(min(sequence.kv.capacity, sequence.kv.count + tokens))
    try drafter?.reserve(tokens)
  }

  /// Drops all entries from `count` on.
  func truncate(to count: Int) {
    unseen = []
    sequence.truncate(to: count)
    if let drafter { drafter.truncate(to: min(count, drafter.count)) }
  }

  /// Drops the entries of a pass that failed.
  func discardPass() { sequence.discard() }

  func releaseUnused() {
    sequence.kv.releaseUnused()
    drafter?.releaseUnused()
  }

  // MARK: states for the draft

  /// Keeps the entries of a prefill chunk.
  ///
  /// - Parameter states: the states of the chunk's tokens
  func append(_ chunk: Range<Int>, of prompt: [Int32], states: TargetStates, _ kind: TargetModel.PassKind) {
    sequence.append(prompt[chunk])
    guard let drafter, let aux = states.auxHidden else { return }
    // The draft's entry of a position needs the next token, which the prompt's last position does not have yet.
    let isLast = chunk.upperBound == prompt.count
    let known = isLast ? chunk.count - 1 : chunk.count
    if known > 0 {
      let next = chunk.lowerBound + 1
      drafter.extend(aux.slice(0..<known), nextTokens: Array(prompt[next..<next + known]), kind)
    }
    if isLast { unseen = [aux.slice(known..<chunk.count)] }
  }

  /// Keeps the accepted path of a round.
  ///
  /// - Parameters:
  ///   - path: increasing indices into `tokens`
  ///   - tokens: the tokens of the pass
  ///   - states: their states
  func keep(_ path: [Int], of tokens: [Int32], _ states: TargetStates) {
    sequence.keep(path, of: tokens)
    if drafter != nil, !path.isEmpty, let aux = states.auxHidden { unseen.append(Rows.chosen(aux, path)) }
  }

  /// Gives the drafter the states that it has not seen, each with the token after it. Then both caches hold the same
  /// positions: the newest token has no entry yet.
  func updateDraft(newest: Int32) {
    guard let drafter, !unseen.isEmpty else { return }
    drafter.extend(
      Rows.joined(unseen), nextTokens: sequence.ids[(drafter.count + 1)...] + [newest], .decode)
    unseen = []
  }

  /// Does the same once so many states wait that they take too much memory.
  func updateDraftIfBehind(newest: Int32) {
    if unseen.reduce(0, { $0 + $1.rows }) >= Self.maxUnseen { updateDraft(newest: newest) }
  }
}

extension Rows {
  /// Some rows of a float32 matrix, in increasing order: a view of them where they are the first ones.
  fileprivate static func chosen(_ x: Tensor, _ rows: [Int]) -> Tensor {
    rows == Array(0..<rows.count) ? x.slice(0..<rows.count) : select(x, rows.map(Int32.init))
  }
}
