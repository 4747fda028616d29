import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor

// N prefix rows · kv key heads · d head dimension · H hidden.

/// A long conversation whose trained rows are computed chunk by chunk, so that its activations do not grow with it.
///
/// Trained rows depend on each other in one way only: a row attends to the depth-0 keys and values of all rows before
/// it. So
/// ```
/// 1. k, v of the N prefix rows                      kept as leaves, [N, kv·d]; nothing below them is kept
/// 2. each chunk: K depths against k, v; backward     adds to the parameters and to dk, dv
/// 3. k, v computed again; backward from dk, dv      adds to fc, the norms of h, and the weights of keys and values
/// ```
/// is the gradient of one pass, with its sums in another order. h of depth 0 is computed three times for trained
/// rows and twice for others, keys twice: about 1 % of a step at Qwen3-4B's size and K 7.
struct ChunkedConversation {
  let chunks: [RowChunk]
  private let conversation: CapturedConversation
  private let trained: TrainedPart
  private let layout: RowLayout

  /// - Parameter rows: trained rows of a chunk, at most
  init(_ conversation: CapturedConversation, _ trained: TrainedPart, rows: Int, _ layout: RowLayout) {
    self.conversation = conversation
    self.trained = trained
    self.layout = layout
    chunks = trained.chunks(of: rows)
  }

  /// The rows of one chunk.
  func batch(_ index: Int) -> MicroBatch { MicroBatch(conversation, trained.all, chunk: chunks[index], layout) }

  /// The rows whose depth-0 keys the chunks attend to.
  func prefix(of network: Eagle3Network, _ tables: TargetTables, _ precision: ComputePrecision) -> Prefix {
    Prefix(
      network: network, tables: tables, precision: precision, count: trained.prefixCount, conversation: conversation)
  }

  /// The computation from captured states to keys and values, a few rows at a time (activation checkpointing).
  struct Prefix {
    fileprivate let network: Eagle3Network
    fileprivate let tables: TargetTables
    fileprivate let precision: ComputePrecision
    fileprivate let count: Int  // N
    fileprivate let conversation: CapturedConversation
    /// The rows at a time: as many as a chunk has by default, so that buffers are reused.
    private static let rows = 512

    private var ranges: [Range<Int>] {
      stride(from: 0, to: count, by: Self.rows).map { $0..<min(count, $0 + Self.rows) }
    }

    private func keys(_ tape: Tape, _ range: Range<Int>) -> (k: Variable, v: Variable) {
      let g = network.project(tape, conversation.auxHidden.slice(range).operand(precision))
      let next = Array(conversation.ids[range.lowerBound + 1...range.upperBound])
      let h = network.mix(tape, embedding: network.embeddings(tape, next, tables), hidden: g)
      return network.keys(tape, h, network.rotary.table(positions: range.map(Int32.init)))
    }

    /// Keys and values of all rows. Nothing else of the pass is kept.
    func keys(wantingGradients: Bool) -> PrefixKeys {
      let shape = [count, network.shape.attention.keyWidth]
      let (k, v) = (Tensor(shape), Tensor(shape))
      for range in ranges {
        let part = keys(Tape(recording: false, precision: precision), range)
        Elementwise.copy(part.k.value, into: k.slice(range))
        Elementwise.copy(part.v.value, into: v.slice(range))
      }
      let (leafK, leafV) = (
        Variable(k, requiresGradient: wantingGradients), Variable(v, requiresGradient: wantingGradients)
      )
      return PrefixKeys((leafK, leafV))
    }

    /// Propagates the gradients of keys and values to the parameters.
    ///
    /// - Parameters:
    ///   - parameters: those that `isFinal` is called with
    ///   - isFinal: called with each as soon as nothing is added to its gradient any more
    func backward(
      _ keys: PrefixKeys, telling parameters: [Variable], isFinal: (Variable) throws -> Void
    ) rethrows {
      guard let dk = keys.k.gradient, let dv = keys.v.gradient else { preconditionFailure("keys without gradients") }
      for range in ranges {
        let tape = Tape(recording: true, precision: precision)
        let part = self.keys(tape, range)
        tape.seed(part.k, with: dk.slice(range))
        tape.seed(part.v, with: dv.slice(range))
        try tape.backward(telling: range.upperBound == count ? parameters : [], isFinal: isFinal)
      }
    }
  }
}

/// Keys and values of depth 0, [N, kv·d] each, which rows of all depths attend to.
struct PrefixKeys {
  let k, v: Variable

  init(_ keys: (k: Variable, v: Variable)) { (k, v) = keys }
}
