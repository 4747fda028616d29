/// Expressions, from the loosest operator to the tightest.
extension Parser {
  private func make(_ kind: Expression.Kind, at offset: Int) throws -> Expression {
    let expression = Expression(kind, at: offset)
    guard expression.depth <= Self.deepestExpression else {
      throw fault("the expression has more than \(Self.deepestExpression) levels", at: offset)
    }
    return expression
  }

  mutating func expression(conditional: Bool = true) throws -> Expression {
    try nested { conditional ? try $0.conditional() : try $0.or() }
  }

  /// One expression, or several with commas between them.
  mutating func tuple(
    conditional: Bool = true, end: String? = nil, isParenthesized: Bool = false
  ) throws -> Expression {
    let start = offset
    var (items, isTuple) = ([Expression](), false)
    while !isTupleEnd(end) {
      items.append(try expression(conditional: conditional))
      guard skip(symbol: ",") else { break }
      isTuple = true
    }
    if !isTuple, let only = items.first { return only }
    guard isTuple || isParenthesized else { throw unexpected("an expression") }
    return try make(.tuple(items), at: start)
  }

  private func isTupleEnd(_ end: String?) -> Bool {
    switch current.kind {
    case .variableEnd, .blockEnd, .symbol(")"): true
    case .name(let name): name == end
    default: false
    }
  }

  // MARK: operators

  private mutating func conditional() throws -> Expression {
    let start = offset
    let known = unknown.count
    var value = try or()
    while skip(name: "if") {
      let condition = try or()
      let otherwise = skip(name: "else") ? try nested { try $0.conditional() } : nil
      value = try make(.conditional(value, condition, otherwise), at: start)
      // In a condition an unknown filter is an error only when it is reached.
      unknown.removeLast(unknown.count - known)
    }
    return value
  }

  private mutating func or() throws -> Expression {
    let start = offset
    var left = try and()
    while skip(name: "or") { left = try make(.or(left, try and()), at: start) }
    return left
  }

  private mutating func and() throws -> Expression {
    let start = offset
    var left = try not()
    while skip(name: "and") { left = try make(.and(left, try not()), at: start) }
    return left
  }

  private mutating func not() throws -> Expression {
    let start = offset
    guard skip(name: "not") else { return try comparison() }
    return try make(.not(try nested { try $0.not() }), at: start)
  }

  private mutating func comparison() throws -> Expression {
    let start = offset
    let first = try sum()
    var rest: [(comparison: Comparison, operand: Expression)] = []
    while let comparison = comparisonOperator() { rest.append((comparison, try sum())) }
    return rest.isEmpty ? first : try make(.comparison(first, rest), at: start)
  }

  private mutating func comparisonOperator() -> Comparison? {
    if case .symbol(let symbol) = current.kind, let comparison = Comparison(rawValue: symbol) {
      advance()
      return comparison
    }
    if skip(name: "in") { return .isIn }
    guard current.isName("not"), following.isName("in") else { return nil }
    advance()
    advance()
    return .isNotIn
  }

  private mutating func sum() throws -> Expression {
    try chain([.add, .subtract]) { try $0.concatenation() }
  }

  private mutating func concatenation() throws -> Expression {
    let start = offset
    var items = [try product()]
    while skip(symbol: "~") { items.append(try product()) }
    return items.count == 1 ? items[0] : try make(.concatenation(items), at: start)
  }

  private mutating func product() throws -> Expression {
    try chain([.multiply, .divide, .floorDivide, .modulo]) { try $0.power() }
  }

  private mutating func power() throws -> Expression {
    try chain([.power]) { try $0.unary() }
  }

  private mutating func chain(
    _ operators: Set<BinaryOperator>, _ operand: (inout Parser) throws -> Expression
  ) throws -> Expression {
    let start = offset
    var left = try operand(&self)
    while case .symbol(let symbol) = current.kind, let binary = BinaryOperator(rawValue: symbol),
      operators.contains(binary)
    {
      advance()
      left = try make(.binary(binary, left, try operand(&self)), at: start)
    }
    return left
  }

  private mutating func unary(withFilters: Bool = true) throws -> Expression {
    let start = offset
    var node: Expression
    if skip(symbol: "-") {
      node = try make(.negative(try nested { try $0.unary(withFilters: false) }), at: start)
    } else if skip(symbol: "+") {
      node = try make(.positive(try nested { try $0.unary(withFilters: false) }), at: start)
    } else {
      node = try primary()
    }
    node = try postfix(node)
    return withFilters ? try filtersAndTests(node) : node
  }

  // MARK: primaries

  private mutating func primary() throws -> Expression {
    let start = offset
    let token = current
    switch token.kind {
    case .name(let name):
      advance()
      return try make(Self.constants[name].map { .constant($0) } ?? .variable(Variable(name)), at: start)
    case .string: return try make(.constant(.text(strings())), at: start)
    case .integer(let value): return try literal(.int(value))
    case .bigInteger(let digits): return try literal(.bigInt(digits))
    case .float(let value): return try literal(.float(value))
    case .symbol("("):
      advance()
      let inside = try nested { try $0.tuple(isParenthesized: true) }
      try expect(symbol: ")")
      return inside
    case .symbol("["): return try make(.list(try list()), at: start)
    case .symbol("{"): return try make(.dict(try dict()), at: start)
    default: throw unexpected()
    }
  }

  private static let constants: [String: Value] = [
    "true": .bool(true), "True": .bool(true), "false": .bool(false), "False": .bool(false), "none": .none,
    "None": .none,
  ]

  private mutating func literal(_ value: Value) throws -> Expression {
    try make(.constant(value), at: advance().offset)
  }

  /// Neighbouring string literals are one.
  private mutating func strings() -> String {
    var text = ""
    while case .string(let piece) = current.kind {
      text += piece
      advance()
    }
    return text
  }

  private mutating func list() throws -> [Expression] {
    var items: [Expression] = []
    advance()
    while !current.isSymbol("]") {
      if !items.isEmpty { try expect(symbol: ",") }
      if current.isSymbol("]") { break }
      items.append(try expression())
    }
    advance()
    return items
  }

  private mutating func dict() throws -> [(key: Expression, value: Expression)] {
    var entries: [(key: Expression, value: Expression)] = []
    advance()
    while !current.isSymbol("}") {
      if !entries.isEmpty { try expect(symbol: ",") }
      if current.isSymbol("}") { break }
      let key = try expression()
      try expect(symbol: ":")
      entries.append((key, try expression()))
    }
    advance()
    return entries
  }

  // MARK: what follows a primary

  private mutating func postfix(_ node: Expression) throws -> Expression {
    var node = node
    while true {
      if current.isSymbol(".") || current.isSymbol("[") {
        node = try subscripted(node)
      } else if current.isSymbol("(") {
        node = try call(node)
      } else {
        return node
      }
    }
  }

  private mutating func filtersAndTests(_ node: Expression) throws -> Expression {
    var node = node
    while true {
      if current.isSymbol("|") {
        node = try filters(of: node)
      } else if current.isName("is") {
        node = try test(node)
      } else if current.isSymbol("(") {
        node = try call(node)
      } else {
        return node
      }
    }
  }

  private mutating func subscripted(_ node: Expression) throws -> Expression {
    let start = offset
    if skip(symbol: ".") {
      let place = current
      advance()
      switch place.kind {
      case .name(let name): return try make(.attribute(node, Attribute(name)), at: start)
      case .integer(let index): return try make(.item(node, Expression(.constant(.int(index)), at: start)), at: start)
      default: throw fault("unexpected \(place.description), expected a name or a number", at: place.offset)
      }
    }
    advance()
    var items: [Expression.Kind] = []
    while !current.isSymbol("]") {
      if !items.isEmpty { try expect(symbol: ",") }
      items.append(try subscriptItem(node))
    }
    advance()
    guard items.count != 1 else { return try make(items[0], at: start) }
    let keys = try items.map { item -> Expression in
      guard case .item(_, let key) = item else { throw fault("a slice beside other indexes", at: start) }
      return key
    }
    return try make(.item(node, try make(.tuple(keys), at: start)), at: start)
  }

  private mutating func subscriptItem(_ node: Expression) throws -> Expression.Kind {
    var bounds = SliceBounds()
    if !current.isSymbol(":") {
      let first = try expression()
      guard current.isSymbol(":") else { return .item(node, first) }
      bounds.start = first
    }
    advance()
    if !current.isSymbol(":"), !current.isSymbol("]"), !current.isSymbol(",") { bounds.stop = try expression() }
    if skip(symbol: ":"), !current.isSymbol("]"), !current.isSymbol(",") { bounds.step = try expression() }
    return .slice(node, bounds)
  }

  private mutating func call(_ node: Expression) throws -> Expression {
    let start = offset
    return try make(.call(node, try arguments()), at: start)
  }

  mutating func arguments() throws -> Arguments {
    let start = offset
    var arguments = Arguments()
    try expect(symbol: "(")
    var isFirst = true
    while !current.isSymbol(")") {
      if !isFirst { try expect(symbol: ",") }
      if current.isSymbol(")") { break }
      isFirst = false
      guard try argument(into: &arguments) else { throw fault("invalid order of arguments", at: start) }
    }
    advance()
    return arguments
  }

  /// False where the order of arguments is wrong.
  private mutating func argument(into arguments: inout Arguments) throws -> Bool {
    if skip(symbol: "*") {
      guard arguments.spread == nil, arguments.namedSpread == nil else { return false }
      arguments.spread = try expression()
    } else if skip(symbol: "**") {
      guard arguments.namedSpread == nil else { return false }
      arguments.namedSpread = try expression()
    } else if case .name(let name) = current.kind, following.isSymbol("=") {
      guard arguments.namedSpread == nil else { return false }
      guard !arguments.named.contains(where: { $0.name == name }) else {
        throw fault("the argument '\(name)' is given twice")
      }
      advance()
      advance()
      arguments.named.append((name, try expression()))
    } else {
      guard arguments.spread == nil, arguments.namedSpread == nil, arguments.named.isEmpty else { return false }
      arguments.positional.append(try expression())
    }
    return true
  }

  // MARK: filters and tests

  /// A chain of filters; `isInline` for a filter block, whose first filter has no bar.
  mutating func filters(of node: Expression?, isInline: Bool = false) throws -> Expression {
    var (node, isInline) = (node, isInline)
    while isInline || current.isSymbol("|") {
      if !isInline { advance() }
      isInline = false
      let start = offset
      let name = try dottedName()
      let filter = FilterName(name)
      if !isSoft, !filter.isKnown { unknown.append(fault("there is no filter '\(name)'", at: start)) }
      let arguments = current.isSymbol("(") ? try arguments() : Arguments()
      node = try make(.filter(node, filter, arguments), at: start)
    }
    guard let node else { throw unexpected("a filter") }
    return node
  }

  private mutating func dottedName() throws -> String {
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  private mutating func test(_ node: Expression) throws -> Expression {
    advance()
    let start = offset
    let isNegated = skip(name: "not")
    let place = offset
    let name = try dottedName()
    let test = TestName(name)
    if !isSoft, !test.isKnown { unknown.append(fault("there is no test '\(name)'", at: place)) }
    var arguments = Arguments()
    if current.isSymbol("(") {
      arguments = try self.arguments()
    } else if isTestOperand {
      guard !current.isName("is") else { throw fault("tests cannot be chained with 'is'") }
      let operand = try nested { try $0.primary() }
      arguments.positional = [try postfix(operand)]
    }
    let node = try make(.test(node, test, arguments), at: start)
    return isNegated ? try make(.not(node), at: start) : node
  }

  private var isTestOperand: Bool {
    switch current.kind {
    case .name(let name): !["else", "or", "and"].contains(name)
    case .string, .integer, .bigInteger, .float, .symbol("("), .symbol("["), .symbol("{"): true
    default: false
    }
  }
}
