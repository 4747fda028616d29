import Foundation

extension Python {
  /// `float()`; nil for what is no number.
  static func float(_ value: Value) -> Double? {
    guard case .string(let text) = value else { return value.number }
    let spelling = text.stripped(nil).string
    let digits = spelling.replacing("_", with: "")
    guard hasSingleUnderscores(spelling), let first = digits.unicodeScalars.first else { return nil }
    let word = digits.lowercased().drop { $0 == "-" || $0 == "+" }
    if ["inf", "infinity", "nan"].contains(String(word)), digits.count - word.count <= 1 {
      return (first == "-" ? -1 : 1) * (word == "nan" ? Double.nan : .infinity)
    }
    guard digits.utf8.allSatisfy({ "+-.eE0123456789".utf8.contains($0) }) else { return nil }
    return Double(digits)
  }

  /// Underscores are between digits, one at a time.
  private static func hasSingleUnderscores(_ spelling: String) -> Bool {
    let units = Array(spelling.utf8)
    func isDigit(_ i: Int) -> Bool { units.indices.contains(i) && (0x30...0x39).contains(units[i]) }
    return units.indices.allSatisfy { units[$0] != UInt8(ascii: "_") || isDigit($0 - 1) && isDigit($0 + 1) }
  }

  /// `int()` of a string; nil for what is no integer.
  static func integer(_ text: String, base: Int) throws -> Value? {
    guard base == 0 || (2...36).contains(base) else { return nil }
    var spelling = Text(text).stripped(nil).string
    guard spelling.utf8.count < 4000 else { return nil }
    let isNegative = spelling.hasPrefix("-")
    if isNegative || spelling.hasPrefix("+") { spelling.removeFirst() }
    var radix = base
    for (prefix, own) in [("0x", 16), ("0o", 8), ("0b", 2)]
    where spelling.lowercased().hasPrefix(prefix) && (base == own || base == 0) {
      (radix, spelling) = (own, String(spelling.dropFirst(2)))
      if spelling.hasPrefix("_") { spelling.removeFirst() }
    }
    if radix == 0 { radix = 10 }
    let units = Array(spelling.utf8)
    guard let first = units.first, first != UInt8(ascii: "_"), units.last != UInt8(ascii: "_"),
      !spelling.contains("__"),
      units.allSatisfy({ $0 == UInt8(ascii: "_") || Int(String(Unicode.Scalar($0)), radix: radix) != nil })
    else { return nil }
    let digits = String(decoding: units.filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
    if let value = Int((isNegative ? "-" : "") + digits, radix: radix) { return .int(value) }
    guard radix == 10 else { throw Fault("an integer beyond 64 bits in base \(radix) is not supported") }
    return .bigInt((isNegative ? "-" : "") + digits.drop { $0 == "0" })
  }

  /// `round()` of a float: the nearest decimal, ties to even in the exact binary value.
  static func rounded(_ value: Double, _ places: Int) -> Double {
    guard value.isFinite else { return value }
    if places < 0 {
      let power = pow(10, Double(-places))
      return (value / power).rounded(.toNearestOrEven) * power
    }
    return places > 22 ? value : Double(String(format: "%.\(places)f", value)) ?? value
  }

  /// `round()` of an integer.
  static func rounded(_ value: Int, _ places: Int) throws -> Int {
    guard places < 0 else { return value }
    guard places > -19 else { return 0 }
    var power = 1
    for _ in 0..<(-places) { power *= 10 }
    var (quotient, remainder) = value.quotientAndRemainder(dividingBy: power)
    if remainder < 0 { (quotient, remainder) = (quotient - 1, remainder + power) }
    let isUp = remainder > power - remainder || remainder == power - remainder && !quotient.isMultiple(of: 2)
    let (result, overflow) = (quotient + (isUp ? 1 : 0)).multipliedReportingOverflow(by: power)
    guard !overflow else { throw Fault("the result is beyond 64 bits, which is not supported") }
    return result
  }

  /// jinja2's `ceil` and `floor`, which divide by a power of ten.
  static func rounded(_ value: Value, _ number: Double, _ places: Int, up: Bool) throws -> Value {
    let power = pow(10, Double(places))
    let scaled = number * power
    guard scaled.isFinite else { throw Fault("'round' does not take a number that is not finite") }
    // The rounded number is an integer in Python, which has no negative zero.
    return .float((scaled.rounded(up ? .up : .down) + 0) / power)
  }
}
