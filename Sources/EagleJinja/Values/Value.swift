/// A value of the language. Lists, tuples and dictionaries do not change: the sandbox refuses what would change them.
enum Value: @unchecked Sendable {
  /// A name or an attribute that has no value; the payload is what to say about it, nil for a local without a value.
  case undefined(String?)
  case none
  case bool(Bool)
  case int(Int)
  /// A number of the variables beyond 64 bits, in digits. It prints and compares for equality, and nothing else.
  case bigInt(String)
  case float(Double)
  case string(Text)
  case list(ListValue)
  case tuple(ListValue)
  case dict(DictValue)
  /// `keys()`, `values()` or `items()` of a dictionary.
  case view(DictView)
  case range(RangeValue)
  /// What filters such as `map` return: it can be read once.
  case generator(Generator)
  case namespace(Namespace)
  case macro(Macro)
  case function(Function)
  case method(BoundMethod)
  case loop(LoopContext)
  case cycler(Cycler)
  case joiner(Joiner)

  static func text(_ text: String, _ origin: Origin = .template) -> Value { .string(Text(text, origin)) }
  static func list(_ items: [Value]) throws -> Value { .list(try ListValue(items)) }
  static func tuple(_ items: [Value]) throws -> Value { .tuple(try ListValue(items)) }

  /// Levels of containers, which are bounded so that no walk over a value runs out of stack.
  var depth: Int {
    switch self {
    case .list(let list), .tuple(let list): list.depth
    case .dict(let dict): dict.depth
    case .view(let view): view.dict.depth + 1
    case .generator(let generator): generator.depth
    case .method(let method): method.receiver.depth + 1
    case .namespace(let namespace): namespace.depth
    case .cycler(let cycler): cycler.items.depth
    case .loop(let loop): loop.depthOfItems + 1
    default: 0
    }
  }

  /// Python's name of the type, for errors.
  var type: String {
    switch self {
    case .undefined: "undefined"
    case .none: "None"
    case .bool: "bool"
    case .int, .bigInt: "int"
    case .float: "float"
    case .string: "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dict: "dict"
    case .view(let view): "dict_\(view.part)"
    case .range: "range"
    case .generator: "generator"
    case .namespace: "namespace"
    case .macro: "macro"
    case .function: "function"
    case .method: "method"
    case .loop: "loop"
    case .cycler: "cycler"
    case .joiner: "joiner"
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }
  var text: Text? { if case .string(let text) = self { text } else { nil } }

  /// The integer that a boolean or an integer is.
  var integer: Int? {
    switch self {
    case .int(let value): value
    case .bool(let flag): flag ? 1 : 0
    default: nil
    }
  }
}

/// Levels of containers that a value may have.
let deepestValue = 200

private func checkedDepth(of items: some Sequence<Value>) throws -> Int {
  var depth = 0
  for item in items { depth = max(depth, item.depth) }
  guard depth < deepestValue else { throw Fault("a value is nested more than \(deepestValue) deep") }
  return depth + 1
}

/// The items of a list or a tuple.
final class ListValue: Sendable {
  let items: [Value]
  let depth: Int
  /// The name of items 0 and 1 where `groupby` made the tuple.
  let isGroup: Bool

  init(_ items: [Value], isGroup: Bool = false) throws {
    self.items = items
    self.isGroup = isGroup
    depth = try checkedDepth(of: items)
  }
}

/// A key of a dictionary, by which Python's `1`, `1.0` and `True` are one.
enum Key: Hashable {
  case none
  case undefined
  case int(Int)
  case bigInt(String)
  case float(UInt64)
  case string([UInt8])
  case tuple([Key])
  case object(ObjectIdentifier)
}

/// Keys and values in the order in which the keys came.
final class DictValue: @unchecked Sendable {
  let keys: [Value]
  let values: [Value]
  let depth: Int
  private let hashed: [Key]
  /// Positions of the keys where there are many.
  private let positions: [Key: Int]

  /// Keys up to which a search from the front is faster than a table.
  private static let fewKeys = 8

  init(_ entries: [(Value, Value)], _ meter: Meter) throws {
    var (keys, values, hashed, positions) = ([Value](), [Value](), [Key](), [Key: Int]())
    for (key, value) in entries {
      let new = try meter.key(of: key)
      let known = hashed.count > Self.fewKeys ? positions[new] : hashed.firstIndex(of: new)
      if let known {
        values[known] = value
        continue
      }
      keys.append(key)
      values.append(value)
      hashed.append(new)
      if hashed.count > Self.fewKeys {
        if positions.isEmpty { for (i, key) in hashed.enumerated() { positions[key] = i } }
        positions[new] = hashed.count - 1
      }
    }
    (self.keys, self.values, self.hashed, self.positions) = (keys, values, hashed, positions)
    depth = max(try checkedDepth(of: values), try checkedDepth(of: keys))
  }

  var count: Int { keys.count }
  var entries: [(Value, Value)] { Array(zip(keys, values)) }

  subscript(key: Key) -> Value? {
    let position = positions.isEmpty ? hashed.firstIndex(of: key) : positions[key]
    return position.map { values[$0] }
  }
}

struct DictView {
  enum Part: String {
    case keys
    case values
    case items
  }
  let dict: DictValue
  let part: Part

  var items: [Value] {
    get throws {
      switch part {
      case .keys: dict.keys
      case .values: dict.values
      case .items: try dict.entries.map { try .tuple([$0.0, $0.1]) }
      }
    }
  }
}

/// Python's `range`, which is never written out before it is read.
struct RangeValue: Equatable {
  let start: Int
  /// As it was given: past the last number, not always by a whole step.
  let printedStop: Int
  let step: Int
  let count: Int

  /// - Parameter step: not 0
  init(_ start: Int, _ stop: Int, _ step: Int) throws {
    (self.start, printedStop, self.step) = (start, stop, step)
    let (distance, overflow) =
      step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
    guard !overflow, step != .min else { throw Fault("a range beyond 64 bits is not supported") }
    count = distance <= 0 ? 0 : (distance - 1) / abs(step) + 1
  }

  subscript(index: Int) -> Int { start + index * step }
}

/// The result of a filter on a sequence. The items are computed at once; reading removes them.
final class Generator: @unchecked Sendable {
  private var items: [Value]?
  let depth: Int

  init(_ items: [Value]) throws {
    self.items = items
    depth = try checkedDepth(of: items)
  }

  func take() -> [Value] {
    defer { items = nil }
    return items ?? []
  }

  /// Takes the first item only.
  func takeFirst() -> Value? {
    guard var rest = items, !rest.isEmpty else { return nil }
    defer { items = rest }
    return rest.removeFirst()
  }
}

/// The one kind of object that a template can change.
final class Namespace: @unchecked Sendable {
  private(set) var names: [String] = []
  private(set) var values: [String: Value] = [:]
  private(set) var depth = 1

  subscript(name: String) -> Value? { values[name] }

  func set(_ name: String, to value: Value) throws {
    guard !name.hasPrefix("_") else { throw Fault("a namespace has no attribute that starts with '_': '\(name)'") }
    if case .namespace(let other) = value, other === self {} else { depth = max(depth, value.depth + 1) }
    guard depth < deepestValue else { throw Fault("a value is nested more than \(deepestValue) deep") }
    if values.updateValue(value, forKey: name) == nil { names.append(name) }
  }

  func clear() { (names, values) = ([], [:]) }
}

/// A method of a value that has not been called yet.
final class BoundMethod: Sendable {
  let receiver: Value
  let name: String

  init(_ receiver: Value, _ name: String) { (self.receiver, self.name) = (receiver, name) }
}

/// `cycler(...)`: one item after the other.
final class Cycler: @unchecked Sendable {
  let items: ListValue
  private(set) var position = 0

  init(_ items: [Value]) throws { self.items = try ListValue(items) }

  var current: Value { items.items[position] }

  func next() -> Value {
    defer { position = (position + 1) % items.items.count }
    return current
  }

  func reset() { position = 0 }
}

/// `joiner(...)`: nothing at the first call, its separator at all later ones.
final class Joiner: @unchecked Sendable {
  private let separator: Value
  private var isUsed = false

  init(_ separator: Value) { self.separator = separator }

  func next() -> Value {
    defer { isUsed = true }
    return isUsed ? separator : .string(.empty)
  }
}

/// The functions that every template can call.
enum Function: String, CaseIterable {
  case raise_exception
  case strftime_now
  case namespace
  case range
  case dict
  case cycler
  case joiner
}
