/// A node of an expression. Nodes do not change once the template is read.
final class Expression: Sendable {
  indirect enum Kind: Sendable {
    case constant(Value)
    case variable(Variable)
    case attribute(Expression, Attribute)
    case item(Expression, Expression)
    case slice(Expression, SliceBounds)
    case call(Expression, Arguments)
    case filter(Expression?, FilterName, Arguments)
    case test(Expression, TestName, Arguments)
    case not(Expression)
    case negative(Expression)
    case positive(Expression)
    case and(Expression, Expression)
    case or(Expression, Expression)
    case binary(BinaryOperator, Expression, Expression)
    case concatenation([Expression])
    case comparison(Expression, [(comparison: Comparison, operand: Expression)])
    /// The value, the condition, the value otherwise.
    case conditional(Expression, Expression, Expression?)
    case list([Expression])
    case tuple([Expression])
    case dict([(key: Expression, value: Expression)])
  }

  let kind: Kind
  /// Its place in the source.
  let offset: Int
  /// Levels of nodes below it and itself.
  let depth: Int

  init(_ kind: Kind, at offset: Int) {
    (self.kind, self.offset) = (kind, offset)
    depth = 1 + kind.children.reduce(0) { max($0, $1.depth) }
  }

  var children: [Expression] { kind.children }
}

/// The name after a point, as a name and as a key of a dictionary.
struct Attribute: Sendable {
  let name: String
  let key: Key

  init(_ name: String) { (self.name, key) = (name, .string(Array(name.utf8))) }
}

struct SliceBounds: Sendable {
  var start: Expression?
  var stop: Expression?
  var step: Expression?
}

struct Arguments: Sendable {
  var positional: [Expression] = []
  var named: [(name: String, value: Expression)] = []
  /// `*rest` and `**rest`.
  var spread: Expression?
  var namedSpread: Expression?

  var children: [Expression] {
    positional + named.map(\.value) + [spread, namedSpread].compactMap(\.self)
  }
}

enum BinaryOperator: String, Sendable {
  case add = "+"
  case subtract = "-"
  case multiply = "*"
  case divide = "/"
  case floorDivide = "//"
  case modulo = "%"
  case power = "**"
}

enum Comparison: String, Sendable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case isIn = "in"
  case isNotIn = "not in"
}

/// A name in an expression or a target, with the slot that `Resolver` finds for it.
///
/// It is written before the template is complete and never after.
final class Variable: @unchecked Sendable {
  let name: String
  var slot = Slot.none

  init(_ name: String) { self.name = name }
}

/// Where a variable is stored: in its own function's activation, or in that of a function around it.
struct Slot: Sendable, Equatable {
  /// The nesting of the function that owns it: 0 for the template itself.
  let function: Int
  let index: Int

  static let none = Slot(function: -1, index: -1)
}

extension Expression.Kind {
  var children: [Expression] {
    switch self {
    case .constant, .variable: []
    case .attribute(let of, _), .not(let of), .negative(let of), .positive(let of): [of]
    case .item(let a, let b), .and(let a, let b), .or(let a, let b), .binary(_, let a, let b): [a, b]
    case .slice(let of, let bounds): [of] + [bounds.start, bounds.stop, bounds.step].compactMap(\.self)
    case .call(let callee, let arguments): [callee] + arguments.children
    case .filter(let of, _, let arguments): [of].compactMap(\.self) + arguments.children
    case .test(let of, _, let arguments): [of] + arguments.children
    case .concatenation(let items), .list(let items), .tuple(let items): items
    case .comparison(let first, let rest): [first] + rest.map(\.operand)
    // In jinja2's order of children: the condition first.
    case .conditional(let value, let condition, let otherwise): [condition, value] + [otherwise].compactMap(\.self)
    case .dict(let entries): entries.flatMap { [$0.key, $0.value] }
    }
  }
}
