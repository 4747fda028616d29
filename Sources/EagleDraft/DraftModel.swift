import EagleAutograd
import EagleCore
import EagleModels
import EagleTensor
import Foundation

// D draft vocabulary.

/// A draft head of any architecture: its sizes, its draft vocabulary, and its weights by name.
public final class DraftModel {
  package let shape: any DraftShape
  package let vocabulary: DraftVocabulary
  /// All trained tensors under their exported names, in a fixed order.
  package let parameters: [Parameter]
  /// The computation with these tensors.
  package let network: any DraftNetwork
  /// The tables of the target that was used last.
  private let shared = Shared()

  private final class Shared {
    private let lock = NSLock()
    private var known: (head: Storage, tables: TargetTables)?

    func withLock(_ body: (inout (head: Storage, tables: TargetTables)?) -> TargetTables) -> TargetTables {
      lock.withLock { body(&known) }
    }
  }

  /// A named trained tensor.
  package struct Parameter {
    package let name: String
    package let variable: Variable
  }

  /// A head of these tensors, one for each name of the shape's `tensorShapes`; matrices float32, bfloat16 or quantised,
  /// norms float32.
  package init(shape: any DraftShape, vocabulary: DraftVocabulary, tensors: [String: Tensor], trainable: Bool) {
    precondition(
      vocabulary.size == shape.draftVocabularySize, "\(vocabulary.size) draft ids for \(shape.draftVocabularySize)")
    self.shape = shape
    self.vocabulary = vocabulary
    parameters = shape.tensorShapes.map { name, expected in
      guard let tensor = tensors[name], tensor.shape == expected else {
        preconditionFailure("draft tensor \(name): \(tensors[name]?.shape ?? []) in place of \(expected)")
      }
      return Parameter(name: name, variable: Variable(tensor, requiresGradient: trainable))
    }
    network = shape.network(parameters)
  }

  /// The format of its first quantised matrix, such as Q8_0; nil where none is quantised.
  package var quantizedFormat: String? { parameters.map(\.variable.value.dtype).first(where: \.isBlocks)?.ggmlName }

  /// A copy to be trained, of float32 weights. The optimiser writes to its parameters, and a mapped file cannot be
  /// written to.
  package func trainable() -> DraftModel {
    let tensors = parameters.map { parameter in
      let (stored, copy) = (parameter.variable.value.float32(), Tensor(parameter.variable.value.shape))
      Elementwise.copy(stored, into: copy)
      return (parameter.name, copy)
    }
    return DraftModel(
      shape: shape, vocabulary: vocabulary, tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: true)
  }

  /// Random start: matrices N(0, 0.02), norms 1, biases 0.
  package static func random(shape: any DraftShape, vocabulary: DraftVocabulary, seed: UInt64) -> DraftModel {
    var tensors: [String: Tensor] = [:]
    for (name, size) in shape.tensorShapes {
      var random = RandomSource(seed: seed, purpose: name)
      tensors[name] =
        size.count > 1
        ? .normal(size, deviation: 0.02, using: &random) : .filled(size, with: name.hasSuffix(".bias") ? 0 : 1)
    }
    return DraftModel(shape: shape, vocabulary: vocabulary, tensors: tensors, trainable: true)
  }

  /// The same head, with its own embedding initialised from the target's if it has one and the hidden sizes are equal.
  package func withEmbedding(of target: TargetModel) -> DraftModel {
    guard let own = shape.ownEmbedding, shape.hiddenSize == target.shape.hiddenSize else { return self }
    return mapped(trainable: true) { name, tensor in name == own ? target.embedding.float32() : tensor }
  }

  /// A copy with other tensors of the same shapes.
  ///
  /// - Parameter change: the new tensor from a name and its present tensor
  private func mapped(trainable: Bool = false, _ change: (String, Tensor) -> Tensor) -> DraftModel {
    let tensors = parameters.map { ($0.name, change($0.name, $0.variable.value)) }
    return DraftModel(
      shape: shape, vocabulary: vocabulary, tensors: Dictionary(uniqueKeysWithValues: tensors), trainable: trainable)
  }

  /// The same model as it will be exported and decoded: every weight rounded to bfloat16, not trainable.
  package func rounded() -> DraftModel {
    mapped { _, tensor in
      let narrow = tensor.bfloat16()
      return narrow.shape.count == 1 ? narrow.float32() : narrow
    }
  }

  /// The same head with quantised matrices, for decoding.
  package func quantized(_ format: WeightFormat) -> DraftModel {
    guard let matrices = format.matrices else { return self }
    return mapped { _, tensor in Self.isQuantized(tensor) ? tensor.quantized(matrices) : tensor }
  }

  /// Whether quantisation applies to a tensor: norms, biases and single rows stay as they are, since blocks would save
  /// nothing.
  static func isQuantized(_ tensor: Tensor) -> Bool { tensor.shape.count == 2 && tensor.rows > 1 }

  /// The matrices whose rows are no whole blocks of `format`.
  package func fallbacks(_ format: WeightFormat) -> FormatFallbacks {
    var fallbacks = FormatFallbacks()
    guard let matrices = format.matrices else { return fallbacks }
    for value in parameters.map(\.variable.value) where Self.isQuantized(value) { fallbacks.add(value, to: matrices) }
    return fallbacks
  }

  /// Repacks quantised matrices into the tiles that decoding passes read. Otherwise the first pass does so.
  package func prepareForDecoding(_ target: TargetModel) {
    let own = parameters.filter { !shape.lookUpTables.contains($0.name) }.map(\.variable.value)
    for matrix in own + [tables(of: target).lmHead?.value].compactMap({ $0 }) {
      matrix.prepare(for: .batchInvariant(target.precision))
    }
  }

  /// Whether the head reads an embedding of its own and not the target's.
  public var hasOwnEmbedding: Bool { shape.ownEmbedding != nil }

  package var parameterCount: Int { parameters.reduce(0) { $0 + $1.variable.value.count } }

  /// An empty cache for this head that may grow to `capacity` entries.
  package func makeCache(capacity: Int, _ format: CacheFormat) -> KVCache {
    KVCache(layers: shape.cacheLayers(format), capacity: capacity)
  }

  /// The target's tables that this head reads. Of the LM head these are the rows of the draft vocabulary, which all
  /// drafters of this head and target share.
  package func tables(of target: TargetModel) -> TargetTables {
    guard shape.sharesLMHead else { return TargetTables(embedding: target.embedding) }
    guard !vocabulary.isWhole else { return TargetTables(embedding: target.embedding, lmHead: target.head) }
    return shared.withLock { known in
      if let known, known.head === target.head.storage { return known.tables }
      let tables = TargetTables(
        embedding: target.embedding, lmHead: Rows.select(target.head, vocabulary.targetIDs))
      known = (target.head.storage, tables)
      return tables
    }
  }

  /// The objective over this head's parameters.
  ///
  /// - Parameters:
  ///   - tables: the target's tables that it reads
  ///   - teacher: the target's distributions
  ///   - settings: how it is trained
  ///   - clock: takes the seconds of its phases
  ///   - tick: called between parts of a long conversation, which takes minutes
  package func objective(
    tables: TargetTables, teacher: Teacher, settings: ObjectiveSettings, clock: PhaseClock = PhaseClock(),
    tick: @escaping () -> Void = {}
  ) -> any Objective {
    network.makeObjective(self, tables: tables, teacher: teacher, settings: settings, clock: clock, tick: tick)
  }

  /// A drafter for one sequence of up to `capacity` positions.
  package func makeDrafter(target: TargetModel, capacity: Int) -> any Drafter {
    network.makeDrafter(self, target: target, capacity: capacity)
  }
}
