extension JSON {
  /// Keys with their values, in the order in which the keys came.
  ///
  /// A key that comes twice stays at its first position and has its last value, as with Python's `json.loads`. Keys are
  /// compared byte by byte: two spellings of "é" are two keys.
  package struct Object: Sendable {
    package private(set) var entries: [(key: String, value: JSON)] = []
    /// Positions of the keys, kept once there are many: reading stays linear.
    private var positions: [Key: Int]?

    /// Keys up to which a search from the front is faster than a table.
    private static let fewKeys = 16

    private struct Key: Hashable {
      let text: String

      static func == (a: Key, b: Key) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

      func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
      }
    }

    package init() {}

    package init(_ entries: some Sequence<(String, JSON)>) {
      for (key, value) in entries { self[key] = value }
    }

    package var isEmpty: Bool { entries.isEmpty }
    package var count: Int { entries.count }
    package var keys: [String] { entries.map(\.key) }

    /// The value of a key. Nil removes it, which takes as long as there are keys.
    package subscript(key: String) -> JSON? {
      get { position(of: key).map { entries[$0].value } }
      set {
        switch (position(of: key), newValue) {
        case (let position?, let value?): entries[position].value = value
        case (nil, let value?): append(key, value)
        case (let position?, nil):
          entries.remove(at: position)
          positions = nil
          index()
        case (nil, nil): break
        }
      }
    }

    private func position(of key: String) -> Int? {
      if let positions { return positions[Key(text: key)] }
      return entries.firstIndex { $0.key.utf8.elementsEqual(key.utf8) }
    }

    private mutating func append(_ key: String, _ value: JSON) {
      entries.append((key, value))
      if positions == nil { index() } else { positions![Key(text: key)] = entries.count - 1 }
    }

    private mutating func index() {
      guard entries.count > Self.fewKeys else { return }
      positions = Dictionary(uniqueKeysWithValues: entries.enumerated().map { (Key(text: $1.key), $0) })
    }
  }
}

extension JSON.Object: Equatable {
  /// Whether both have the same keys with the same values, in any order.
  package static func == (a: JSON.Object, b: JSON.Object) -> Bool {
    a.count == b.count && a.entries.allSatisfy { b[$0.key] == $0.value }
  }
}
