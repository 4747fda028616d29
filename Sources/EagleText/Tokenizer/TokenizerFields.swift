import EagleCore

/// The fields of an object in a tokenizer.json, each read as the kind of value that it must be.
struct TokenizerFields {
  let object: JSON.Object
  /// What the object is, for errors: `added_tokens[3]`, the document itself when empty.
  let place: String

  init(_ object: JSON.Object, place: String = "") { (self.object, self.place) = (object, place) }

  init(_ value: JSON, place: String) throws {
    guard let object = value.object else { throw TextError("at \(place): expected an object, found \(value.kind)") }
    self.init(object, place: place)
  }

  /// The value of a field, nil when it is missing or null.
  func value(_ key: String) -> JSON? {
    guard let value = object[key], !value.isNull else { return nil }
    return value
  }

  func string(_ key: String) throws -> String? {
    try value(key).map { try read($0.string, key, "a string", $0) }
  }

  func bool(_ key: String) throws -> Bool? {
    try value(key).map { try read($0.bool, key, "true or false", $0) }
  }

  func int(_ key: String) throws -> Int? { try value(key).map { try read($0.int, key, "a whole number", $0) } }

  func double(_ key: String) throws -> Double? { try value(key).map { try read($0.double, key, "a number", $0) } }

  func list(_ key: String) throws -> [JSON]? { try value(key).map { try read($0.array, key, "a list", $0) } }

  func fields(_ key: String) throws -> TokenizerFields? {
    try value(key).map { TokenizerFields(try read($0.object, key, "an object", $0), place: path(key)) }
  }

  /// The objects of a list.
  func objects(_ key: String) throws -> [TokenizerFields]? {
    try list(key)?.enumerated().map { try TokenizerFields($1, place: "\(path(key))[\($0)]") }
  }

  /// A field that must be there.
  func required<Value>(_ key: String, _ value: Value?) throws -> Value {
    guard let value else { throw TextError("\(place.isEmpty ? "" : "at \(place): ")the field \"\(key)\" is missing") }
    return value
  }

  func path(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

  private func read<Value>(_ value: Value?, _ key: String, _ expected: String, _ found: JSON) throws -> Value {
    guard let value else { throw TextError("at \(path(key)): expected \(expected), found \(found.kind)") }
    return value
  }
}
