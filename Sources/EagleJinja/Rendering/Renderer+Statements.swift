/// How a body ended.
enum Ending {
  case normal
  case broken
  case continued
}

extension Renderer {
  func execute(_ body: [Statement]) throws -> Ending {
    for statement in body {
      let ending = try execute(statement)
      if ending != .normal { return ending }
    }
    return .normal
  }

  private func execute(_ statement: Statement) throws -> Ending {
    do {
      try meter.enter()
      defer { meter.leave() }
      switch statement.kind {
      case .text(let text): try write(text)
      case .output(let expression): try write(meter.text(of: try evaluate(expression)))
      case .conditional(let branches, let otherwise): return try choose(branches, otherwise)
      case .loop(let loop): try run(loop)
      case .assign(let target, let expression): try assign(try evaluate(expression), to: target)
      case .assignBlock(let block): try assign(.string(try render(block)), to: block.target)
      case .filterBlock(let block): try write(try render(block))
      case .scope(let scope): return try run(scope)
      case .macro(let variable, let definition): set(variable, to: .macro(makeMacro(definition)))
      case .call(let call, let definition): try run(call, caller: definition)
      case .generation(let definition):
        try write(try call(makeMacro(definition), .none).marked(.generation))
      case .breakLoop: return .broken
      case .continueLoop: return .continued
      }
      return .normal
    } catch let fault as Fault {
      throw fault.located(at: statement.offset)
    }
  }

  private func choose(
    _ branches: [(condition: Expression, body: [Statement])], _ otherwise: [Statement]
  ) throws -> Ending {
    for branch in branches where try evaluate(branch.condition).isTrue { return try execute(branch.body) }
    return try execute(otherwise)
  }

  // MARK: assignments

  func assign(_ value: Value, to target: Target?) throws {
    switch target {
    case nil: break
    case .variable(let variable): set(variable, to: value)
    case .attribute(let variable, let name):
      guard case .namespace(let namespace) = self.value(of: variable.slot) else {
        throw Fault("'\(variable.name)' is no namespace, so its attribute '\(name)' cannot be assigned")
      }
      try namespace.set(name, to: value)
    case .tuple(let targets):
      let items = try items(of: value)
      guard items.count == targets.count else {
        throw Fault("\(items.count) values cannot be assigned to \(targets.count) names")
      }
      for (target, item) in zip(targets, items) { try assign(item, to: target) }
    }
  }

  private func render(_ block: CaptureBlock) throws -> Text {
    try enter(block.frame)
    let text = try capture { _ = try execute(block.body) }
    guard let filter = block.filter else { return text }
    let result = try evaluate(filter, body: .string(text))
    return try meter.text(of: result)
  }

  private func run(_ scope: Scope) throws -> Ending {
    try enter(scope.frame)
    for assignment in scope.assignments { try assign(try evaluate(assignment.value), to: assignment.target) }
    return try execute(scope.body)
  }

  private func run(_ call: Expression, caller: MacroDefinition) throws {
    guard case .call(let callee, let arguments) = call.kind else { return }
    let macro = Value.macro(makeMacro(caller))
    try write(meter.text(of: try self.call(callee, arguments, caller: macro)))
  }

  // MARK: loops

  private func run(_ loop: Loop) throws {
    let sequence = try evaluate(loop.sequence)
    if loop.isRecursive {
      try write(try recurse(loop, over: sequence, around: activation, depth0: 0))
    } else {
      try run(loop, over: sequence, depth0: 0)
    }
  }

  /// One level of a recursive loop, as a string.
  func recurse(_ loop: Loop, over sequence: Value, around outer: Activation, depth0: Int) throws -> Text {
    let caller = activation
    activation = Activation(loop.function, parent: outer)
    defer { activation = caller }
    return try capture { try run(loop, over: sequence, depth0: depth0) }
  }

  private func run(_ loop: Loop, over sequence: Value, depth0: Int) throws {
    let items = try items(of: sequence)
    let own = activation
    let source = LoopSource(items, test: loop.test.map { test in { try self.passes($0, test, loop, own) } })
    let context = loop.special.map { special in
      let recursion = loop.isRecursive ? own.parent.map { (loop: loop, activation: $0) } : nil
      return LoopContext(source, depth0: depth0, depthOfItems: sequence.depth, recursion: recursion)
    }
    var reachedEnd = false
    func next() throws -> Value? {
      if let context { return try context.next() }
      return try source.next()
    }
    while let item = try next() {
      try assign(item, to: loop.target)
      if let context, let special = loop.special { set(special, to: .loop(context)) }
      try enter(loop.frame)
      let ending = try execute(loop.body)
      if ending == .broken { break }
      if ending == .normal { reachedEnd = true }
      try meter.step()
    }
    // As in jinja2, `else` also runs if no iteration reached its end.
    guard !reachedEnd, !loop.otherwise.isEmpty else { return }
    try enter(loop.otherwiseFrame)
    _ = try execute(loop.otherwise)
  }

  private func passes(
    _ item: Value, _ test: (condition: Expression, target: Target), _ loop: Loop, _ own: Activation
  ) throws -> Bool {
    let caller = activation
    activation = own
    defer { activation = caller }
    try enter(loop.testFrame)
    try assign(item, to: test.target)
    return try evaluate(test.condition).isTrue
  }

  /// The items that a value yields when it is iterated.
  func items(of value: Value) throws -> [Value] {
    switch value {
    case .list(let list), .tuple(let list): return list.items
    case .string(let text):
      try meter.charge(elements: text.count)
      return text.characters.map { .string($0) }
    case .dict(let dict): return dict.keys
    case .view(let view): return try view.items
    case .range(let range):
      try meter.charge(elements: range.count)
      return (0..<range.count).map { .int(range[$0]) }
    case .generator(let generator): return generator.take()
    case .undefined: return []
    default: throw Fault("a \(value.type) cannot be iterated")
    }
  }
}
