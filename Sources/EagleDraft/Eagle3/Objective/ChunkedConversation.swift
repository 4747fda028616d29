import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// N prefix rows · kv key heads · d head dimension · H hidden.

/// A long conversation whose trained rows are computed chunk by chunk, so that its activations do not grow with it.
///
/// Trained rows depend on each other in one way only: a row attends to the depth-0 keys and values of all rows before
/// it, in each layer. So
/// ```
/// 1. k, v of the N prefix rows, in each layer       kept as leaves, [N, kv·d]; nothing below them is kept
/// 2. each chunk: K depths against k, v; backward     adds to the parameters and to dk, dv of each layer
/// 3. from the last layer to the first: k, v computed again from the captured states and the leaves of lower layers;
///    backward from dk, dv                            adds to the parameters and to dk, dv of lower layers
/// ```
/// is the gradient of one pass, with its sums in another order. h of depth 0 is computed three times for trained
/// rows and twice for others, keys twice: about 1 % of a step at Qwen3-4B's size and K 7, in one layer. The backward
/// pass of a layer's keys computes the layers below again: with L layers, L (L - 1) / 2 of them for each prefix row.
struct ChunkedConversation {
  let chunks: [RowChunk]
  private let conversation: CapturedConversation
  private let trained: TrainedPart
  private let layout: RowLayout
  /// The trained rows of a chunk, at most.
  private let rows: Int

  init(_ conversation: CapturedConversation, _ trained: TrainedPart, rows: Int, _ layout: RowLayout) {
    self.conversation = conversation
    self.trained = trained
    (self.layout, self.rows) = (layout, rows)
    chunks = trained.chunks(of: rows)
  }

  /// The rows of one chunk.
  func batch(_ index: Int) -> MicroBatch { MicroBatch(conversation, trained.all, chunk: chunks[index], layout) }

  /// The rows whose depth-0 keys the chunks attend to.
  func prefix(of network: Eagle3Network, _ tables: TargetTables, _ precision: ComputePrecision) -> Prefix {
    Prefix(
      network: network, tables: tables, precision: precision, count: trained.prefixCount, conversation: conversation,
      window: layout.window, rows: rows)
  }

  /// The computation from captured states to keys and values, a few rows at a time (activation checkpointing).
  struct Prefix {
    fileprivate let network: Eagle3Network
    fileprivate let tables: TargetTables
    fileprivate let precision: ComputePrecision
    fileprivate let count: Int  // N
    fileprivate let conversation: CapturedConversation
    fileprivate let window: Int?
    /// The rows at a time: as many as a chunk has, so that buffers are reused.
    fileprivate let rows: Int

    private var ranges: [Range<Int>] {
      stride(from: 0, to: count, by: rows).map { $0..<min(count, $0 + rows) }
    }

    /// The inputs of a layer for some rows, which attend to the leaves of the layers below.
    ///
    /// - Parameter each: called for each layer below with its h, before the rows attend to its leaves
    private func inputs(
      _ tape: Tape, _ range: Range<Int>, layer: Int, _ leaves: [PrefixKeys], _ table: Rotary.Table,
      each: (_ layer: Int, _ h: Variable) -> Void = { _, _ in }
    ) -> Variable {
      let g = network.project(tape, conversation.auxHidden.slice(range).operand(precision))
      let next = Array(conversation.ids[range.lowerBound + 1...range.upperBound])
      let h = network.mix(tape, embedding: network.embeddings(tape, next, tables), hidden: g)
      let rows = range.map { RowLayout(window: window).seen(row: $0, depth: 0, firstKey: 0) }
      return network.inputs(tape, through: 0..<layer, .init(x: g, h: h), table) { layer, h, q in
        each(layer, h)
        return tape.attention(
          q, leaves[layer].k, leaves[layer].v, rows: rows, chain: [], shape: network.shape.attention)
      }.h
    }

    private func table(_ range: Range<Int>) -> Rotary.Table {
      network.rotary.table(positions: range.map(Int32.init))
    }

    /// Keys and values of all rows, in each layer. Nothing else of the pass is kept.
    func keys(wantingGradients: Bool) -> [PrefixKeys] {
      let (shape, last) = ([count, network.shape.attention.keyWidth], network.shape.layers - 1)
      let leaves = (0...last).map { _ in
        PrefixKeys(
          (
            Variable(Tensor(shape), requiresGradient: wantingGradients),
            Variable(Tensor(shape), requiresGradient: wantingGradients)
          ))
      }
      // Rows attend to earlier rows and to those of their own range alone.
      for range in ranges {
        let (tape, table) = (Tape(recording: false, precision: precision), table(range))
        func store(_ layer: Int, _ h: Variable) {
          let part = network.keys(tape, h, layer: layer, table)
          Elementwise.copy(part.k.value, into: leaves[layer].k.value.slice(range))
          Elementwise.copy(part.v.value, into: leaves[layer].v.value.slice(range))
        }
        store(last, inputs(tape, range, layer: last, leaves, table, each: store))
      }
      return leaves
    }

    /// Propagates the gradients of keys and values to the parameters, from the last layer to the first: a layer's rows
    /// add to the gradients of the leaves below.
    ///
    /// - Parameters:
    ///   - tells: whether `isFinal` is called
    ///   - isFinal: called with each of `Eagle3Network.keyParameters` as soon as nothing is added to its gradient any
    ///     more
    func backward(_ leaves: [PrefixKeys], tells: Bool, isFinal: (Variable) throws -> Void) rethrows {
      for layer in leaves.indices.reversed() {
        let final = tells ? network.keyParameters(layer: layer) : []
        guard let dk = leaves[layer].k.gradient, let dv = leaves[layer].v.gradient else {
          preconditionFailure("keys without gradients")
        }
        for range in ranges {
          let (tape, table) = (Tape(recording: true, precision: precision), table(range))
          let h = inputs(tape, range, layer: layer, leaves, table)
          let part = network.keys(tape, h, layer: layer, table)
          tape.seed(part.k, with: dk.slice(range))
          tape.seed(part.v, with: dv.slice(range))
          try tape.backward(telling: range.upperBound == count ? final : [], isFinal: isFinal)
        }
      }
    }
  }
}

/// Keys and values of a layer at depth 0, [N, kv·d] each, which rows of all depths attend to.
struct PrefixKeys {
  let k, v: Variable

  init(_ keys: (k: Variable, v: Variable)) { (k, v) = keys }
}
