/// Collects the names, attributes and strings of a template.
struct Vocabulary {
  private(set) var words: Set<String> = []

  mutating func visit(_ body: [Statement]) {
    for statement in body { visit(statement.kind) }
  }

  private mutating func visit(_ kind: Statement.Kind) {
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
      visit(loop.sequence)
      if let test = loop.test { visit(test.condition) }
      visit(loop.body)
      visit(loop.otherwise)
    case .assign(_, let value): visit(value)
    case .assignBlock(let block), .filterBlock(let block):
      if let filter = block.filter { visit(filter) }
      visit(block.body)
    case .scope(let scope):
      for assignment in scope.assignments { visit(assignment.value) }
      visit(scope.body)
    case .macro(_, let macro), .generation(let macro): visit(macro)
    case .call(let call, let macro):
      visit(call)
      visit(macro)
    }
  }

  private mutating func visit(_ macro: MacroDefinition) {
    for parameter in macro.parameters { if let fallback = parameter.fallback { visit(fallback) } }
    visit(macro.body)
  }

  private mutating func visit(_ expression: Expression) {
    switch expression.kind {
    case .variable(let variable): words.insert(variable.name)
    case .attribute(_, let attribute): words.insert(attribute.name)
    case .constant(.string(let text)): words.insert(text.string)
    default: break
    }
    for child in expression.children { visit(child) }
  }
}
