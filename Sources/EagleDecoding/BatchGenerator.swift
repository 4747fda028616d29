import EagleModels
import EagleTensor

/// Plain decoding of many prompts, several at a time: one pass over the weights gives a token to each.
///
/// Decoding passes are batch-invariant, so each text is the one that a session of its own gives.
public final class BatchGenerator {
  private let target: TargetModel
  private let width: Int

  /// - Parameter width: sequences that run together
  public init(target: TargetModel, width: Int) {
    precondition(width > 0, "a batch of \(width)")
    self.target = target
    self.width = width
  }

  private final class Slot {
    let index: Int
    let cache: KVCache
    var ids: [Int32] = []
    private let promptCount: Int
    private var sampler: Sampler

    init(index: Int, cache: KVCache, prompt: [Int32], _ options: DecodingOptions) {
      self.index = index
      self.cache = cache
      promptCount = prompt.count
      sampler = Sampler(options.sampling, prompt: prompt)
    }

    /// Adds the token that the logits [V] give.
    func append(_ logits: UnsafeMutableBufferPointer<Float>) {
      let token = sampler.choose(logits, position: promptCount + ids.count)
      sampler.append(token)
      ids.append(token)
    }
  }

  /// Continues every prompt, after looking at all of them; `onFinished` gets each index and its new ids, in the order in which they end.
  public func generate(
    _ prompts: [[Int32]], _ options: DecodingOptions, onFinished: (Int, [Int32]) throws -> Void
  ) throws {
    for prompt in prompts { try target.check(prompt, options) }
    var waiting = Array(prompts.indices.reversed())
    var slots: [Slot] = []
    while !waiting.isEmpty || !slots.isEmpty {
      while slots.count < width, let index = waiting.popLast() {
        slots.append(start(index, prompts[index], options))
      }
      for slot in slots where isDone(slot, options) { try onFinished(slot.index, slot.ids) }
      slots.removeAll { isDone($0, options) }
      if !slots.isEmpty { step(slots) }
    }
  }

  private func start(_ index: Int, _ prompt: [Int32], _ options: DecodingOptions) -> Slot {
    let cache = target.makeCache(capacity: prompt.count + options.maxNewTokens)
    let states = target.forward(
      prompt, segments: [Segment(rows: 0..<prompt.count, cache: cache)], captureLayers: [], options.promptProducts)
    let slot = Slot(index: index, cache: cache, prompt: prompt, options)
    append([slot], states.lastHidden.slice(prompt.count - 1..<prompt.count))
    return slot
  }

  private func step(_ slots: [Slot]) {
    let segments = slots.indices.map { Segment(rows: $0..<$0 + 1, cache: slots[$0].cache) }
    append(
      slots, target.forward(slots.map { $0.ids.last! }, segments: segments, captureLayers: [], .invariant).lastHidden)
  }

  private func append(_ slots: [Slot], _ lastHidden: Tensor) {
    let logits = target.logits(lastHidden, .invariant)
    withExtendedLifetime(logits) {
      for (row, slot) in slots.enumerated() {
        slot.append(UnsafeMutableBufferPointer(start: logits.floats + row * logits.columns, count: logits.columns))
      }
    }
  }

  private func isDone(_ slot: Slot, _ options: DecodingOptions) -> Bool {
    options.stopIDs.contains(slot.ids.last!) || slot.ids.count >= options.maxNewTokens
  }
}
