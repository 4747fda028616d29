/// The evaluated arguments of a call.
struct CallArguments {
  var positional: [Value] = []
  var named: [(name: String, value: Value)] = []

  static let none = CallArguments()

  var isEmpty: Bool { positional.isEmpty && named.isEmpty }

  /// The arguments by the names of the parameters, in order, nil where one is not given.
  ///
  /// - Throws: for an argument without a parameter, one that is given twice, and a missing one of the first `required`
  func bound(to parameters: [String], required: Int = 0, of function: String) throws -> [Value?] {
    guard positional.count <= parameters.count else {
      throw Fault("'\(function)' takes at most \(parameters.count) arguments, not \(positional.count)")
    }
    var values: [Value?] = positional.map { $0 }
    values += Array(repeating: nil, count: parameters.count - positional.count)
    for (name, value) in named {
      guard let index = parameters.firstIndex(of: name) else {
        throw Fault("'\(function)' has no argument '\(name)'")
      }
      guard values[index] == nil else { throw Fault("'\(function)' gets its argument '\(name)' twice") }
      values[index] = value
    }
    for index in 0..<required where values[index] == nil {
      throw Fault("'\(function)' needs its argument '\(parameters[index])'")
    }
    return values
  }
}

extension Value {
  /// The text that a function needs.
  func requireText(_ what: String) throws -> Text {
    switch self {
    case .string(let text): return text
    case .undefined(let name): throw Fault.undefined(name)
    default: throw Fault("\(what) needs a string, not \(type)")
    }
  }

  func requireInteger(_ what: String) throws -> Int {
    if let integer { return integer }
    if case .undefined(let name) = self { throw Fault.undefined(name) }
    throw Fault("\(what) needs an integer, not \(type)")
  }
}

extension Value? {
  /// The value, without one that is None.
  var unlessNone: Value? {
    switch self {
    case .some(.none), nil: nil
    case .some(let value): value
    }
  }
}
