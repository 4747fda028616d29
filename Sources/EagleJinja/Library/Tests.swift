/// The tests of templates: the names after `is`.
enum Test: String {
  case odd, even, divisibleby, defined, undefined, filter, test, none, boolean, `false`, `true`, integer, float, lower
  case upper, string, mapping, number, sequence, iterable, callable, sameas, escaped, `in`
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="

  static let aliases: [String: Test] = [
    "eq": .equal, "equalto": .equal, "ne": .notEqual, "lt": .less, "lessthan": .less, "le": .lessOrEqual,
    "gt": .greater, "greaterthan": .greater, "ge": .greaterOrEqual,
  ]
}

/// A test as a template names it.
struct TestName: Sendable {
  let name: String
  let test: Test?

  init(_ name: String) {
    self.name = name
    test = Test.aliases[name] ?? Test(rawValue: name)
  }

  var isKnown: Bool { test != nil }
}

extension Renderer {
  func test(_ name: TestName, _ value: Value, _ arguments: CallArguments) throws -> Bool {
    guard let test = name.test else { throw Fault("there is no test '\(name.name)'") }
    switch test {
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual, .in, .sameas, .divisibleby:
      let other = try arguments.bound(to: ["other"], required: 1, of: name.name)[0] ?? .none
      return try compare(test, value, other)
    case .odd, .even:
      _ = try arguments.bound(to: [], of: name.name)
      guard case .float(let number) = try calculate(.modulo, value, .int(2)) else {
        return try calculate(.modulo, value, .int(2)).integer == (test == .odd ? 1 : 0)
      }
      return number == (test == .odd ? 1 : 0)
    default:
      _ = try arguments.bound(to: [], of: name.name)
      return try satisfies(test, value)
    }
  }

  private func compare(_ test: Test, _ value: Value, _ other: Value) throws -> Bool {
    switch test {
    case .in: return try contains(other, value)
    case .sameas: return try isSame(value, other)
    case .divisibleby:
      guard let rest = try calculate(.modulo, value, other).number else { return false }
      return rest == 0
    default:
      guard let comparison = Comparison(rawValue: test.rawValue) else { return false }
      return try compare(comparison, value, other)
    }
  }

  private func satisfies(_ test: Test, _ value: Value) throws -> Bool {
    switch (test, value) {
    case (.defined, _): return !value.isUndefined
    case (.undefined, _): return value.isUndefined
    case (.none, .none), (.boolean, .bool), (.true, .bool(true)), (.false, .bool(false)), (.string, .string),
      (.mapping, .dict), (.integer, .int), (.integer, .bigInt), (.float, .float), (.number, .int), (.number, .bigInt),
      (.number, .float), (.number, .bool):
      return true
    case (.sequence, _): return isSequence(value)
    case (.iterable, _): return isIterable(value)
    case (.callable, .function), (.callable, .macro), (.callable, .method), (.callable, .joiner), (.callable, .loop),
      (.callable, .undefined):
      return true
    case (.lower, _): return try meter.text(of: value).isCased(upper: false)
    case (.upper, _): return try meter.text(of: value).isCased(upper: true)
    case (.escaped, .string(let text)): return text.isMarkup
    case (.filter, .string(let text)): return FilterName(text.string).isKnown
    case (.test, .string(let text)): return TestName(text.string).isKnown
    case (.filter, _), (.test, _):
      _ = try meter.key(of: value)
      return false
    default: return false
    }
  }

  private func isSequence(_ value: Value) -> Bool {
    switch value {
    case .string, .list, .tuple, .dict, .range, .undefined: true
    default: false
    }
  }

  private func isIterable(_ value: Value) -> Bool {
    switch value {
    case .string, .list, .tuple, .dict, .view, .range, .generator, .loop, .undefined: true
    default: false
    }
  }

  /// Python's `is`, where it says the same in every implementation.
  private func isSame(_ a: Value, _ b: Value) throws -> Bool {
    switch (a, b) {
    case (.none, .none): return true
    case (.bool(let a), .bool(let b)): return a == b
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): return a === b
    case (.dict(let a), .dict(let b)): return a === b
    case (.int(let a), .int(let b)): return a == b
    case (.string, .string), (.namespace, .namespace), (.macro, .macro): return try meter.areEqual(a, b)
    default: return false
    }
  }
}
