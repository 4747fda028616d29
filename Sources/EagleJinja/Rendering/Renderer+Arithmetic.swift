import Foundation

extension Renderer {
  func negated(_ value: Value) throws -> Value {
    if let whole = value.integer {
      let (result, overflow) = (0).subtractingReportingOverflow(whole)
      guard !overflow else { throw beyond64Bits() }
      return .int(result)
    }
    if case .float(let number) = value { return .float(-number) }
    throw wrongOperand("-", value)
  }

  func positive(_ value: Value) throws -> Value {
    if let whole = value.integer { return .int(whole) }
    if case .float = value { return value }
    throw wrongOperand("+", value)
  }

  private func wrongOperand(_ operation: String, _ value: Value) -> Fault {
    if case .undefined(let name) = value { return .undefined(name) }
    return Fault("'\(operation)' needs a number, not \(value.type)")
  }

  private func beyond64Bits() -> Fault { Fault("the result is beyond 64 bits, which is not supported") }

  func calculate(_ binary: BinaryOperator, _ a: Value, _ b: Value) throws -> Value {
    switch (a, b) {
    case (.string(let text), _) where binary == .modulo:
      guard !text.isMarkup else { throw Fault("'%' of escaped or safe text is not supported") }
      return .string(try PercentFormat.format(text, b, self))
    case (.undefined(let name), _), (_, .undefined(let name)): throw Fault.undefined(name)
    case (.string(let x), .string(let y)) where binary == .add: return .string(try sum(x, y))
    case (.list(let x), .list(let y)) where binary == .add: return try .list(try sum(x.items, y.items))
    case (.tuple(let x), .tuple(let y)) where binary == .add: return try .tuple(try sum(x.items, y.items))
    case (.bigInt, _), (_, .bigInt): throw Fault("arithmetic with integers beyond 64 bits is not supported")
    default: break
    }
    if let x = a.integer, let y = b.integer { return try calculate(binary, x, y) }
    if let x = a.number, let y = b.number { return .float(try calculate(binary, x, y)) }
    if binary == .multiply {
      if let count = b.integer { return try repeated(a, count) }
      if let count = a.integer { return try repeated(b, count) }
    }
    throw Fault("'\(binary.rawValue)' does not take \(a.type) and \(b.type)")
  }

  private func sum(_ x: Text, _ y: Text) throws -> Text {
    try meter.charge(bytes: x.bytes.count + y.bytes.count)
    guard x.isMarkup || y.isMarkup else { return x + y }
    var text = x.escaped.plain + y.escaped.plain
    text.isMarkup = true
    return text
  }

  private func sum(_ x: [Value], _ y: [Value]) throws -> [Value] {
    try meter.charge(elements: x.count + y.count)
    return x + y
  }

  private func repeated(_ value: Value, _ count: Int) throws -> Value {
    let count = max(count, 0)
    switch value {
    case .string(let text):
      try meter.charge(bytes: meter.product(text.bytes.count, count))
      guard !text.isEmpty else { return .string(.empty) }
      return .string(text.repeated(count).marked(like: value))
    case .list(let list): return try .list(repeated(list.items, count))
    case .tuple(let list): return try .tuple(repeated(list.items, count))
    default: throw Fault("'*' does not take \(value.type) and int")
    }
  }

  private func repeated(_ items: [Value], _ count: Int) throws -> [Value] {
    try meter.charge(elements: meter.product(items.count, count))
    guard !items.isEmpty else { return [] }
    return Array(Array(repeating: items, count: count).joined())
  }

  private func calculate(_ binary: BinaryOperator, _ x: Int, _ y: Int) throws -> Value {
    var (result, overflow) = (0, false)
    switch binary {
    case .add: (result, overflow) = x.addingReportingOverflow(y)
    case .subtract: (result, overflow) = x.subtractingReportingOverflow(y)
    case .multiply: (result, overflow) = x.multipliedReportingOverflow(by: y)
    case .divide:
      guard y != 0 else { throw Fault("division by zero") }
      return .float(Double(x) / Double(y))
    case .floorDivide, .modulo:
      guard y != 0 else { throw Fault("division by zero") }
      guard y != -1 else { return binary == .modulo ? .int(0) : try negated(.int(x)) }
      let (quotient, remainder) = x.quotientAndRemainder(dividingBy: y)
      // The remainder has the sign of the divisor.
      let isAdjusted = remainder != 0 && (remainder < 0) != (y < 0)
      result = binary == .modulo ? remainder + (isAdjusted ? y : 0) : quotient - (isAdjusted ? 1 : 0)
    case .power:
      guard y >= 0 else { return .float(try calculate(.power, Double(x), Double(y))) }
      return .int(try power(x, y))
    }
    guard !overflow else { throw beyond64Bits() }
    return .int(result)
  }

  private func power(_ base: Int, _ exponent: Int) throws -> Int {
    if base == 0 || base == 1 { return exponent == 0 ? 1 : base }
    if base == -1 { return exponent.isMultiple(of: 2) ? 1 : -1 }
    guard exponent < 64 else { throw beyond64Bits() }
    var result = 1
    for _ in 0..<exponent {
      let (product, overflow) = result.multipliedReportingOverflow(by: base)
      guard !overflow else { throw beyond64Bits() }
      result = product
    }
    return result
  }

  private func calculate(_ binary: BinaryOperator, _ x: Double, _ y: Double) throws -> Double {
    switch binary {
    case .add: return x + y
    case .subtract: return x - y
    case .multiply: return x * y
    case .divide, .floorDivide, .modulo:
      guard y != 0 else { throw Fault("division by zero") }
      return binary == .divide ? x / y : Self.floorDivision(x, y, remainder: binary == .modulo)
    case .power:
      guard x != 0 || y >= 0 else { throw Fault("zero cannot be raised to a negative power") }
      let result = pow(x, y)
      guard !(result.isNaN && x < 0 && y.isFinite) else { throw Fault("complex numbers are not supported") }
      guard result.isFinite || !x.isFinite || !y.isFinite else { throw Fault("the result is too large") }
      return result
    }
  }

  /// Python's `divmod` of floats.
  private static func floorDivision(_ x: Double, _ y: Double, remainder wantsRemainder: Bool) -> Double {
    var remainder = fmod(x, y)
    var quotient = (x - remainder) / y
    if remainder != 0 {
      if (y < 0) != (remainder < 0) {
        remainder += y
        quotient -= 1
      }
    } else {
      remainder = y < 0 ? -0.0 : 0.0
    }
    if wantsRemainder { return remainder }
    guard quotient != 0 else { return x / y < 0 || (x / y).sign == .minus ? -0.0 : 0.0 }
    let floored = quotient.rounded(.down)
    return quotient - floored > 0.5 ? floored + 1 : floored
  }
}
