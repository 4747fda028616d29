import EagleCaptureStore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import EagleTraining
import Foundation

// H hidden · V target vocabulary · D draft vocabulary · P trained parameters · R ranks in all.

/// A named number of bytes.
package struct Need: Sendable, Codable, Equatable {
  package var name: String
  package var bytes: Double

  package init(_ name: String, _ bytes: Double) { (self.name, self.bytes) = (name, bytes) }
}

/// The disk and memory of a run, computed only from sizes.
package struct Sizes {
  package var target: TargetShape
  package var draft: any DraftShape
  /// The bytes of the target's files.
  package var targetBytes: Double
  /// The format of KV caches.
  package var cacheFormat: CacheFormat

  package init(target: TargetShape, draft: any DraftShape, targetBytes: Double, cacheFormat: CacheFormat = .fp32) {
    (self.target, self.draft, self.targetBytes, self.cacheFormat) = (target, draft, targetBytes, cacheFormat)
  }

  /// P.
  package var parameters: Int { draft.parameterCount }
  /// The elements of the target's LM head for the draft vocabulary.
  package var teacherHeadSize: Int { draft.draftVocabularySize * target.hiddenSize }
  /// The parameters of the LM head, if the draft head trains one: their gradients are final first.
  package var headParameters: Int { draft.lmHeadParameters }

  // MARK: disk

  /// The bytes of the capture store for a token: the captured states and the last one, the id, the mask, and the
  /// teacher's argmax and log-sum-exp.
  package func storedBytes(_ states: StateFormat) -> Double {
    let h = Double(target.hiddenSize)
    let blocks = Double((target.hiddenSize + 63) / 64)
    return Double(draft.captureLayers.count + 1) * (states == .bf16 ? 2 * h : h + 2 * blocks) + 4 + 1 + 8
  }

  /// The bytes of a checkpoint: weights and two moments in float32.
  package var checkpoint: Double { 12 * Double(parameters) }

  /// The disk space of everything that a run writes.
  package func disk(tokens: Double, conversations: Double, capture: CaptureConfig, keep: Int) -> [Need] {
    var needs = [Need("prepared tokens", 5 * tokens + 24 * conversations)]
    if capture.mode == .store { needs.append(Need("capture store", storedBytes(capture.states) * tokens)) }
    // The kept checkpoints, the best one, and the one that is being written.
    needs.append(Need("\(keep + 2) checkpoints", Double(keep + 2) * checkpoint))
    needs.append(Need("exported head", 2 * Double(parameters)))
    return needs
  }

  // MARK: memory

  /// Code, tables of libraries, threads and packing buffers. In eight training benchmarks of two shapes, the memory
  /// beyond the other needs was 79 to 147 MB (2 cores).
  private static let programBytes = 9e7

  /// The memory of one rank in training, without the target's mapped weights, which the ranks of a node share.
  ///
  /// - Parameters:
  ///   - work: the bytes of the largest micro-batch
  ///   - ranks: R, among which a sharded optimiser (ZeRO-1) partitions its moments
  ///   - mode: of capture: states of a store are read ahead
  package func training(
    _ config: TrainConfig, work: ObjectiveBytes, ranks: Int, mode: CaptureMode = .store
  ) -> [Need] {
    let p = Double(parameters)
    // Muon's matrices have no second moment.
    let moments = config.optimizer == .muon ? 8 * p - 4 * Double(muonElements) : 8 * p
    var needs = [
      Need("draft weights, float32", 4 * p), Need("gradients", 4 * p),
      Need(
        config.shardOptimizer ? "moments, a share of 1 in \(ranks)" : "moments",
        moments / (config.shardOptimizer ? Double(ranks) : 1)),
      Need("the target's head for the draft vocabulary", 2 * Double(teacherHeadSize)),
    ]
    if config.shardOptimizer {
      needs.append(Need("a bucket of moments, to write checkpoints", 4 * min(p, Double(GradientBuckets.elements))))
    }
    if config.optimizer == .muon {
      let bytes = Muon.temporaryBytes(draft.hiddenMatrices.map(\.shape))
      needs.append(Need("a matrix of Muon, and its products", Double(bytes)))
    }
    if config.stateNoise > 0 { needs.append(Need("states with noise", 3 * work.conversations)) }
    if Matmul.takesBFloat16(config.precision) { needs.append(Need("weights in bf16", 2 * p)) }
    needs.append(Need("activations of a micro-batch", work.activations))
    needs.append(Need("states of its conversations, keys of a long one", work.conversations))
    if mode == .store {
      let ahead = Double(BatchPlan.microBatchTokens) * storedBytes(.bf16)
      needs.append(Need("states that are read ahead", min(ahead, work.conversations)))
    }
    needs.append(Need("the program and its libraries", Self.programBytes))
    return needs
  }

  /// The elements of the matrices that Muon updates, which their owners broadcast in each step.
  package var muonElements: Int { draft.hiddenMatrices.reduce(0) { $0 + $1.shape.reduce(1, *) } }

  /// The bytes of the keys and values of this many tokens in all layers of the target.
  package func cache(tokens: Double) -> Double {
    target.cacheLayers(cacheFormat).reduce(0) { $0 + cache($1, tokens) }
  }

  /// The bytes of the KV caches of an evaluation: a plain and a speculative session, and the head's layers.
  package func evaluationCaches(tokens: Double) -> Double {
    draft.cacheLayers(cacheFormat).reduce(2 * cache(tokens: tokens)) { $0 + cache($1, tokens) }
  }

  private func cache(_ layer: KVCache.LayerShape, _ tokens: Double) -> Double {
    Double(layer.byteCount(tokens: Int(tokens.rounded(.up)), pass: CacheSize.passTokens))
  }
}
