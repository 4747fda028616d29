import EagleAutograd
import EagleModels
import EagleTensor

/// The draft side of one sequence: its cache of verified rows, and the proposing of a chain.
///
/// Row p of the cache is made from the target's own states at p and the token at p + 1, as at step 0 of training. Keys
/// made while proposing lie behind the verified rows and are dropped when the next round begins.
final class DraftChain {
  private let draft: DraftModel
  private let embedding: Tensor  // [V, H] of the target
  private let cache: KVCache
  private let tape = Tape(recording: false, products: .invariant)

  init(draft: DraftModel, embedding: Tensor, capacity: Int) {
    self.draft = draft
    self.embedding = embedding
    cache = draft.makeCache(capacity: capacity)
  }

  /// Adds verified rows and proposes `length` tokens that follow the last of `nextTokens`.
  ///
  /// - Parameters:
  ///   - auxHidden: captured target states of the new rows, [R, 3H]
  ///   - nextTokens: the token after each new row, R of them
  ///   - products: of the pass over the new rows
  func propose(after auxHidden: Tensor, nextTokens: [Int32], length: Int, _ products: Products) -> [Int32] {
    var hidden = verify(auxHidden, nextTokens, products)
    let verified = cache.count
    var tokens: [Int32] = []
    for step in 0..<length {
      if step > 0 { hidden = extend(with: tokens[step - 1], hidden) }
      tokens.append(bestToken(hidden))
    }
    cache.truncate(to: verified)
    return tokens
  }

  /// Step 0: keys of all new rows, query of the last one. Returns g_1 of that row.
  private func verify(_ auxHidden: Tensor, _ nextTokens: [Int32], _ products: Products) -> Variable {
    let tape = Tape(recording: false, products: products)
    let g = draft.project(tape, auxHidden)
    return run(tape, g, nextTokens)
  }

  /// Step k: one row at the next position, made from the draft's own state.
  private func extend(with token: Int32, _ hidden: Variable) -> Variable { run(tape, hidden, [token]) }

  private func run(_ tape: Tape, _ g: Variable, _ tokens: [Int32]) -> Variable {
    let first = cache.count
    let h = draft.mix(tape, embedding: Rows.gather(embedding, tokens), hidden: g)
    let positions = (0..<tokens.count).map { Int32(first + $0) }
    let (k, v) = draft.keys(tape, h, draft.rotary.table(positions: positions))
    cache.reserve(tokens.count)
    cache.append(k.value, v.value)
    return lastRow(tape, g, h, position: positions.last!)
  }

  private func lastRow(_ tape: Tape, _ g: Variable, _ h: Variable, position: Int32) -> Variable {
    let last = g.value.rows - 1..<g.value.rows
    let q = draft.queries(tape, Variable(h.value.slice(last)), draft.rotary.table(positions: [position]))
    let row = AttentionRow(prefixStart: 0, prefixCount: Int32(cache.count))
    let (keys, values) = cache.rows(of: 0)
    let attended = tape.attention(
      q, Variable(keys), Variable(values), rows: [row], chain: [], shape: draft.shape.attention)
    return draft.finish(tape, hidden: Variable(g.value.slice(last)), attended: attended)
  }

  private func bestToken(_ hidden: Variable) -> Int32 {
    let logits = tape.linear(draft.normalized(tape, hidden), draft.head)
    return draft.vocabulary.targetIDs[logits.value.argmax()[0]]
  }
}
