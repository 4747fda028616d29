/// A piece of a template's source.
struct Token: Equatable {
  enum Kind: Equatable {
    /// Text between tags, with whitespace control applied.
    case data([UInt8])
    case blockBegin
    case blockEnd
    case variableBegin
    case variableEnd
    case name(String)
    case string(String)
    case integer(Int)
    case bigInteger(String)
    case float(Double)
    case symbol(String)
    case end
  }

  let kind: Kind
  /// Its first byte in the source.
  let offset: Int

  func isSymbol(_ symbol: String) -> Bool { kind == .symbol(symbol) }
  func isName(_ name: String) -> Bool { kind == .name(name) }

  /// What an error calls it.
  var description: String {
    switch kind {
    case .data: "text"
    case .blockBegin: "'{%'"
    case .blockEnd: "'%}'"
    case .variableBegin: "'{{'"
    case .variableEnd: "'}}'"
    case .name(let name): "'\(name)'"
    case .string: "a string"
    case .integer, .bigInteger, .float: "a number"
    case .symbol(let symbol): "'\(symbol)'"
    case .end: "the end of the template"
    }
  }
}
