/// Turns token ids that arrive one at a time into text, up to the first of some stop strings. What may be the beginning
/// of a stop string is held back until it is known not to be. Takes time linear in the text, however long and many the
/// stop strings are.
public struct StreamingDetokenizer: Sendable {
  /// Whether a stop string has come. No text follows; the string itself is not part of it.
  public private(set) var isStopped = false
  private var decoder: StreamingDecoder
  private var stops: StopStrings
  /// Bytes that came, of which the first `released` have been handed on.
  private var held: [UInt8] = []
  private var released = 0

  /// Creates the detokenizer of one answer, which ends before the first of `stops`; empty stop strings are ignored.
  /// `skipSpecial` leaves control tokens out.
  public init(_ tokenizer: Tokenizer, stops: [String] = [], skipSpecial: Bool = true) {
    self.init(tokenizer, stops: stops, skipSpecial: skipSpecial, shown: [])
  }

  /// A detokenizer in which the special tokens of `shown` are text, whatever `skipSpecial` says of the others.
  package init(_ tokenizer: Tokenizer, stops: [String], skipSpecial: Bool, shown: Set<Int32>) {
    decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: skipSpecial, startsText: false, shown: shown)
    self.stops = StopStrings(stops.map { Array($0.utf8) }.filter { !$0.isEmpty })
  }

  /// Returns the text that is certain once `id` has arrived; the stop string is no part of it.
  public mutating func append(_ id: Int32) -> String { release(decoder.append(id), isLast: false) }

  /// Returns the text that was held back, where no further id follows.
  public mutating func finish() -> String { release(decoder.finish(), isLast: true) }

  private mutating func release(_ text: String, isLast: Bool) -> String {
    guard !isStopped else { return "" }
    var sure = held.count  // the end of what is handed on
    for byte in text.utf8 {
      held.append(byte)
      let found = stops.advance(byte)
      if found > 0 {
        isStopped = true
        sure = held.count - found
        break
      }
    }
    if !isStopped { sure = isLast ? held.count : held.count - stops.pending }
    defer { drop(to: sure) }
    return String(decoding: held[released..<sure], as: UTF8.self)
  }
}

extension StreamingDetokenizer {
  /// Forgets bytes when there are as many of them as of those that stay, so that none is moved often.
  private mutating func drop(to end: Int) {
    released = end
    guard 2 * released >= held.count else { return }
    held.removeFirst(released)
    released = 0
  }
}

/// Finds the first of several strings in bytes that come one at a time (Aho and Corasick 1975): a trie of the strings,
/// whose nodes also know the longest proper suffix of their own string that is a node.
///
/// Stop strings are whole characters, so what is held back never cuts one.
private struct StopStrings: Sendable {
  private struct Node: Sendable {
    var children: [UInt8: Int] = [:]
    var depth = 0
    /// The node of the longest proper suffix.
    var suffix = 0
    /// Bytes of the longest stop string that ends here, 0 for none: it is the one that began first.
    var found = 0
  }

  private var nodes = [Node()]
  private var state = 0

  init(_ strings: [[UInt8]]) {
    for string in strings { insert(string) }
    linkSuffixes()
  }

  /// Bytes at the end of what has come that a stop string may begin with.
  var pending: Int { nodes[state].depth }

  /// Takes a byte. Returns the bytes of the stop string that it completes, 0 for none.
  mutating func advance(_ byte: UInt8) -> Int {
    state = step(from: state, byte)
    return nodes[state].found
  }

  private func step(from start: Int, _ byte: UInt8) -> Int {
    var node = start
    while true {
      if let child = nodes[node].children[byte] { return child }
      if node == 0 { return 0 }
      node = nodes[node].suffix
    }
  }

  private mutating func insert(_ string: [UInt8]) {
    var node = 0
    for byte in string {
      if nodes[node].children[byte] == nil {
        nodes.append(Node(depth: nodes[node].depth + 1))
        nodes[node].children[byte] = nodes.count - 1
      }
      node = nodes[node].children[byte]!
    }
    nodes[node].found = string.count
  }

  /// Level by level, since a suffix is shorter.
  private mutating func linkSuffixes() {
    var level = Array(nodes[0].children.values)
    while !level.isEmpty {
      var next: [Int] = []
      for node in level {
        for (byte, child) in nodes[node].children {
          let suffix = step(from: nodes[node].suffix, byte)
          nodes[child].suffix = suffix
          if nodes[child].found == 0 { nodes[child].found = nodes[suffix].found }
          next.append(child)
        }
      }
      level = next
    }
  }
}
