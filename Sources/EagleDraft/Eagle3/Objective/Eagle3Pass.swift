import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// N rows of the micro-batch · R_k trained rows of depth k.

/// The draft's K depths over one micro-batch.
struct Eagle3Pass {
  private let network: Eagle3Network
  private let tables: TargetTables
  private let batch: MicroBatch
  private let tape: Tape
  /// h of the micro-batch's rows, [N, 2H].
  private let mixed: Variable
  /// Depth-0 keys and values that rows attend to.
  private let prefix: PrefixKeys
  private var hidden: Variable
  private var chain: [(k: Variable, v: Variable)] = []

  /// - Parameter keys: of a prefix that is not in the micro-batch; those of the micro-batch's own rows when nil
  init(_ network: Eagle3Network, tables: TargetTables, batch: MicroBatch, tape: Tape, keys: PrefixKeys?) {
    self.network = network
    self.tables = tables
    self.batch = batch
    self.tape = tape
    let g = network.project(tape, batch.auxHidden.operand(tape.precision))
    let h = network.mix(tape, embedding: network.embeddings(tape, batch.nextTokens, tables), hidden: g)
    prefix = keys ?? PrefixKeys(network.keys(tape, h, network.rotary.table(positions: batch.positions)))
    (mixed, hidden) = (h, g)
  }

  /// g_{k+1} of the trained rows of depth k.
  mutating func forward(depth k: Int) -> Variable {
    let rows = batch.depths[k]
    let table = network.rotary.table(positions: rows.positions)
    let g = tape.gather(hidden, rows.inPrevious)
    let h: Variable
    if k == 0 {
      h = tape.gather(mixed, rows.rows)
    } else {
      h = network.mix(tape, embedding: network.embeddings(tape, rows.tokens, tables), hidden: g)
      chain.append(network.keys(tape, h, table))
    }
    let links = zip(chain, rows.chain).map { ChainLink(k: $0.k, v: $0.v, row: $1) }
    let attended = tape.attention(
      network.queries(tape, h, table), prefix.k, prefix.v, rows: rows.attention, chain: links,
      shape: network.shape.attention)
    hidden = network.finish(tape, hidden: g, attended: attended)
    return hidden
  }
}
