import Foundation

extension Renderer {
  /// A call as it is in the source; a call block passes its body as `caller`.
  func call(_ callee: Expression, _ arguments: Arguments, caller: Value?) throws -> Value {
    // A method is called without making a value of it.
    if case .attribute(let of, let attribute) = callee.kind {
      let receiver = try evaluate(of)
      if let method = method(attribute.name, of: receiver) {
        let given = try evaluate(arguments, caller)
        return try call(method, of: receiver, given)
      }
      return try call(try self.attribute(attribute, of: receiver), try evaluate(arguments, caller))
    }
    let function = try evaluate(callee)
    return try call(function, try evaluate(arguments, caller))
  }

  private func evaluate(_ arguments: Arguments, _ caller: Value?) throws -> CallArguments {
    var given = try evaluate(arguments)
    if let caller {
      guard !given.named.contains(where: { $0.name == "caller" }) else {
        throw Fault("the argument 'caller' is given twice")
      }
      given.named.append(("caller", caller))
    }
    return given
  }

  private enum Method {
    case string(StringMethod)
    case other(String)
  }

  private func method(_ name: String, of receiver: Value) -> Method? {
    switch receiver {
    case .string: return StringMethod(rawValue: name).map { .string($0) }
    case .dict:
      return ["get", "items", "keys", "values", "copy"].contains(name) ? .other(name) : nil
    default: return nil
    }
  }

  private func call(_ method: Method, of receiver: Value, _ arguments: CallArguments) throws -> Value {
    if case .string(let method) = method, case .string(let text) = receiver {
      return try call(method, of: text, arguments)
    }
    guard case .other(let name) = method, case .dict(let dict) = receiver else { return .none }
    return try call(name, of: dict, arguments)
  }

  func call(_ function: Value, _ arguments: CallArguments) throws -> Value {
    switch function {
    case .macro(let macro): return .string(try call(macro, arguments))
    case .function(let function): return try call(function, arguments)
    case .method(let method): return try call(method, arguments)
    case .joiner(let joiner):
      _ = try arguments.bound(to: [], of: "joiner")
      return joiner.next()
    case .loop(let loop):
      guard let recursion = loop.recursion else { throw Fault("only a loop marked 'recursive' can be called") }
      let sequence = try arguments.bound(to: ["iterable"], required: 1, of: "loop")[0] ?? .none
      return .string(
        try recurse(recursion.loop, over: sequence, around: recursion.activation, depth0: loop.depth0 + 1))
    case .undefined(let name): throw Fault("\(name ?? "a variable") is undefined and cannot be called")
    default: throw Fault("a \(function.type) cannot be called")
    }
  }

  // MARK: macros

  func call(_ macro: Macro, _ arguments: CallArguments) throws -> Text {
    let values = try bind(arguments, to: macro.definition)
    let caller = activation
    activation = Activation(macro.definition.function, parent: macro.activation)
    defer { activation = caller }
    return try capture {
      try enter(macro.definition.frame)
      for (variable, value) in values { set(variable, to: value ?? .undefined(nil)) }
      for (parameter, given) in zip(macro.definition.parameters, values) where given.value == nil {
        let value = try parameter.fallback.map(evaluate)
        set(parameter.variable, to: value ?? .undefined("the parameter '\(parameter.variable.name)'"))
      }
      _ = try execute(macro.definition.body)
    }
  }

  /// The parameters with their values, nil for those that are not given, and after them the special names.
  private func bind(
    _ arguments: CallArguments, to macro: MacroDefinition
  ) throws -> [(variable: Variable, value: Value?)] {
    let name = macro.name.map { "macro '\($0)'" } ?? "the body of a call block"
    let count = macro.parameters.count
    var named = arguments.named
    func take(_ name: String) -> Value? {
      named.firstIndex { $0.name == name }.map { named.remove(at: $0).value }
    }
    var bound: [(variable: Variable, value: Value?)] = []
    for (i, parameter) in macro.parameters.enumerated() {
      let given = i < arguments.positional.count ? arguments.positional[i] : take(parameter.variable.name)
      bound.append((parameter.variable, given))
    }
    if let caller = macro.caller {
      bound.append((caller, take("caller").unlessNone ?? .undefined("the 'caller' of \(name)")))
    }
    if let rest = macro.namedRest {
      bound.append((rest, .dict(try DictValue(named.map { (.text($0.name), $0.value) }, meter))))
    } else if let first = named.first {
      throw Fault("\(name) takes no argument '\(first.name)'")
    }
    if let rest = macro.rest {
      bound.append((rest, try .tuple(Array(arguments.positional.dropFirst(count)))))
    } else if arguments.positional.count > count {
      throw Fault("\(name) takes at most \(count) arguments, not \(arguments.positional.count)")
    }
    return bound
  }

  // MARK: methods

  private func call(_ method: BoundMethod, _ arguments: CallArguments) throws -> Value {
    switch method.receiver {
    case .string(let text):
      guard let name = StringMethod(rawValue: method.name) else { break }
      return try call(name, of: text, arguments)
    case .dict(let dict): return try call(method.name, of: dict, arguments)
    case .list(let list), .tuple(let list): return try call(method.name, of: list, arguments)
    case .loop(let loop): return try call(method.name, of: loop, arguments)
    case .cycler(let cycler):
      _ = try arguments.bound(to: [], of: method.name)
      if method.name == "next" { return cycler.next() }
      cycler.reset()
      return .none
    default: break
    }
    throw Fault("'\(method.name)' is not supported")
  }

  private func call(_ name: String, of dict: DictValue, _ arguments: CallArguments) throws -> Value {
    if name == "get" {
      guard arguments.named.isEmpty else { throw Fault("'get' takes no named arguments") }
      let bound = try arguments.bound(to: ["key", "default"], required: 1, of: name)
      return dict[try meter.key(of: bound[0] ?? .none)] ?? bound[1] ?? .none
    }
    guard name != "fromkeys" else { throw Fault("'fromkeys' is not supported") }
    _ = try arguments.bound(to: [], of: name)
    return DictView.Part(rawValue: name).map { .view(DictView(dict: dict, part: $0)) } ?? .dict(dict)
  }

  private func call(_ name: String, of list: ListValue, _ arguments: CallArguments) throws -> Value {
    if name == "copy" {
      _ = try arguments.bound(to: [], of: name)
      return .list(list)
    }
    guard arguments.named.isEmpty else { throw Fault("'\(name)' takes no named arguments") }
    let bound = try arguments.bound(to: ["value"] + (name == "index" ? ["start", "stop"] : []), required: 1, of: name)
    let wanted = bound[0] ?? .none
    if name == "count" { return .int(try list.items.count { try meter.areEqual($0, wanted) }) }
    func place(_ i: Int) -> Int { min(max(i < 0 ? i + list.items.count : i, 0), list.items.count) }
    let start = try place(bound[1]?.requireInteger("'index'") ?? 0)
    let stop = try place(bound[2]?.requireInteger("'index'") ?? list.items.count)
    let found = try list.items.indices.first { try $0 >= start && $0 < stop && meter.areEqual(list.items[$0], wanted) }
    guard let found else { throw Fault("'index': the value is not in the list") }
    return .int(found)
  }

  private func call(_ name: String, of loop: LoopContext, _ arguments: CallArguments) throws -> Value {
    guard arguments.named.isEmpty else { throw Fault("'\(name)' takes no named arguments") }
    if name == "changed" { return .bool(try loop.changed(arguments.positional, meter)) }
    guard !arguments.positional.isEmpty else { throw Fault("'cycle' needs at least one argument") }
    return arguments.positional[loop.index0 % arguments.positional.count]
  }

  // MARK: functions

  private func call(_ function: Function, _ arguments: CallArguments) throws -> Value {
    switch function {
    case .raise_exception:
      let message = try arguments.bound(to: ["message"], required: 1, of: function.rawValue)[0] ?? .none
      throw Fault.raised(try meter.text(of: message).string)
    case .strftime_now:
      let format = try arguments.bound(to: ["format"], required: 1, of: function.rawValue)[0] ?? .none
      return .text(try TimeFormat.format(try format.requireText("'strftime_now'").string, now))
    case .range: return .range(try range(arguments))
    case .dict: return .dict(try dict(arguments))
    case .namespace:
      let namespace = Namespace()
      register(namespace)
      for (key, value) in try dict(arguments).entries {
        try namespace.set(try key.requireText("'namespace'").string, to: value)
      }
      return .namespace(namespace)
    case .cycler:
      guard arguments.named.isEmpty, !arguments.positional.isEmpty else { throw Fault("'cycler' needs items") }
      return .cycler(try Cycler(arguments.positional))
    case .joiner:
      let separator = try arguments.bound(to: ["sep"], of: function.rawValue)[0] ?? .text(", ")
      return .joiner(Joiner(separator))
    }
  }

  private func range(_ arguments: CallArguments) throws -> RangeValue {
    guard arguments.named.isEmpty, (1...3).contains(arguments.positional.count) else {
      throw Fault("'range' takes one to three integers")
    }
    let numbers = try arguments.positional.map { try $0.requireInteger("'range'") }
    let step = numbers.count > 2 ? numbers[2] : 1
    guard step != 0 else { throw Fault("the step of 'range' is 0") }
    let range = try numbers.count == 1 ? RangeValue(0, numbers[0], 1) : RangeValue(numbers[0], numbers[1], step)
    // The sandbox's own limit.
    guard range.count <= 100_000 else { throw Fault("'range' has more than 100000 numbers") }
    return range
  }

  private func dict(_ arguments: CallArguments) throws -> DictValue {
    guard arguments.positional.count <= 1 else { throw Fault("'dict' takes at most one argument by position") }
    var entries: [(Value, Value)] = []
    if case .dict(let dict)? = arguments.positional.first {
      entries = dict.entries
    } else if let pairs = arguments.positional.first {
      for pair in try items(of: pairs) {
        let items = try items(of: pair)
        guard items.count == 2 else { throw Fault("'dict' needs pairs") }
        entries.append((items[0], items[1]))
      }
    }
    return try DictValue(entries + arguments.named.map { (.text($0.name), $0.value) }, meter)
  }
}
