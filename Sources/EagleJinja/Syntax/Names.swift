/// Finds which names a part of a template reads or writes, in the order of jinja2's own walk.
struct Names {
  /// The names to look for; one that is written first is looked for no longer.
  private var wanted: Set<String>
  /// Those that are read.
  private(set) var free: Set<String> = []
  /// Every name that an assignment writes.
  private(set) var stored: Set<String> = []

  init(of wanted: Set<String>) { self.wanted = wanted }

  static func free(in body: [Statement], of wanted: Set<String>) -> Set<String> {
    var names = Names(of: wanted)
    names.visit(body)
    return names.free
  }

  mutating func visit(_ body: [Statement]) {
    for statement in body { visit(statement.kind) }
  }

  mutating func visit(_ kind: Statement.Kind) {
    switch kind {
    case .text, .breakLoop, .continueLoop: break
    case .output(let value): visit(value)
    case .conditional(let branches, let otherwise):
      for branch in branches {
        visit(branch.condition)
        visit(branch.body)
      }
      visit(otherwise)
    case .loop(let loop):
      visit(loop.target)
      visit(loop.sequence)
      visit(loop.body)
      visit(loop.otherwise)
      if let test = loop.test { visit(test.condition) }
    case .assign(let target, let value):
      visit(target)
      visit(value)
    case .assignBlock(let block), .filterBlock(let block): visit(block)
    case .scope(let scope):
      for assignment in scope.assignments { visit(assignment.target) }
      for assignment in scope.assignments { visit(assignment.value) }
      visit(scope.body)
    case .macro(_, let macro): visit(macro)
    case .generation(let macro): visit(macro)
    case .call(let call, let macro):
      visit(call)
      visit(macro)
    }
  }

  private mutating func visit(_ block: CaptureBlock) {
    if let target = block.target {
      visit(target)
      if let filter = block.filter { visit(filter) }
      visit(block.body)
    } else {
      visit(block.body)
      if let filter = block.filter { visit(filter) }
    }
  }

  private mutating func visit(_ macro: MacroDefinition) {
    for parameter in macro.parameters { wanted.remove(parameter.variable.name) }
    for parameter in macro.parameters { if let fallback = parameter.fallback { visit(fallback) } }
    visit(macro.body)
  }

  mutating func visit(_ target: Target) {
    switch target {
    case .variable(let variable):
      stored.insert(variable.name)
      wanted.remove(variable.name)
    case .attribute: break
    case .tuple(let items): for item in items { visit(item) }
    }
  }

  mutating func visit(_ expression: Expression) {
    if case .variable(let variable) = expression.kind {
      if wanted.contains(variable.name) { free.insert(variable.name) }
    } else {
      for child in expression.children { visit(child) }
    }
  }
}
