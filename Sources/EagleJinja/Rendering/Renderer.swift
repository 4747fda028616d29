import EagleCore
import Foundation

/// One rendering of a template.
final class Renderer {
  let meter: Meter
  let now: Date
  private let variables: JSON.Object
  private let trusted: JSON.Object
  private var resolved: [String: Value] = [:]
  var activation: Activation
  var output = TextBuilder()
  /// Objects that can refer to themselves; they are emptied at the end.
  private var namespaces: [Namespace] = []
  private var captured: [Activation] = []

  init(_ layout: FunctionLayout, _ input: RenderInput) {
    (variables, trusted, now) = (input.variables, input.trusted, input.now)
    meter = Meter(input.limits)
    activation = Activation(layout, parent: nil)
  }

  func render(_ body: [Statement], _ frame: Frame) throws -> Text {
    defer { clear() }
    try enter(frame)
    _ = try execute(body)
    return output.text
  }

  private func clear() {
    for namespace in namespaces { namespace.clear() }
    for activation in captured { activation.slots = [] }
  }

  func register(_ namespace: Namespace) { namespaces.append(namespace) }

  /// The macro of a definition, with the variables around it.
  func makeMacro(_ definition: MacroDefinition) -> Macro {
    if !activation.isCaptured {
      activation.isCaptured = true
      captured.append(activation)
    }
    return Macro(definition, activation)
  }

  // MARK: variables

  func enter(_ frame: Frame) throws {
    for (index, start) in frame.starts {
      switch start {
      case .undefined: activation.slots[index] = .undefined(nil)
      case .alias(let slot): activation.slots[index] = value(of: slot)
      case .resolve(let name): activation.slots[index] = try variable(name)
      }
    }
  }

  func value(of slot: Slot) -> Value {
    if slot.function == activation.level { return activation.slots[slot.index] }
    return activation.owner(of: slot)?.slots[slot.index] ?? .undefined(nil)
  }

  func set(_ variable: Variable, to value: Value) {
    activation.owner(of: variable.slot)?.slots[variable.slot.index] = value
  }

  /// A variable that the caller passed, or a function.
  private func variable(_ name: String) throws -> Value {
    if let known = resolved[name] { return known }
    var value = Value.undefined(nil)
    if let given = variables[name] {
      value = try convert(given, .data)
    } else if let given = trusted[name] {
      value = try convert(given, .template)
    } else if let function = Function(rawValue: name) {
      value = .function(function)
    }
    resolved[name] = value
    return value
  }

  private func convert(_ json: JSON, _ origin: Origin) throws -> Value {
    switch json {
    case .null: return .none
    case .bool(let flag): return .bool(flag)
    case .number(let spelling): return Value(spelling)
    case .string(let text): return .string(Text(text, origin))
    case .array(let values): return try .list(values.map { try convert($0, origin) })
    case .object(let object):
      return .dict(
        try DictValue(object.entries.map { (.string(Text($0.key, origin)), try convert($0.value, origin)) }, meter))
    }
  }

  // MARK: captured output

  /// What a body renders, as a string.
  func capture(_ body: () throws -> Void) throws -> Text {
    let outer = output
    output = TextBuilder()
    defer { output = outer }
    try body()
    return output.text
  }

  func write(_ text: Text) throws {
    output.append(text)
    try meter.charge(bytes: output.count, made: text.bytes.count)
  }
}

/// What a rendering gets.
struct RenderInput {
  let variables: JSON.Object
  let trusted: JSON.Object
  let limits: RenderLimits
  let now: Date
}

extension Value {
  /// A number as JSON spells it: whole where it has neither point nor exponent, as in Python.
  init(_ spelling: String) {
    if let whole = Int(spelling) {
      self = .int(whole)
    } else if spelling.utf8.contains(where: { ".eE".utf8.contains($0) }) {
      self = .float(Double(spelling) ?? .nan)
    } else {
      self = .bigInt(spelling)
    }
  }
}
