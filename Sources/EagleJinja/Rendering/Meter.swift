/// The limits of a rendering. A hostile template ends with an error, not with the memory of the machine.
package struct RenderLimits: Sendable, Equatable {
  /// Evaluated nodes; 64 bytes of a string or 1 element of a list that is made count as one more.
  package var steps = 10_000_000
  /// Bytes of the output, and of any string on the way.
  package var bytes = 64 << 20
  /// Elements of any list on the way.
  package var elements = 1_000_000
  /// Nested blocks, expressions and macros that are under evaluation at once.
  package var depth = 500

  package init() {}
}

/// Counts the work of one rendering.
final class Meter {
  let limits: RenderLimits
  private(set) var steps = 0
  private var depth = 0

  init(_ limits: RenderLimits) { self.limits = limits }

  func step() throws { try charge(1) }

  func charge(_ count: Int) throws {
    steps &+= count
    guard steps <= limits.steps else { throw Fault("the template takes more than \(limits.steps) steps") }
  }

  func enter() throws {
    depth += 1
    guard depth <= limits.depth else {
      throw Fault("blocks, expressions and macros are nested more than \(limits.depth) deep")
    }
    try charge(1)
  }

  func leave() { depth -= 1 }

  /// Before a string of this many bytes is made.
  func charge(bytes: Int) throws {
    guard bytes <= limits.bytes else { throw Fault("a string has more than \(limits.bytes) bytes") }
    try charge(bytes / 64)
  }

  /// While a string grows: its bytes so far, and those that have not been charged.
  func charge(bytes: Int, made: Int) throws {
    guard bytes <= limits.bytes else { throw Fault("a string has more than \(limits.bytes) bytes") }
    if made > 64 { try charge(made / 64) }
  }

  /// Before a list of this many elements is made or read.
  func charge(elements: Int) throws {
    guard elements <= limits.elements else { throw Fault("a list has more than \(limits.elements) elements") }
    try charge(elements)
  }

  /// The product of two sizes, which may be beyond 64 bits.
  func product(_ a: Int, _ b: Int) -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? .max : product
  }
}
