extension Renderer {
  /// `value.name`: a method or property, or else the item of a dictionary.
  func attribute(_ attribute: Attribute, of value: Value) throws -> Value {
    switch value {
    case .undefined(let name):
      throw Fault("\(name ?? "a variable") is undefined and has no attribute '\(attribute.name)'")
    case .dict(let dict):
      if Self.dictNames.contains(attribute.name) { return dictMethod(value, attribute.name) }
      return dict[attribute.key] ?? .undefined("'\(attribute.name)'")
    default: return try member(attribute.name, of: value) ?? .undefined("'\(attribute.name)'")
    }
  }

  /// `value[key]`: an item, or else a method or property.
  func item(of value: Value, at key: Value) throws -> Value {
    switch value {
    case .undefined(let name): throw Fault.undefined(name)
    case .dict(let dict):
      if let hashed = try? meter.key(of: key), let found = dict[hashed] { return found }
    case .list(let list), .tuple(let list):
      if let index = key.integer, let place = Self.place(index, list.items.count) { return list.items[place] }
    case .string(let text):
      if let index = key.integer, let character = try character(of: text, at: index) {
        return .string(character.marked(like: value))
      }
    case .range(let range):
      if let index = key.integer, let place = Self.place(index, range.count) { return .int(range[place]) }
    default: break
    }
    guard case .string(let name) = key else { return .undefined("an item") }
    if case .dict = value {
      if Self.dictNames.contains(name.string) { return dictMethod(value, name.string) }
      return .undefined("'\(name.string)'")
    }
    return try member(name.string, of: value) ?? .undefined("'\(name.string)'")
  }

  private static func place(_ index: Int, _ count: Int) -> Int? {
    let place = index < 0 ? index + count : index
    return (0..<count).contains(place) ? place : nil
  }

  private func character(of text: Text, at index: Int) throws -> Text? {
    try meter.charge(bytes: text.bytes.count)
    if text.isASCII { return Self.place(index, text.bytes.count).map { text.slice($0..<$0 + 1) } }
    let starts = text.boundaries
    return Self.place(index, starts.count - 1).map { text.slice(starts[$0]..<starts[$0 + 1]) }
  }

  // MARK: members

  static let dictNames: Set<String> = [
    "clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values",
  ]
  private static let changingDictNames: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
  private static let changingListNames: Set<String> = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
  ]

  private func dictMethod(_ value: Value, _ name: String) -> Value {
    Self.changingDictNames.contains(name) ? refused(name) : .method(BoundMethod(value, name))
  }

  private func refused(_ name: String) -> Value { .undefined("'\(name)', which would change a value,") }

  private func member(_ name: String, of value: Value) throws -> Value? {
    switch value {
    case .string:
      guard StringMethod(rawValue: name) == nil else { return .method(BoundMethod(value, name)) }
      guard !StringMethod.unsupported.contains(name) else { throw unsupported(name, value) }
      return nil
    case .list:
      if ["index", "count", "copy"].contains(name) { return .method(BoundMethod(value, name)) }
      return Self.changingListNames.contains(name) ? refused(name) : nil
    case .tuple(let tuple):
      if ["index", "count"].contains(name) { return .method(BoundMethod(value, name)) }
      return tuple.isGroup ? ["grouper": tuple.items[0], "list": tuple.items[1]][name] : nil
    case .loop(let loop):
      if name == "cycle" || name == "changed" { return .method(BoundMethod(value, name)) }
      return try loop.attribute(name)
    case .namespace(let namespace): return namespace[name]
    case .macro(let macro): return try member(name, of: macro)
    case .cycler(let cycler):
      if name == "current" { return cycler.current }
      return name == "next" || name == "reset" ? .method(BoundMethod(value, name)) : nil
    case .range(let range):
      if name == "index" || name == "count" { throw unsupported(name, value) }
      return ["start": .int(range.start), "stop": .int(range.printedStop), "step": .int(range.step)][name]
    case .bool, .int, .bigInt, .float:
      guard !Self.numberNames.contains(name) else { throw unsupported(name, value) }
      return nil
    case .function, .view, .generator, .joiner, .method:
      guard !Self.otherNames.contains(name) else { throw unsupported(name, value) }
      return nil
    case .undefined, .none, .dict: return nil
    }
  }

  private static let numberNames: Set<String> = [
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "fromhex", "hex", "imag",
    "is_integer", "numerator", "real", "to_bytes",
  ]
  private static let otherNames: Set<String> = [
    "close", "fromkeys", "isdisjoint", "mapping", "send", "sep", "throw", "used",
  ]

  private func unsupported(_ name: String, _ value: Value) -> Fault {
    Fault("'\(name)' of a \(value.type) is not supported")
  }

  private func member(_ name: String, of macro: Macro) throws -> Value? {
    let definition = macro.definition
    switch name {
    case "name": return definition.name.map { .text($0) } ?? Value.none
    case "arguments": return try .tuple(definition.parameters.map { .text($0.variable.name) })
    case "catch_kwargs": return .bool(definition.namedRest != nil)
    case "catch_varargs": return .bool(definition.rest != nil)
    case "caller": return .bool(definition.caller != nil)
    default: return nil
    }
  }

  // MARK: slices

  func slice(_ of: Expression, _ bounds: SliceBounds) throws -> Value {
    let value = try evaluate(of)
    let start = try bound(bounds.start)
    let stop = try bound(bounds.stop)
    let step = try bound(bounds.step) ?? 1
    guard step != 0 else { throw Fault("the step of a slice is 0") }
    switch value {
    case .undefined(let name): throw Fault.undefined(name)
    case .list(let list): return try .list(places(list.items.count, start, stop, step).map { list.items[$0] })
    case .tuple(let list): return try .tuple(places(list.items.count, start, stop, step).map { list.items[$0] })
    case .string(let text): return .string(try slice(text, start, stop, step).marked(like: value))
    case .range(let range):
      let places = Self.normalized(range.count, start, stop, step)
      func value(_ place: Int) throws -> Int {
        try Self.exact(
          range.start.addingReportingOverflow(Self.exact(place.multipliedReportingOverflow(by: range.step))))
      }
      let wide = try Self.exact(range.step.multipliedReportingOverflow(by: step))
      return .range(try RangeValue(value(places.first), value(places.end), wide))
    default: throw Fault("a \(value.type) cannot be sliced")
    }
  }

  private static func exact(_ result: (partialValue: Int, overflow: Bool)) throws -> Int {
    guard !result.overflow else { throw Fault("a slice of a range reaches beyond 64 bits") }
    return result.partialValue
  }

  private func bound(_ expression: Expression?) throws -> Int? {
    guard let expression else { return nil }
    let value = try evaluate(expression)
    if case .none = value { return nil }
    return try value.requireInteger("a slice")
  }

  /// Python's `slice.indices`.
  private static func normalized(_ count: Int, _ start: Int?, _ stop: Int?, _ step: Int) -> (first: Int, end: Int) {
    let (lowest, highest) = step > 0 ? (0, count) : (-1, count - 1)
    func clamp(_ i: Int) -> Int { min(max(i < 0 ? i + count : i, lowest), highest) }
    return step > 0
      ? (start.map(clamp) ?? 0, stop.map(clamp) ?? count) : (start.map(clamp) ?? count - 1, stop.map(clamp) ?? -1)
  }

  private func places(_ count: Int, _ start: Int?, _ stop: Int?, _ step: Int) throws -> [Int] {
    let (first, end) = Self.normalized(count, start, stop, step)
    let places = Array(stride(from: first, to: end, by: step))
    try meter.charge(elements: places.count)
    return places
  }

  private func slice(_ text: Text, _ start: Int?, _ stop: Int?, _ step: Int) throws -> Text {
    try meter.charge(bytes: text.bytes.count)
    if step == 1, text.isASCII {
      let (first, end) = Self.normalized(text.bytes.count, start, stop, 1)
      return text.slice(first..<max(first, end))
    }
    let starts = text.boundaries
    if step == 1 {
      let (first, end) = Self.normalized(starts.count - 1, start, stop, 1)
      return text.slice(starts[first]..<starts[max(first, end)])
    }
    var builder = TextBuilder()
    let (first, end) = Self.normalized(starts.count - 1, start, stop, step)
    for place in stride(from: first, to: end, by: step) {
      builder.append(text.bytes[starts[place]..<starts[place + 1]], text.origin(at: starts[place]))
    }
    return builder.text
  }
}
