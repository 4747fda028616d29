/// Walks over values. Each visited value counts as a step, since a small value can hold one list a great many times.
extension Meter {
  /// The key that a value is in a dictionary.
  func key(of value: Value) throws -> Key {
    try charge(1)
    switch value {
    case .none: return .none
    case .undefined: return .undefined
    case .bool(let flag): return .int(flag ? 1 : 0)
    case .int(let number): return .int(number)
    case .bigInt(let digits): return .bigInt(digits)
    case .float(let number): return Int(exactly: number).map { .int($0) } ?? .float(number.bitPattern)
    case .string(let text): return .string(text.bytes)
    case .tuple(let tuple): return .tuple(try tuple.items.map(key))
    case .namespace(let object): return .object(ObjectIdentifier(object))
    case .macro(let object): return .object(ObjectIdentifier(object))
    case .loop(let object): return .object(ObjectIdentifier(object))
    case .list, .dict, .view, .range, .generator, .function, .method, .cycler, .joiner:
      throw Fault("a \(value.type) cannot be a key of a dictionary")
    }
  }

  /// Python's `==`.
  func areEqual(_ a: Value, _ b: Value) throws -> Bool {
    try charge(1)
    switch (a, b) {
    case (.string(let a), .string(let b)): return a == b
    case (.none, .none), (.undefined, .undefined): return true
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): return try areEqual(a.items, b.items)
    case (.dict(let a), .dict(let b)): return try areEqual(a, b)
    case (.bigInt(let a), .bigInt(let b)): return a == b
    case (.range(let a), .range(let b)):
      return a.count == b.count && (a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step))
    case (.namespace(let a), .namespace(let b)): return a === b
    case (.macro(let a), .macro(let b)): return a === b
    case (.loop(let a), .loop(let b)): return a === b
    case (.cycler(let a), .cycler(let b)): return a === b
    case (.joiner(let a), .joiner(let b)): return a === b
    case (.generator(let a), .generator(let b)): return a === b
    case (.function(let a), .function(let b)): return a == b
    case (.method(let a), .method(let b)): return try a.name == b.name && areEqual(a.receiver, b.receiver)
    case (.view(let a), .view(let b)) where a.part != .values && b.part == a.part: return try areEqual(a.dict, b.dict)
    default: break
    }
    if let x = a.integer, let y = b.integer { return x == y }
    if let x = a.number, let y = b.number { return x == y }
    return false
  }

  func areEqual(_ a: [Value], _ b: [Value]) throws -> Bool {
    guard a.count == b.count else { return false }
    for (x, y) in zip(a, b) where !(try areEqual(x, y)) { return false }
    return true
  }

  private func areEqual(_ a: DictValue, _ b: DictValue) throws -> Bool {
    guard a.count == b.count else { return false }
    for (key, value) in a.entries {
      guard let other = b[try self.key(of: key)], try areEqual(value, other) else { return false }
    }
    return true
  }

  /// Python's order: negative, zero or positive; nil where a NaN has none.
  func compare(_ a: Value, _ b: Value, _ operation: String = "<") throws -> Int? {
    try charge(1)
    switch (a, b) {
    case (.string(let x), .string(let y)):
      if x == y { return 0 }
      return x.bytes.lexicographicallyPrecedes(y.bytes) ? -1 : 1
    case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)):
      for (p, q) in zip(x.items, y.items) where !(try areEqual(p, q)) { return try compare(p, q, operation) }
      return x.items.count - y.items.count
    case (.undefined(let name), _), (_, .undefined(let name)): throw Fault.undefined(name)
    default: break
    }
    if let x = a.integer, let y = b.integer { return x < y ? -1 : x > y ? 1 : 0 }
    guard let x = a.number, let y = b.number else {
      throw Fault("'\(operation)' does not compare \(a.type) with \(b.type)")
    }
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : nil
  }

  /// A stable sort; NaNs stay where the algorithm leaves them.
  func sorted<Element>(_ items: [Element], reverse: Bool, key: (Element) throws -> Value) throws -> [Element] {
    try charge(elements: items.count)
    var keyed = try items.map { (key: try key($0), item: $0) }
    var width = 1
    while width < keyed.count {
      var merged: [(key: Value, item: Element)] = []
      merged.reserveCapacity(keyed.count)
      for start in stride(from: 0, to: keyed.count, by: 2 * width) {
        let (middle, end) = (min(start + width, keyed.count), min(start + 2 * width, keyed.count))
        try merge(keyed[start..<middle], keyed[middle..<end], reverse, into: &merged)
      }
      keyed = merged
      width *= 2
    }
    return keyed.map(\.item)
  }

  private func merge<Element>(
    _ left: ArraySlice<(key: Value, item: Element)>, _ right: ArraySlice<(key: Value, item: Element)>, _ reverse: Bool,
    into merged: inout [(key: Value, item: Element)]
  ) throws {
    var (i, j) = (left.startIndex, right.startIndex)
    while i < left.endIndex, j < right.endIndex {
      let order = try reverse ? compare(left[i].key, right[j].key) : compare(right[j].key, left[i].key)
      if let order, order < 0 {
        merged.append(right[j])
        j += 1
      } else {
        merged.append(left[i])
        i += 1
      }
    }
    merged += left[i...]
    merged += right[j...]
  }

  /// Whether a character of the variables is in a value.
  func hasData(_ value: Value) throws -> Bool {
    try charge(1)
    switch value {
    case .string(let text): return text.hasData
    case .list(let list), .tuple(let list): return try list.items.contains(where: hasData)
    case .dict(let dict): return try dict.keys.contains(where: hasData) || dict.values.contains(where: hasData)
    case .view(let view): return try hasData(.dict(view.dict))
    case .namespace(let namespace): return try namespace.names.contains { try namespace[$0].map(hasData) ?? false }
    default: return false
    }
  }
}

extension Value {
  /// The number that Python compares and calculates with.
  var number: Double? {
    switch self {
    case .float(let value): value
    case .bigInt(let digits): Double(digits)
    default: integer.map(Double.init)
    }
  }

  /// Python's `bool()`.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let flag): flag
    case .int(let value): value != 0
    case .float(let value): value != 0
    case .string(let text): !text.isEmpty
    case .list(let list), .tuple(let list): !list.items.isEmpty
    case .dict(let dict): dict.count > 0
    case .view(let view): view.dict.count > 0
    case .range(let range): range.count > 0
    case .bigInt, .generator, .namespace, .macro, .function, .method, .cycler, .joiner: true
    case .loop(let loop): loop.isNonEmpty
    }
  }
}

extension Fault {
  static func undefined(_ name: String?) -> Fault { Fault("\(name ?? "a variable") is undefined") }
}
