extension Renderer {
  func evaluate(_ expression: Expression) throws -> Value {
    // The most frequent nodes need no bookkeeping.
    switch expression.kind {
    case .constant(let value): return value
    case .variable(let variable): return load(variable)
    default: return try evaluateLocated(expression)
    }
  }

  private func load(_ variable: Variable) -> Value {
    let value = value(of: variable.slot)
    if case .undefined(nil) = value { return .undefined("'\(variable.name)'") }
    return value
  }

  private func evaluateLocated(_ expression: Expression) throws -> Value {
    do {
      try meter.enter()
      defer { meter.leave() }
      return try evaluateNode(expression)
    } catch let fault as Fault {
      throw fault.located(at: expression.offset)
    }
  }

  private func evaluateNode(_ expression: Expression) throws -> Value {
    switch expression.kind {
    case .constant(let value): return value
    case .variable(let variable): return load(variable)
    case .attribute(let of, let attribute): return try self.attribute(attribute, of: try evaluate(of))
    case .item(let of, let key): return try item(of: try evaluate(of), at: try evaluate(key))
    case .slice(let of, let bounds): return try slice(of, bounds)
    case .call(let callee, let arguments): return try call(callee, arguments, caller: nil)
    case .filter(let of, let filter, let arguments): return try apply(filter, to: of, arguments)
    case .test(let of, let test, let arguments):
      return .bool(try self.test(test, try evaluate(of), try evaluate(arguments)))
    case .not(let of): return .bool(!(try evaluate(of).isTrue))
    case .negative(let of): return try negated(try evaluate(of))
    case .positive(let of): return try positive(try evaluate(of))
    case .and(let a, let b):
      let left = try evaluate(a)
      return left.isTrue ? try evaluate(b) : left
    case .or(let a, let b):
      let left = try evaluate(a)
      return left.isTrue ? left : try evaluate(b)
    case .binary(let binary, let a, let b): return try calculate(binary, try evaluate(a), try evaluate(b))
    case .concatenation(let items): return try concatenate(items)
    case .comparison(let first, let rest): return .bool(try compare(first, rest))
    case .conditional(let value, let condition, let otherwise):
      if try evaluate(condition).isTrue { return try evaluate(value) }
      return try otherwise.map(evaluate) ?? .undefined("an 'if' without 'else' whose condition is false")
    case .list(let items): return try .list(items.map(evaluate))
    case .tuple(let items): return try .tuple(items.map(evaluate))
    case .dict(let entries):
      return .dict(try DictValue(entries.map { (try evaluate($0.key), try evaluate($0.value)) }, meter))
    }
  }

  /// A chain of filters whose innermost operand is a body that was rendered.
  func evaluate(_ filters: Expression, body: Value) throws -> Value {
    guard case .filter(let of, let filter, let arguments) = filters.kind else { return body }
    let operand = try of.map { try evaluate($0, body: body) } ?? body
    do {
      return try apply(filter, to: operand, try evaluate(arguments))
    } catch let fault as Fault {
      throw fault.located(at: filters.offset)
    }
  }

  func evaluate(_ arguments: Arguments) throws -> CallArguments {
    var result = CallArguments()
    for argument in arguments.positional { result.positional.append(try evaluate(argument)) }
    for (name, value) in arguments.named { result.named.append((name, try evaluate(value))) }
    if let spread = arguments.spread { result.positional += try items(of: try evaluate(spread)) }
    guard let named = arguments.namedSpread else { return result }
    guard case .dict(let dict) = try evaluate(named) else { throw Fault("'**' needs a dictionary") }
    for (key, value) in dict.entries {
      let name = try key.requireText("'**'").string
      guard !result.named.contains(where: { $0.name == name }) else {
        throw Fault("the argument '\(name)' is given twice")
      }
      result.named.append((name, value))
    }
    return result
  }

  private func apply(_ filter: FilterName, to of: Expression?, _ arguments: Arguments) throws -> Value {
    let value = try of.map(evaluate) ?? .string(.empty)
    return try apply(filter, to: value, arguments.children.isEmpty ? .none : try evaluate(arguments))
  }

  // MARK: operators

  private func concatenate(_ items: [Expression]) throws -> Value {
    var builder = TextBuilder()
    for item in items { builder.append(try meter.text(of: try evaluate(item))) }
    try meter.charge(bytes: builder.count)
    return .string(builder.text)
  }

  private func compare(
    _ first: Expression, _ rest: [(comparison: Comparison, operand: Expression)]
  ) throws -> Bool {
    var left = try evaluate(first)
    for (comparison, operand) in rest {
      let right = try evaluate(operand)
      guard try compare(comparison, left, right) else { return false }
      left = right
    }
    return true
  }

  func compare(_ comparison: Comparison, _ a: Value, _ b: Value) throws -> Bool {
    switch comparison {
    case .equal: return try meter.areEqual(a, b)
    case .notEqual: return !(try meter.areEqual(a, b))
    case .isIn: return try contains(b, a)
    case .isNotIn: return !(try contains(b, a))
    case .less: return try meter.compare(a, b, "<").map { $0 < 0 } ?? false
    case .lessOrEqual: return try meter.compare(a, b, "<=").map { $0 <= 0 } ?? false
    case .greater: return try meter.compare(a, b, ">").map { $0 > 0 } ?? false
    case .greaterOrEqual: return try meter.compare(a, b, ">=").map { $0 >= 0 } ?? false
    }
  }

  /// Python's `item in container`.
  func contains(_ container: Value, _ item: Value) throws -> Bool {
    switch container {
    case .string(let text):
      guard case .string(let part) = item else { throw Fault("'in' a string needs a string, not \(item.type)") }
      try meter.charge(bytes: text.bytes.count)
      return text.contains(part)
    case .dict(let dict): return dict[try meter.key(of: item)] != nil
    case .view(let view) where view.part == .keys: return view.dict[try meter.key(of: item)] != nil
    case .range(let range):
      guard let number = item.number, let whole = Int(exactly: number) else { return false }
      let (distance, overflow) = whole.subtractingReportingOverflow(range.start)
      // The smallest integer has no quotient by -1.
      let (rest, isWide) = distance.remainderReportingOverflow(dividingBy: range.step)
      return !overflow && !isWide && rest == 0 && (0..<range.count).contains(distance / range.step)
    case .list, .tuple, .view, .generator, .undefined:
      return try items(of: container).contains { try meter.areEqual($0, item) }
    default: throw Fault("'in' needs a container, not \(container.type)")
    }
  }
}
