/// The rules by which requests are read: the models that are served, and the values that a field may hold.
package struct RequestRules: Sendable {
  /// The names of the model; responses carry the first.
  package var names: [String]
  /// Whether any other name is accepted too.
  package var takesAnyName = false
  /// Whether an unknown field is an error. Otherwise it is ignored and named in the response.
  package var isStrict = false
  /// The exclusive upper bound of token ids.
  package var vocabularySize: Int
  /// The sampling of a request that does not specify it.
  package var sampling = ServerConfig.standardSampling
  /// The maximum number of prompts of one request.
  package var maxPrompts = 32

  package init(names: [String], vocabularySize: Int) {
    precondition(!names.isEmpty, "a model without a name")
    (self.names, self.vocabularySize) = (names, vocabularySize)
  }

  /// - Throws: `APIError` for a model that is not served; a missing or empty name selects the served model
  func check(model: String?) throws {
    guard let model, !model.isEmpty, !takesAnyName, !names.contains(model) else { return }
    throw APIError.unknownModel(model, served: names)
  }

  func isToken(_ id: Int) -> Bool { (0..<vocabularySize).contains(id) }
}
