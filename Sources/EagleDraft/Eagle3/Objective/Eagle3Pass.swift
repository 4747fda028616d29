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
  /// The last layer's input for the micro-batch's rows at depth 0, [N, ·].
  private let inputs: Eagle3Network.LayerInput
  /// Depth-0 keys and values of each layer that rows attend to.
  private let prefix: [PrefixKeys]
  private var hidden: Variable
  /// The keys and values of the depths after the first, by layer.
  private var chains: [[(k: Variable, v: Variable)]]

  /// - Parameter keys: of each layer for a prefix that is not in the micro-batch; those of the micro-batch's own rows
  ///   when nil
  init(_ network: Eagle3Network, tables: TargetTables, batch: MicroBatch, tape: Tape, keys: [PrefixKeys]?) {
    self.network = network
    self.tables = tables
    self.batch = batch
    self.tape = tape
    let g = network.project(tape, batch.auxHidden.operand(tape.precision))
    let h = network.mix(tape, embedding: network.embeddings(tape, batch.nextTokens, tables), hidden: g)
    let table = network.rotary.table(positions: batch.positions)
    let last = network.shape.layers - 1
    var prefix = keys ?? []
    func prefixKeys(_ layer: Int, _ h: Variable) -> PrefixKeys {
      if prefix.count == layer { prefix.append(PrefixKeys(network.keys(tape, h, layer: layer, table))) }
      return prefix[layer]
    }
    inputs = network.inputs(tape, through: 0..<last, .init(x: g, h: h), table) { layer, h, q in
      let keys = prefixKeys(layer, h)
      return tape.attention(q, keys.k, keys.v, rows: batch.attention, chain: [], shape: network.shape.attention)
    }
    _ = prefixKeys(last, inputs.h)
    self.prefix = prefix
    hidden = inputs.x
    chains = [[(k: Variable, v: Variable)]](repeating: [], count: network.shape.layers)
  }

  /// g_{k+1} of the trained rows of depth k.
  mutating func forward(depth k: Int) -> Variable {
    let rows = batch.depths[k]
    let table = network.rotary.table(positions: rows.positions)
    let x = tape.gather(hidden, rows.inPrevious)
    let h: Variable
    if k == 0 {
      h = tape.gather(inputs.h, rows.rows)
    } else {
      h = network.mix(tape, embedding: network.embeddings(tape, rows.tokens, tables), hidden: x)
    }
    // At depth 0, all layers but the last are done for all rows.
    let first = k == 0 ? network.shape.layers - 1 : 0
    hidden = network.states(tape, from: first, .init(x: x, h: h), table) { layer, h, q in
      if k > 0 { chains[layer].append(network.keys(tape, h, layer: layer, table)) }
      let links = zip(chains[layer], rows.chain).map { ChainLink(k: $0.k, v: $0.v, row: $1) }
      return tape.attention(
        q, prefix[layer].k, prefix[layer].v, rows: rows.attention, chain: links, shape: network.shape.attention)
    }
    return hidden
  }
}
