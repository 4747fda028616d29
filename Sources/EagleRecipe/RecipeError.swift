import Yams

/// The reason why a recipe cannot be used: the location, the key, what is wrong and what would be right, in one line.
public struct RecipeError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The line: location, key, problem and advice.
  public let description: String

  /// - Parameter location: `file:line`, `file`, or the override as it was given.
  package init(at location: String, _ problem: String) {
    description = "\(location): \(problem)"
  }

  /// Converts a syntax error of the YAML library.
  package init(_ error: YamlError, path: String) {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      self.init(at: "\(path):\(mark.line)", "no valid YAML: \(problem), at column \(mark.column)")
    case .duplicatedKeysInMapping(let keys, let context):
      let names = keys.sorted().map { "'\($0)'" }.joined(separator: ", ")
      self.init(at: "\(path):\(context.mark.line)", "the section that begins here has a key twice: \(names)")
    default:
      self.init(at: path, "no valid YAML: \(error)")
    }
  }
}
