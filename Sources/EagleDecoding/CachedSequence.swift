import EagleModels

/// The KV cache of one sequence with the id of each entry: what a later prompt can reuse.
///
/// A pass writes its entries after those that have ids. `append`, `keep` or `discard` then decides which of them stay,
/// so that between passes every entry has an id. Copies share the cache.
package struct CachedSequence {
  let kv: KVCache
  /// The token of each entry.
  package private(set) var ids: [Int32] = []

  init(_ kv: KVCache) { self.kv = kv }

  /// The number of leading tokens of a prompt whose entries are cached.
  package func commonPrefix(with prompt: [Int32]) -> Int { zip(ids, prompt).prefix { $0 == $1 }.count }

  /// The index of the sequence that a prompt continues, nil for a prompt that begins another conversation.
  ///
  /// A prompt takes the sequence with the longest common prefix when that saves more entries than it drops, or when the
  /// whole prompt is cached: its answer is requested again. All prompts share the beginning of the template, and no
  /// conversation should lose its entries for that.
  package static func index(for prompt: [Int32], among sequences: [CachedSequence]) -> Int? {
    let prefixes = sequences.map { $0.commonPrefix(with: prompt) }
    guard let best = prefixes.indices.max(by: { prefixes[$0] < prefixes[$1] }), prefixes[best] > 0,
      prefixes[best] == prompt.count || 2 * prefixes[best] > sequences[best].ids.count
    else { return nil }
    return best
  }

  /// Keeps all entries of a pass over these tokens.
  mutating func append(_ tokens: some Collection<Int32>) {
    ids += tokens
    precondition(kv.count == ids.count, "\(ids.count) ids for \(kv.count) KV-cache entries")
  }

  /// Keeps the entries of the accepted path of a pass, and drops its others.
  ///
  /// - Parameters:
  ///   - path: increasing indices into `tokens`
  ///   - tokens: the tokens of the pass
  mutating func keep(_ path: [Int], of tokens: [Int32]) {
    kv.keep(path, from: ids.count)
    ids += path.map { tokens[$0] }
  }

  /// Drops all entries of a pass that failed.
  func discard() { kv.truncate(to: ids.count) }

  /// Drops the entries from `count` on.
  mutating func truncate(to count: Int) {
    kv.truncate(to: count)
    ids.removeSubrange(count...)
  }
}
