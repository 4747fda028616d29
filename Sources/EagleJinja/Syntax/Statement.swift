/// A node of a template's body.
struct Statement: Sendable {
  indirect enum Kind: Sendable {
    case text(Text)
    case output(Expression)
    /// Conditions with their bodies, and the body of `else`.
    case conditional([(condition: Expression, body: [Statement])], otherwise: [Statement])
    case loop(Loop)
    case assign(Target, Expression)
    case assignBlock(CaptureBlock)
    case filterBlock(CaptureBlock)
    case scope(Scope)
    case macro(Variable, MacroDefinition)
    /// `{% call %}`: the call, and the body that it gets as `caller`.
    case call(Expression, MacroDefinition)
    case generation(MacroDefinition)
    case breakLoop
    case continueLoop
  }

  let kind: Kind
  let offset: Int
}

/// What an assignment writes to.
indirect enum Target: Sendable {
  case variable(Variable)
  case attribute(Variable, String)
  case tuple([Target])
}

/// How the slots of a scope begin. It is written before the template is complete and never after.
final class Frame: @unchecked Sendable {
  enum Start: Sendable {
    /// The template's variable of that name.
    case resolve(String)
    /// The value of a slot of a scope around it.
    case alias(Slot)
    /// Nothing yet.
    case undefined
  }

  var starts: [(index: Int, start: Start)] = []
}

/// `{% for %}`.
final class Loop: Sendable {
  let target: Target
  let sequence: Expression
  /// The condition after `if`, and a target of its own for it.
  let test: (condition: Expression, target: Target)?
  let isRecursive: Bool
  let body: [Statement]
  let otherwise: [Statement]
  let frame = Frame()
  let testFrame = Frame()
  let otherwiseFrame = Frame()
  /// Slots of a recursive loop, which has an activation of its own.
  let function = FunctionLayout()
  /// The special variable `loop`, where the body reads it.
  let special: Variable?

  init(
    _ target: Target, in sequence: Expression, test: (condition: Expression, target: Target)?, isRecursive: Bool,
    body: [Statement], otherwise: [Statement], special: Variable?
  ) {
    (self.target, self.sequence, self.test, self.isRecursive) = (target, sequence, test, isRecursive)
    (self.body, self.otherwise, self.special) = (body, otherwise, special)
  }
}

/// `{% set x %}…{% endset %}` and `{% filter f %}…{% endfilter %}`: a body rendered to a string.
final class CaptureBlock: Sendable {
  let target: Target?
  /// A chain of filters whose innermost operand is the body; nil for none.
  let filter: Expression?
  let body: [Statement]
  let frame = Frame()

  init(target: Target?, filter: Expression?, body: [Statement]) {
    (self.target, self.filter, self.body) = (target, filter, body)
  }
}

/// `{% with %}`.
final class Scope: Sendable {
  let assignments: [(target: Target, value: Expression)]
  let body: [Statement]
  let frame = Frame()

  init(_ assignments: [(target: Target, value: Expression)], body: [Statement]) {
    (self.assignments, self.body) = (assignments, body)
  }
}

/// The number of slots of a function. It is written before the template is complete and never after.
final class FunctionLayout: @unchecked Sendable {
  var level = 0
  var slots = 0
}

/// A macro, or a body that a call block passes as one.
final class MacroDefinition: Sendable {
  struct Parameter: Sendable {
    let variable: Variable
    let fallback: Expression?
  }

  let name: String?
  let parameters: [Parameter]
  let body: [Statement]
  /// Special names that the body reads and the parameters do not declare.
  let caller: Variable?
  let namedRest: Variable?
  let rest: Variable?
  let frame = Frame()
  let function = FunctionLayout()

  init(name: String?, parameters: [Parameter], body: [Statement], free: Set<String>) {
    (self.name, self.parameters, self.body) = (name, parameters, body)
    let names = Set(parameters.map(\.variable.name))
    func special(_ name: String) -> Variable? { free.contains(name) && !names.contains(name) ? Variable(name) : nil }
    (caller, namedRest, rest) = (special("caller"), special("kwargs"), special("varargs"))
  }

  /// Whether a parameter is called `caller`.
  var hasExplicitCaller: Bool { parameters.contains { $0.variable.name == "caller" } }
}
