/// What `sort`, `groupby` and their like compare: an item or its attribute, by default without the case of letters.
struct KeyReader {
  private let paths: [AttributePath]?
  private let fallback: Value?
  private let isCaseSensitive: Bool
  /// Whether the key is a list, whose items are compared by `==` before they are compared by `<`.
  private let isMultiple: Bool

  /// - Parameter isMultiple: whether the attribute may name several, with commas between them
  init(_ attribute: Value?, isCaseSensitive: Bool, fallback: Value? = nil, isMultiple: Bool = false) throws {
    self.isCaseSensitive = isCaseSensitive
    self.fallback = fallback.unlessNone
    self.isMultiple = isMultiple
    guard let attribute = attribute.unlessNone else {
      paths = nil
      return
    }
    if isMultiple, case .string(let text) = attribute {
      paths = try text.split(by: Text(","), limit: -1).map { try AttributePath(.string($0)) }
    } else {
      paths = [try AttributePath(attribute)]
    }
  }

  func value(of item: Value, _ renderer: Renderer) throws -> Value {
    let values = try paths?.map { folded(try $0.value(in: item, renderer, fallback: fallback)) } ?? [folded(item)]
    return try isMultiple ? .list(values) : values[0]
  }

  private func folded(_ value: Value) -> Value {
    if !isCaseSensitive, case .string(let text) = value { return .string(text.lowercased) }
    return value
  }
}

/// The attribute that a filter reads: names and indexes with points between them.
struct AttributePath {
  private let keys: [Value]

  init(_ attribute: Value) throws {
    switch attribute {
    case .string(let text):
      keys = text.split(by: Text("."), limit: -1).map { part in
        let isIndex = !part.isEmpty && part.string.unicodeScalars.allSatisfy { $0.properties.numericType == .decimal }
        return isIndex ? Int(part.string).map { .int($0) } ?? .string(part) : .string(part)
      }
    case .int, .bool: keys = [attribute]
    default: throw Fault("an attribute is a string or an integer, not \(attribute.type)")
    }
  }

  func value(in item: Value, _ renderer: Renderer, fallback: Value? = nil) throws -> Value {
    var value = item
    for key in keys {
      value = try renderer.item(of: value, at: key)
      if let fallback, value.isUndefined { value = fallback }
    }
    return value
  }
}

extension Renderer {
  func sequence(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    switch filter {
    case .list:
      _ = try arguments.bound(to: [], of: "list")
      return try .list(items(of: value))
    case .items:
      _ = try arguments.bound(to: [], of: "items")
      if value.isUndefined { return .generator(try Generator([])) }
      guard case .dict(let dict) = value else { throw Fault("'items' needs a dictionary, not \(value.type)") }
      return .generator(try Generator(DictView(dict: dict, part: .items).items))
    case .reverse: return try reversed(value, arguments)
    case .sort:
      let bound = try arguments.bound(to: ["reverse", "case_sensitive", "attribute"], of: "sort")
      let key = try KeyReader(bound[2], isCaseSensitive: bound[1]?.isTrue ?? false, isMultiple: true)
      let sorted = try meter.sorted(items(of: value), reverse: bound[0]?.isTrue ?? false) {
        try key.value(of: $0, self)
      }
      return try .list(sorted)
    case .dictsort: return try dictSorted(value, arguments)
    case .unique: return try unique(value, arguments)
    case .groupby: return try grouped(value, arguments)
    case .batch, .slice: return try cut(filter, value, arguments)
    case .map: return try mapped(value, arguments)
    default: return try selected(filter, value, arguments)
    }
  }

  private func reversed(_ value: Value, _ arguments: CallArguments) throws -> Value {
    _ = try arguments.bound(to: [], of: "reverse")
    if case .string(let text) = value {
      var builder = TextBuilder()
      for character in text.characters.reversed() { builder.append(character) }
      return .string(builder.text.marked(like: value))
    }
    let reversed = Array(try items(of: value).reversed())
    switch value {
    // What Python cannot read backwards becomes a list.
    case .generator, .undefined: return try .list(reversed)
    default: return .generator(try Generator(reversed))
    }
  }

  private func dictSorted(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["case_sensitive", "by", "reverse"], of: "dictsort")
    let by = try bound[1]?.requireText("'by'").string ?? "key"
    guard by == "key" || by == "value" else { throw Fault("'dictsort' sorts by 'key' or 'value', not '\(by)'") }
    if case .undefined(let name) = value { throw Fault.undefined(name) }
    guard case .dict(let dict) = value else { throw Fault("'dictsort' needs a dictionary, not \(value.type)") }
    let key = try KeyReader(nil, isCaseSensitive: bound[0]?.isTrue ?? false)
    let sorted = try meter.sorted(dict.entries, reverse: bound[2]?.isTrue ?? false) {
      try key.value(of: by == "key" ? $0.0 : $0.1, self)
    }
    return try .list(sorted.map { try .tuple([$0.0, $0.1]) })
  }

  private func unique(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["case_sensitive", "attribute"], of: "unique")
    let key = try KeyReader(bound[1], isCaseSensitive: bound[0]?.isTrue ?? false)
    var (seen, kept) = (Set<Key>(), [Value]())
    for item in try items(of: value) where seen.insert(try meter.key(of: try key.value(of: item, self))).inserted {
      kept.append(item)
    }
    return .generator(try Generator(kept))
  }

  private func grouped(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let bound = try arguments.bound(to: ["attribute", "default", "case_sensitive"], required: 1, of: "groupby")
    let isCaseSensitive = bound[2]?.isTrue ?? false
    let key = try KeyReader(bound[0], isCaseSensitive: isCaseSensitive, fallback: bound[1])
    let own = try KeyReader(bound[0], isCaseSensitive: true, fallback: bound[1])
    var groups: [(key: Value, name: Value, items: [Value])] = []
    for item in try meter.sorted(items(of: value), reverse: false, key: { try key.value(of: $0, self) }) {
      let new = try key.value(of: item, self)
      if let last = groups.last, try meter.areEqual(last.key, new) {
        groups[groups.count - 1].items.append(item)
      } else {
        groups.append((new, try own.value(of: item, self), [item]))
      }
    }
    return try .list(groups.map { .tuple(try ListValue([$0.name, .list($0.items)], isGroup: true)) })
  }

  private func cut(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    let name = filter == .batch ? "linecount" : "slices"
    let bound = try arguments.bound(to: [name, "fill_with"], required: 1, of: filter.rawValue)
    let count = try (bound[0] ?? .none).requireInteger("'\(filter.rawValue)'")
    let (items, fill) = (try items(of: value), bound[1].unlessNone)
    guard count > 0 else {
      guard filter == .batch else {
        if count < 0 { return .generator(try Generator([])) }
        throw Fault("'slice' needs at least one slice")
      }
      throw Fault("'batch' needs at least one item")
    }
    try meter.charge(elements: count)
    let rows = filter == .batch ? Self.batches(items, count, fill) : Self.slices(items, count, fill)
    return .generator(try Generator(rows.map { try .list($0) }))
  }

  private static func batches(_ items: [Value], _ count: Int, _ fill: Value?) -> [[Value]] {
    stride(from: 0, to: items.count, by: count).map { start in
      let row = Array(items[start..<min(start + count, items.count)])
      return row + Array(repeating: fill ?? .none, count: fill == nil ? 0 : count - row.count)
    }
  }

  private static func slices(_ items: [Value], _ count: Int, _ fill: Value?) -> [[Value]] {
    let (size, longer) = items.count.quotientAndRemainder(dividingBy: count)
    var start = 0
    return (0..<count).map { number in
      let end = start + size + (number < longer ? 1 : 0)
      defer { start = end }
      return Array(items[start..<end]) + (number >= longer ? [fill].compactMap(\.self) : [])
    }
  }

  // MARK: map and select

  private func mapped(_ value: Value, _ arguments: CallArguments) throws -> Value {
    guard value.isTrue else { return .generator(try Generator([])) }
    var arguments = arguments
    if arguments.positional.isEmpty, arguments.named.contains(where: { $0.name == "attribute" }) {
      let bound = try arguments.bound(to: ["attribute", "default"], of: "map")
      let path = try AttributePath(bound[0] ?? .none)
      let fallback = bound[1].unlessNone
      return .generator(try Generator(items(of: value).map { try path.value(in: $0, self, fallback: fallback) }))
    }
    guard !arguments.positional.isEmpty else { throw Fault("'map' needs a filter") }
    let name = FilterName(try arguments.positional.removeFirst().requireText("'map'").string)
    return .generator(
      try Generator(
        items(of: value).map { item in
          try meter.step()
          return try apply(name, to: item, arguments)
        }))
  }

  private func selected(_ filter: Filter, _ value: Value, _ arguments: CallArguments) throws -> Value {
    guard value.isTrue else { return .generator(try Generator([])) }
    var (arguments, path) = (arguments, nil as AttributePath?)
    if filter == .selectattr || filter == .rejectattr {
      guard !arguments.positional.isEmpty else { throw Fault("'\(filter.rawValue)' needs an attribute") }
      path = try AttributePath(arguments.positional.removeFirst())
    }
    var test: TestName?
    if !arguments.positional.isEmpty {
      test = TestName(try arguments.positional.removeFirst().requireText("'\(filter.rawValue)'").string)
    }
    let wanted = filter == .select || filter == .selectattr
    let kept = try items(of: value).filter { item in
      try meter.step()
      let operand = try path?.value(in: item, self) ?? item
      return try (test.map { try self.test($0, operand, arguments) } ?? operand.isTrue) == wanted
    }
    return .generator(try Generator(kept))
  }
}
