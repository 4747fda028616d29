import EagleModels
import EagleTensor
import Testing

@Suite struct KVCacheTests {
  private let shape = AttentionShape(heads: 2, kvHeads: 1, headDimension: 4)

  /// Rows whose values encode their position.
  private func rows(_ range: Range<Int>, sign: Float) -> Tensor {
    Tensor(range.flatMap { row in (0..<4).map { sign * Float(4 * row + $0) } }, [range.count, 4])
  }

  private func holds(_ cache: KVCache, _ positions: [Int]) -> Bool {
    let (k, v, _) = cache.entries(of: 0)
    let expected = positions.flatMap { row in (0..<4).map { Float(4 * row + $0) } }
    return k.slice(0..<cache.count).values == expected && v.slice(0..<cache.count).values == expected.map { -$0 }
  }

  @Test("a cache for a long context reserves little at first, and at most twice what it holds")
  func addressesComeWithEntries() {
    let cache = KVCache(layers: [KVCache.LayerShape(width: shape.keyWidth)], capacity: 262_144)
    #expect(cache.reserved <= 1024)
    var next = 0
    for count in [1, 500, 600, 1, 3000, 7, 20_000] {
      cache.append(rows(next..<next + count, sign: 1), rows(next..<next + count, sign: -1))
      next += count
      #expect(cache.count == next && cache.reserved >= next && cache.reserved <= max(1024, 2 * next))
      #expect(holds(cache, Array(0..<next)))
    }
  }

  @Test("a cache holds what its type makes of keys and values, whatever moves", arguments: [CacheFormat.bf16, .q8_0])
  func entriesAreRounded(format: CacheFormat) {
    var random = RandomSource(seed: 1)
    let dtype = format == .bf16 ? DType.bfloat16 : .q8_0
    let caches = [CacheFormat.fp32, format].map {
      KVCache(layers: [KVCache.LayerShape(width: 64, format: $0)], capacity: 10_000)
    }
    for count in [1, 700, 900, 5000] {
      let (k, v) = (
        Tensor.normal([count, 64], deviation: 1, using: &random),
        Tensor.normal([count, 64], deviation: 1, using: &random)
      )
      for cache in caches {
        cache.append(k, v)
        if count == 900 { cache.keep([0, 3, 19, 700], from: 750) }
        if count == 700 { cache.truncate(to: 650) }
      }
    }
    let (exact, rounded) = (caches[0].entries(of: 0), caches[1].entries(of: 0))
    func expected(_ x: Tensor) -> [Float] {
      let held = x.slice(0..<caches[0].count)
      return (dtype == .bfloat16 ? held.bfloat16() : held.quantized(dtype)).float32().values
    }
    #expect(caches[1].count == caches[0].count && caches[1].byteCount == 2 * dtype.bytes(64) * caches[1].count)
    #expect(rounded.k.slice(0..<caches[1].count).float32().values == expected(exact.k))
    #expect(rounded.v.slice(0..<caches[1].count).float32().values == expected(exact.v))
  }

  @Test("a head's cache that takes another format than the target's is said in one line")
  func fallbacks() {
    #expect(
      CacheFormat.q8_0.fallbackLine(headDimension: 80)
        == "bf16 in place of q8_0: heads of 80 elements are no multiple of 32")
    #expect(CacheFormat.q8_0.fallbackLine(headDimension: 64) == nil)
    #expect(CacheFormat.bf16.fallbackLine(headDimension: 80) == nil)
  }

  @Test("a cache grows to its capacity and no further")
  func capacityIsTheEnd() {
    let cache = KVCache(layers: [KVCache.LayerShape(width: shape.keyWidth)], capacity: 1500)
    cache.append(rows(0..<1500, sign: 1), rows(0..<1500, sign: -1))
    #expect(cache.reserved == 1500 && holds(cache, Array(0..<1500)))
  }

  @Test("a layer with a window takes what its shape says at most, and comes close to it", arguments: [3, 20, 70, 500])
  func windowsBoundMemory(window: Int) {
    let layer = KVCache.LayerShape(width: 4, window: window)
    let cache = KVCache(layers: [layer], capacity: 100_000)
    var largest = 0
    for pass in [Array(repeating: 192, count: 20), Array(repeating: 7, count: 100)].joined() {
      cache.append(rows(0..<pass, sign: 1), rows(0..<pass, sign: -1))
      largest = max(largest, cache.byteCount)
      #expect(cache.byteCount <= layer.byteCount(tokens: cache.count, pass: 192))
    }
    #expect(Double(largest) > 0.9 * Double(layer.byteCount(tokens: cache.count, pass: 192)))
    #expect(layer.byteCount(tokens: 2, pass: 192) == 2 * 4 * 4 * 2)
  }

  @Test("entries that were dropped or moved before a cache grows stay so")
  func growthKeepsWhatIsValid() {
    let cache = KVCache(layers: [KVCache.LayerShape(width: shape.keyWidth)], capacity: 10_000)
    cache.append(rows(0..<1000, sign: 1), rows(0..<1000, sign: -1))
    cache.truncate(to: 990)
    cache.append(rows(2000..<2020, sign: 1), rows(2000..<2020, sign: -1))
    cache.keep([0, 3, 19], from: 990)
    cache.append(rows(3000..<3100, sign: 1), rows(3000..<3100, sign: -1))
    #expect(cache.reserved == 2048)
    #expect(holds(cache, Array(0..<990) + [2000, 2003, 2019] + Array(3000..<3100)))
  }

  @Test("states do not change when the cache grows within a text", arguments: TinyModel.names)
  func growthChangesNoState(name: String) throws {
    let model = try TargetModel(folder: TinyModel.folder(name))
    let ids = (0..<1100).map { Int32($0 * 7 % model.shape.vocabularySize) }
    let whole = model.decode(ids, segments: [Segment(rows: 0..<1100)], captureLayers: []).lastHidden
    let cache = model.makeCache(capacity: 262_144)
    for piece in [0..<500, 500..<1020, 1020..<1022, 1022..<1030, 1030..<1100] {
      let states = model.decode(
        Array(ids[piece]), segments: [Segment(rows: 0..<piece.count, cache: cache)], captureLayers: [])
      #expect(states.lastHidden.values == whole.slice(piece).values, "\(piece)")
    }
    let hasWindows = model.shape.layerShapes.allSatisfy { $0.window != nil }
    #expect(hasWindows ? cache.reserved < 1100 : cache.reserved == 2048)
  }
}

extension KVCache {
  /// Appends all rows of k and v [R, width] to a cache of one layer.
  fileprivate func append(_ k: Tensor, _ v: Tensor) {
    write(0, k, v, rows: 0..<k.rows)
    advance(k.rows)
  }
}
