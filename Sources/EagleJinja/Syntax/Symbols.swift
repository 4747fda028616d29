/// The names of one scope, with the slots that they live in: jinja2's rules for what a name means where.
///
/// A name that a scope writes is a local of that scope, which begins with the value of the scope around it. A name that
/// it only reads is that of the nearest scope that knows it, or else a variable of the template.
final class Symbols {
  private let parent: Symbols?
  private let function: FunctionLayout
  private(set) var slots: [String: Int] = [:]
  private var starts: [Int: Frame.Start?] = [:]
  private var stored: Set<String> = []

  init(parent: Symbols?, function: FunctionLayout) { (self.parent, self.function) = (parent, function) }

  private init(copy: Symbols) {
    (parent, function) = (copy.parent, copy.function)
    (slots, starts, stored) = (copy.slots, copy.starts, copy.stored)
  }

  /// The slot of a name, here or around.
  func find(_ name: String) -> Slot? {
    if let index = slots[name] { return Slot(function: function.level, index: index) }
    return parent?.find(name)
  }

  /// How the slots begin when the scope is entered; parameters are not among them.
  var frameStarts: [(index: Int, start: Frame.Start)] {
    starts.sorted { $0.key < $1.key }.compactMap { index, start in start.map { (index, $0) } }
  }

  private func define(_ name: String, _ start: Frame.Start?) {
    // A name has one slot in its scope, also where it is defined again.
    let index = slots[name] ?? function.slots
    if slots[name] == nil { function.slots += 1 }
    slots[name] = index
    starts[index] = .some(start)
  }

  func load(_ name: String) {
    if find(name) == nil { define(name, .resolve(name)) }
  }

  func store(_ name: String) {
    stored.insert(name)
    guard slots[name] == nil else { return }
    define(name, parent?.find(name).map { .alias($0) } ?? .undefined)
  }

  func declare(_ name: String) {
    stored.insert(name)
    define(name, nil)
  }

  // MARK: analysis

  /// Reads what a part of the scope does with names, in order; nested scopes only as far as they are evaluated here.
  func analyze(_ body: [Statement]) {
    for statement in body { analyze(statement.kind) }
  }

  private func analyze(_ kind: Statement.Kind) {
    switch kind {
    case .text, .breakLoop, .continueLoop: break
    // The method that jinja2 calls for it is not a name.
    case .generation: break
    case .output(let value): analyze(value)
    case .conditional(let branches, let otherwise): analyze(branches[...], otherwise)
    case .loop(let loop): analyze(loop.sequence)
    case .assign(let target, let value):
      analyze(value)
      analyze(target)
    case .assignBlock(let block): if let target = block.target { analyze(target) }
    case .filterBlock(let block): if let filter = block.filter { analyze(filter) }
    case .scope(let scope): for assignment in scope.assignments { analyze(assignment.value) }
    case .macro(let name, _): store(name.name)
    case .call(let call, _): analyze(call)
    }
  }

  private func analyze(_ branches: ArraySlice<(condition: Expression, body: [Statement])>, _ otherwise: [Statement]) {
    guard let first = branches.first else { return }
    analyze(first.condition)
    let body = branch { $0.analyze(first.body) }
    // Each `elif` is a condition of its own inside the second branch.
    let elifs = branch { symbols in
      for other in branches.dropFirst() {
        symbols.analyze(other.condition)
        let otherBody = symbols.branch { $0.analyze(other.body) }
        symbols.merge([otherBody, symbols.branch { _ in }, symbols.branch { _ in }])
      }
    }
    merge([body, elifs, branch { $0.analyze(otherwise) }])
  }

  private func branch(_ read: (Symbols) -> Void) -> Symbols {
    let copy = Symbols(copy: self)
    read(copy)
    return copy
  }

  /// Joins branches: a name that not all of them write may also be what it was before.
  private func merge(_ branches: [Symbols]) {
    var counts: [String: Int] = [:]
    for branch in branches {
      for name in branch.stored where !stored.contains(name) { counts[name, default: 0] += 1 }
    }
    for branch in branches {
      for (name, index) in branch.slots {
        // The slot that an earlier branch gave stays.
        let own = slots[name] ?? index
        slots[name] = own
        if let start = branch.starts[index] { starts[own] = start }
      }
      stored.formUnion(branch.stored)
    }
    for (name, count) in counts where count < branches.count {
      guard let index = slots[name] else { continue }
      starts[index] = parent?.find(name).map { .alias($0) } ?? .resolve(name)
    }
  }

  func analyze(_ target: Target, asParameter: Bool = false) {
    switch target {
    case .variable(let variable): if asParameter { declare(variable.name) } else { store(variable.name) }
    case .attribute(let variable, _): load(variable.name)
    case .tuple(let items): for item in items { analyze(item, asParameter: asParameter) }
    }
  }

  func analyze(_ expression: Expression) {
    if case .variable(let variable) = expression.kind {
      load(variable.name)
    } else {
      for child in expression.children { analyze(child) }
    }
  }
}
