/// Gives every variable of a template its slot.
struct Resolver {
  private let symbols: Symbols
  private let function: FunctionLayout

  /// Resolves a whole template.
  static func resolve(_ body: [Statement], _ frame: Frame, _ function: FunctionLayout) {
    let resolver = Resolver(symbols: Symbols(parent: nil, function: function), function: function)
    resolver.symbols.analyze(body)
    resolver.visit(body)
    frame.starts = resolver.symbols.frameStarts
  }

  private func inner() -> Resolver {
    Resolver(symbols: Symbols(parent: symbols, function: function), function: function)
  }

  private func inner(_ layout: FunctionLayout) -> Resolver {
    layout.level = function.level + 1
    return Resolver(symbols: Symbols(parent: symbols, function: layout), function: layout)
  }

  private func visit(_ body: [Statement]) {
    for statement in body { visit(statement.kind) }
  }

  private func visit(_ kind: Statement.Kind) {
    switch kind {
    case .text, .breakLoop, .continueLoop: break
    case .output(let value): visit(value)
    case .conditional(let branches, let otherwise):
      for branch in branches {
        visit(branch.condition)
        visit(branch.body)
      }
      visit(otherwise)
    case .loop(let loop): visit(loop)
    case .assign(let target, let value):
      visit(value)
      visit(target)
    case .assignBlock(let block), .filterBlock(let block): visit(block)
    case .scope(let scope): visit(scope)
    case .macro(let name, let macro):
      assign(name)
      visit(macro)
    case .call(let call, let macro):
      visit(call)
      visit(macro)
    case .generation(let macro): visit(macro)
    }
  }

  private func visit(_ loop: Loop) {
    visit(loop.sequence)
    let scope = loop.isRecursive ? inner(loop.function) : inner()
    if let special = loop.special { scope.symbols.declare(special.name) }
    scope.symbols.analyze(loop.target, asParameter: true)
    scope.symbols.analyze(loop.body)
    scope.visit(loop.target)
    loop.special.map(scope.assign)
    // The other two scopes see what is around the loop, from inside its function.
    let around =
      loop.isRecursive
      ? Resolver(symbols: Symbols(parent: symbols, function: loop.function), function: loop.function) : self
    let otherwise = around.inner()
    otherwise.symbols.analyze(loop.otherwise)
    if let test = loop.test {
      let condition = around.inner()
      condition.symbols.analyze(test.target, asParameter: true)
      condition.symbols.analyze(test.condition)
      condition.visit(test.target)
      condition.visit(test.condition)
      loop.testFrame.starts = condition.symbols.frameStarts
    }
    scope.visit(loop.body)
    loop.frame.starts = scope.symbols.frameStarts
    otherwise.visit(loop.otherwise)
    loop.otherwiseFrame.starts = otherwise.symbols.frameStarts
  }

  private func visit(_ block: CaptureBlock) {
    let scope = inner()
    scope.symbols.analyze(block.body)
    if block.target == nil, let filter = block.filter { scope.symbols.analyze(filter) }
    scope.visit(block.body)
    if let filter = block.filter { scope.visit(filter) }
    block.frame.starts = scope.symbols.frameStarts
    if let target = block.target { visit(target) }
  }

  private func visit(_ with: Scope) {
    let scope = inner()
    for assignment in with.assignments { scope.symbols.analyze(assignment.target) }
    scope.symbols.analyze(with.body)
    for assignment in with.assignments {
      visit(assignment.value)
      scope.visit(assignment.target)
    }
    scope.visit(with.body)
    with.frame.starts = scope.symbols.frameStarts
  }

  private func visit(_ macro: MacroDefinition) {
    let scope = inner(macro.function)
    for parameter in macro.parameters { scope.symbols.declare(parameter.variable.name) }
    for parameter in macro.parameters { if let fallback = parameter.fallback { scope.symbols.analyze(fallback) } }
    scope.symbols.analyze(macro.body)
    for special in [macro.caller, macro.namedRest, macro.rest].compactMap(\.self) {
      scope.symbols.declare(special.name)
    }
    for variable in macro.parameters.map(\.variable) + [macro.caller, macro.namedRest, macro.rest].compactMap(\.self) {
      scope.assign(variable)
    }
    for parameter in macro.parameters { if let fallback = parameter.fallback { scope.visit(fallback) } }
    scope.visit(macro.body)
    macro.frame.starts = scope.symbols.frameStarts
  }

  private func visit(_ target: Target) {
    switch target {
    case .variable(let variable), .attribute(let variable, _): assign(variable)
    case .tuple(let items): for item in items { visit(item) }
    }
  }

  private func visit(_ expression: Expression) {
    if case .variable(let variable) = expression.kind {
      assign(variable)
    } else {
      for child in expression.children { visit(child) }
    }
  }

  private func assign(_ variable: Variable) {
    variable.slot = symbols.find(variable.name) ?? .none
  }
}
