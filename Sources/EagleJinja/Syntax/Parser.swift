/// Reads tokens into statements and expressions, with jinja2's grammar.
struct Parser {
  /// Nested blocks and parentheses that a source may have, and levels of nodes that an expression may have.
  static let deepestNesting = 100
  static let deepestExpression = 400

  private let tokens: [Token]
  private var position = 0
  private var nesting = 0
  /// Loops around the statement that is read, since the function that it is in.
  var loops = 0
  /// Whether an unknown filter or test is an error only when it is reached: directly inside a condition.
  var isSoft = false
  /// Unknown filters and tests that no condition has excused yet.
  var unknown: [Fault] = []

  init(_ tokens: [Token]) { self.tokens = tokens }

  static func statements(of source: [UInt8]) throws -> [Statement] {
    var parser = Parser(try Lexer.tokens(of: source))
    return try parser.template()
  }

  private mutating func template() throws -> [Statement] {
    let statements = try statements(until: [])
    guard current.kind == .end else { throw unexpected() }
    if let fault = unknown.first { throw fault }
    return statements
  }

  // MARK: tokens

  var current: Token { tokens[position] }
  var following: Token { tokens[min(position + 1, tokens.count - 1)] }
  var offset: Int { current.offset }

  @discardableResult mutating func advance() -> Token {
    defer { if position < tokens.count - 1 { position += 1 } }
    return tokens[position]
  }

  mutating func skip(symbol: String) -> Bool {
    guard current.isSymbol(symbol) else { return false }
    advance()
    return true
  }

  mutating func skip(name: String) -> Bool {
    guard current.isName(name) else { return false }
    advance()
    return true
  }

  mutating func expect(symbol: String) throws {
    guard skip(symbol: symbol) else { throw unexpected("'\(symbol)'") }
  }

  mutating func expect(name: String) throws {
    guard skip(name: name) else { throw unexpected("'\(name)'") }
  }

  mutating func expect(_ kind: Token.Kind) throws {
    guard current.kind == kind else { throw unexpected(Token(kind: kind, offset: 0).description) }
    advance()
  }

  mutating func expectName() throws -> String {
    guard case .name(let name) = current.kind else { throw unexpected("a name") }
    advance()
    return name
  }

  func fault(_ problem: String, at offset: Int? = nil) -> Fault {
    Fault(problem, kind: .syntax, at: offset ?? current.offset)
  }

  func unexpected(_ expectation: String? = nil) -> Fault {
    fault("unexpected \(current.description)" + (expectation.map { ", expected \($0)" } ?? ""))
  }

  /// Reads something that can contain itself.
  mutating func nested<Result>(_ read: (inout Parser) throws -> Result) throws -> Result {
    nesting += 1
    defer { nesting -= 1 }
    guard nesting <= Self.deepestNesting else {
      throw fault("blocks and parentheses are nested more than \(Self.deepestNesting) deep")
    }
    return try read(&self)
  }

  /// Reads the body of a scope, in which an unknown filter is an error at once.
  mutating func inner<Result>(loops: Int? = nil, _ read: (inout Parser) throws -> Result) throws -> Result {
    let outer = (isSoft, self.loops)
    (isSoft, self.loops) = (false, loops ?? self.loops)
    defer { (isSoft, self.loops) = outer }
    return try read(&self)
  }

  mutating func soft<Result>(_ read: (inout Parser) throws -> Result) throws -> Result {
    let outer = isSoft
    isSoft = true
    defer { isSoft = outer }
    return try read(&self)
  }

  // MARK: statements

  /// Reads up to a block whose name is one of `ends`, and passes over that name.
  mutating func body(until ends: Set<String>) throws -> (statements: [Statement], end: String) {
    guard current.kind == .blockEnd else { throw unexpected("'%}'") }
    advance()
    let statements = try nested { try $0.statements(until: ends) }
    guard case .name(let end) = current.kind, ends.contains(end) else {
      throw fault("the template ends without '{% \(ends.sorted().joined(separator: " %}' or '{% ")) %}'")
    }
    advance()
    return (statements, end)
  }

  private mutating func statements(until ends: Set<String>) throws -> [Statement] {
    var list: [Statement] = []
    while true {
      let offset = offset
      switch current.kind {
      case .data(let bytes):
        advance()
        list.append(Statement(kind: .text(Text(bytes)), offset: offset))
      case .variableBegin:
        advance()
        list.append(Statement(kind: .output(try tuple()), offset: offset))
        try expect(.variableEnd)
      case .blockBegin:
        advance()
        if case .name(let name) = current.kind, ends.contains(name) { return list }
        list.append(Statement(kind: try block(), offset: offset))
        try expect(.blockEnd)
      default: return list
      }
    }
  }

  private mutating func block() throws -> Statement.Kind {
    let name = current
    guard case .name(let tag) = name.kind else { throw unexpected("the name of a block") }
    advance()
    switch tag {
    case "if": return try conditional()
    case "for": return try loop()
    case "set": return try assignment()
    case "macro": return try macro()
    case "call": return try callBlock()
    case "filter": return try filterBlock()
    case "with": return try with()
    case "generation": return .generation(try bodyAsMacro(parameters: [], end: "endgeneration"))
    case "break", "continue":
      guard loops > 0 else { throw fault("'\(tag)' outside of a loop", at: name.offset) }
      return tag == "break" ? .breakLoop : .continueLoop
    case "include", "import", "from", "extends", "block", "autoescape", "do", "trans":
      throw fault("'{% \(tag) %}' is not supported in chat templates", at: name.offset)
    default: throw fault("there is no block '\(tag)'", at: name.offset)
    }
  }

  private mutating func conditional() throws -> Statement.Kind {
    try soft { parser in
      var branches: [(condition: Expression, body: [Statement])] = []
      while true {
        let condition = try parser.tuple(conditional: false)
        let (body, end) = try parser.body(until: ["elif", "else", "endif"])
        branches.append((condition, body))
        switch end {
        case "elif": continue
        case "else": return .conditional(branches, otherwise: try parser.body(until: ["endif"]).statements)
        default: return .conditional(branches, otherwise: [])
        }
      }
    }
  }

  private mutating func loop() throws -> Statement.Kind {
    let start = offset
    let target = try target(end: "in")
    try expect(name: "in")
    let sequence = try tuple(conditional: false, end: "recursive")
    var test: (condition: Expression, target: Target)?
    if skip(name: "if") { test = (try inner { try $0.expression() }, target.copy()) }
    let isRecursive = skip(name: "recursive")
    let outer = isRecursive ? 0 : loops
    var (body, end) = try inner(loops: outer + 1) { try $0.body(until: ["endfor", "else"]) }
    var otherwise: [Statement] = []
    if end == "else" { (otherwise, end) = try inner(loops: outer) { try $0.body(until: ["endfor"]) } }
    let free = Names.free(in: body, of: ["loop"])
    var around = Names(of: ["loop"])
    around.visit(target)
    around.visit(sequence)
    around.visit(otherwise)
    if let test { around.visit(test.condition) }
    let isExtended = isRecursive || !free.isEmpty || !around.free.isEmpty
    let loop = Loop(
      target, in: sequence, test: test, isRecursive: isRecursive, body: body, otherwise: otherwise,
      special: isExtended ? Variable("loop") : nil)
    var stored = Names(of: [])
    stored.visit(.loop(loop))
    guard !stored.stored.contains("loop") else { throw fault("a loop cannot assign to 'loop'", at: start) }
    return .loop(loop)
  }

  private mutating func assignment() throws -> Statement.Kind {
    let target = try target(namespaces: true)
    if skip(symbol: "=") { return .assign(target, try tuple()) }
    return .assignBlock(
      try inner { parser in
        let filter = parser.current.isSymbol("|") ? try parser.filters(of: nil) : nil
        return CaptureBlock(target: target, filter: filter, body: try parser.body(until: ["endset"]).statements)
      })
  }

  private mutating func filterBlock() throws -> Statement.Kind {
    .filterBlock(
      try inner { parser in
        let filter = try parser.filters(of: nil, isInline: true)
        return CaptureBlock(target: nil, filter: filter, body: try parser.body(until: ["endfilter"]).statements)
      })
  }

  private mutating func with() throws -> Statement.Kind {
    var assignments: [(target: Target, value: Expression)] = []
    while current.kind != .blockEnd {
      if !assignments.isEmpty { try expect(symbol: ",") }
      let target = try target(tuples: true)
      try expect(symbol: "=")
      assignments.append((target, try expression()))
    }
    return .scope(Scope(assignments, body: try inner { try $0.body(until: ["endwith"]).statements }))
  }

  // MARK: macros

  private mutating func macro() throws -> Statement.Kind {
    let name = try expectName()
    let parameters = try inner { try $0.parameters() }
    return .macro(Variable(name), try bodyAsMacro(name: name, parameters: parameters, end: "endmacro"))
  }

  private mutating func callBlock() throws -> Statement.Kind {
    let parameters = current.isSymbol("(") ? try inner { try $0.parameters() } : []
    let start = offset
    let call = try expression()
    guard case .call = call.kind else { throw fault("expected a call", at: start) }
    return .call(call, try bodyAsMacro(parameters: parameters, end: "endcall"))
  }

  private mutating func bodyAsMacro(
    name: String? = nil, parameters: [MacroDefinition.Parameter], end: String
  ) throws -> MacroDefinition {
    let start = offset
    let body = try inner(loops: 0) { try $0.body(until: [end]).statements }
    let free = Names.free(in: body, of: ["caller", "kwargs", "varargs"])
    let definition = MacroDefinition(name: name, parameters: parameters, body: body, free: free)
    let caller = parameters.first { $0.variable.name == "caller" }
    guard !free.contains("caller") || caller == nil || caller?.fallback != nil else {
      throw fault("a parameter 'caller' needs a default", at: start)
    }
    return definition
  }

  private mutating func parameters() throws -> [MacroDefinition.Parameter] {
    var list: [MacroDefinition.Parameter] = []
    try expect(symbol: "(")
    while !current.isSymbol(")") {
      if !list.isEmpty { try expect(symbol: ",") }
      let start = offset
      let name = try expectName()
      try checkAssignable(name, at: start)
      guard !list.contains(where: { $0.variable.name == name }) else {
        throw fault("two parameters are called '\(name)'", at: start)
      }
      if skip(symbol: "=") {
        list.append(.init(variable: Variable(name), fallback: try expression()))
      } else {
        guard list.last?.fallback == nil else { throw fault("a parameter without default follows one with", at: start) }
        list.append(.init(variable: Variable(name), fallback: nil))
      }
    }
    try expect(symbol: ")")
    return list
  }

  // MARK: targets

  private func checkAssignable(_ name: String, at offset: Int) throws {
    guard !["true", "false", "none", "True", "False", "None"].contains(name) else {
      throw fault("'\(name)' cannot be assigned to", at: offset)
    }
  }

  private mutating func target(end: String? = nil, namespaces: Bool = false, tuples: Bool = true) throws -> Target {
    var (items, isTuple) = ([Target](), false)
    while true {
      if isTuple, current.kind == .blockEnd || current.isSymbol("=") || end.map(current.isName) == true { break }
      items.append(try singleTarget(namespaces: namespaces))
      guard tuples, skip(symbol: ",") else { break }
      isTuple = true
    }
    return isTuple || items.count != 1 ? .tuple(items) : items[0]
  }

  private mutating func singleTarget(namespaces: Bool) throws -> Target {
    let start = offset
    if skip(symbol: "(") {
      let inside = try nested { try $0.parenthesizedTarget(namespaces: namespaces) }
      try expect(symbol: ")")
      return inside
    }
    let name = try expectName()
    try checkAssignable(name, at: start)
    guard namespaces, skip(symbol: ".") else { return .variable(Variable(name)) }
    return .attribute(Variable(name), try expectName())
  }

  private mutating func parenthesizedTarget(namespaces: Bool) throws -> Target {
    var (items, isTuple) = ([Target](), false)
    while !current.isSymbol(")") {
      items.append(try singleTarget(namespaces: namespaces))
      guard skip(symbol: ",") else { break }
      isTuple = true
    }
    return isTuple || items.count != 1 ? .tuple(items) : items[0]
  }
}

extension Target {
  /// The same names, with slots of their own.
  func copy() -> Target {
    switch self {
    case .variable(let variable): .variable(Variable(variable.name))
    case .attribute(let variable, let name): .attribute(Variable(variable.name), name)
    case .tuple(let items): .tuple(items.map { $0.copy() })
    }
  }
}
