/// A token of a text with the byte where it begins.
struct Token {
  let id: Int32
  var start: Int32
}

/// Byte-pair encoding of one word: the merge of lowest rank goes first, of equal ones the leftmost.
///
/// Possible merges wait in a heap and the symbols are a linked list, so a word of n bytes costs n · log n.
/// The memory is reused from word to word; one thread uses a merger at a time.
struct WordMerger {
  private struct Symbol {
    var id: Int32
    let start: Int32
    var previous: Int32
    var next: Int32  // -1 at the end of the word
    var rank: Int32  // of the merge with the next symbol, .max when there is none
    var result: Int32  // what that merge makes; -1 once this symbol was swallowed by its left neighbour
  }

  private var symbols: [Symbol] = []
  private var queue = MinHeap()

  /// Appends the tokens of `word` to `tokens`; `start` fields count from the word's first byte.
  mutating func merge(_ word: UnsafeBufferPointer<UInt8>, with model: BytePairModel, into tokens: inout [Token]) {
    split(word, model)
    queue.removeAll()
    for index in symbols.indices { propose(index, model) }
    while let candidate = queue.popMin() { apply(candidate, model) }
    var index = symbols.isEmpty ? -1 : 0
    while index >= 0 {
      tokens.append(Token(id: symbols[index].id, start: symbols[index].start))
      index = Int(symbols[index].next)
    }
  }

  /// One symbol for each unit. A byte without a token is left out, as Hugging Face does, and its neighbours become
  /// adjacent.
  private mutating func split(_ word: UnsafeBufferPointer<UInt8>, _ model: BytePairModel) {
    symbols.removeAll(keepingCapacity: true)
    if let characters = model.characters {
      characters.forEachUnit(of: word) { append($0, at: $1) }
    } else {
      let ids = model.byteIDs
      for (start, byte) in word.enumerated() where ids[Int(byte)] >= 0 { append(ids[Int(byte)], at: start) }
    }
    if !symbols.isEmpty { symbols[symbols.count - 1].next = -1 }
  }

  private mutating func append(_ id: Int32, at start: Int) {
    let index = Int32(symbols.count)
    symbols.append(
      Symbol(id: id, start: Int32(start), previous: index - 1, next: index + 1, rank: .max, result: 0))
  }

  /// Looks up the merge of symbol `index` with its right neighbour and queues it.
  private mutating func propose(_ index: Int, _ model: BytePairModel) {
    let next = Int(symbols[index].next)
    guard next >= 0, let merge = model.merges.merge(of: symbols[index].id, symbols[next].id) else {
      symbols[index].rank = .max
      return
    }
    symbols[index].rank = merge.rank
    symbols[index].result = merge.result
    queue.push(UInt64(UInt32(bitPattern: merge.rank)) << 32 | UInt64(index))
  }

  /// Carries out a queued merge unless one of its two symbols has changed since.
  private mutating func apply(_ candidate: UInt64, _ model: BytePairModel) {
    let index = Int(candidate & 0xFFFF_FFFF)
    guard symbols[index].rank == Int32(candidate >> 32), symbols[index].result >= 0 else { return }
    let swallowed = Int(symbols[index].next)
    let next = symbols[swallowed].next
    symbols[index].id = symbols[index].result
    symbols[index].next = next
    symbols[swallowed].result = -1
    if next >= 0 { symbols[Int(next)].previous = Int32(index) }
    propose(index, model)
    if symbols[index].previous >= 0 { propose(Int(symbols[index].previous), model) }
  }
}

/// A binary heap of numbers, the smallest first.
struct MinHeap {
  private var items: [UInt64] = []

  mutating func removeAll() {
    items.removeAll(keepingCapacity: true)
  }

  mutating func push(_ item: UInt64) {
    items.append(item)
    var child = items.count - 1
    while child > 0, items[(child - 1) / 2] > item {
      items[child] = items[(child - 1) / 2]
      child = (child - 1) / 2
    }
    items[child] = item
  }

  mutating func popMin() -> UInt64? {
    guard let smallest = items.first, let last = items.popLast() else { return nil }
    if !items.isEmpty { sink(last) }
    return smallest
  }

  /// Places `item` from the root downwards.
  private mutating func sink(_ item: UInt64) {
    var parent = 0
    while true {
      var child = 2 * parent + 1
      guard child < items.count else { break }
      if child + 1 < items.count, items[child + 1] < items[child] { child += 1 }
      guard items[child] < item else { break }
      items[parent] = items[child]
      parent = child
    }
    items[parent] = item
  }
}
