import Foundation
import Yams

/// The keys of a recipe with their values: the defaults, and the values that have replaced them so far.
///
/// The encoding of the defaults defines the keys, so the types are the only list of keys.
struct RecipeTree {
  private var root: Node
  /// The location of each value that is not a default, by full key.
  private var origins: [String: String] = [:]

  /// Keys whose default is null, by full name: their values may be set to null.
  private let nullable: Set<String>

  /// Sections whose keys the user chooses.
  private static let openSections: Set<String> = ["evaluate.benchmarks", "data.chat_template_options"]

  init(defaults: Recipe) throws {
    root = try Yams.compose(yaml: defaults.canonicalText) ?? Node([(Node, Node)]())
    nullable = Self.nullKeys(of: root, "")
  }

  private static func nullKeys(of node: Node, _ key: String) -> Set<String> {
    guard case .mapping(let section) = node else { return node.null == nil ? [] : [key] }
    return section.reduce(into: []) { keys, entry in
      keys.formUnion(nullKeys(of: entry.value, (key.isEmpty ? "" : key + ".") + (entry.key.string ?? "")))
    }
  }

  /// Replaces the values of the keys that a file contains.
  mutating func overlay(yaml: String, path: String) throws {
    guard let node = try compose(yaml, path: path) else {
      throw RecipeError(at: path, "is empty; recipes/README.md describes the keys of a recipe")
    }
    root = try merged(root, with: node, key: "") { line in line.map { "\(path):\($0)" } ?? path }
  }

  /// Replaces the value of one `key=value`.
  mutating func overlay(override: String) throws {
    let location = "--set \(override)"
    guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
      throw RecipeError(at: location, "expected key=value, for example train.epochs=2")
    }
    let keys = override[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard let value = try compose(String(override[override.index(after: equals)...]), path: location) else {
      throw RecipeError(at: location, "has no value; write null for none")
    }
    let node = keys.reversed().reduce(value) { inner, key in Node([(Node(key), inner)]) }
    root = try merged(root, with: node, key: "", replaced: keys.joined(separator: ".")) { _ in location }
  }

  /// The recipe of the tree.
  func decode() throws -> Recipe {
    do {
      return try YAMLDecoder().decode(Recipe.self, from: root)
    } catch let error as DecodingError {
      throw explained(error)
    }
  }

  /// The location of the value of a key; `path` if it is a default.
  func location(of key: String, in path: String) -> String {
    var key = key[...]
    while !key.isEmpty {
      if let origin = origins[String(key)] { return origin }
      key = key.lastIndex(of: ".").map { key[..<$0] } ?? ""
    }
    return path
  }

  private func compose(_ yaml: String, path: String) throws -> Node? {
    try RecipeAliases.check(yaml, path: path)
    do {
      return try Yams.compose(yaml: yaml)
    } catch let error as YamlError {
      throw RecipeError(error, path: path)
    }
  }
}

// MARK: - Merging

extension RecipeTree {
  /// `base` with every key of `node` replaced.
  ///
  /// - Parameters:
  ///   - key: full key of `base`, empty at the root.
  ///   - replaced: the open section with this key is replaced instead of merged.
  private mutating func merged(
    _ base: Node, with node: Node, key: String, replaced: String? = nil, location: (_ line: Int?) -> String
  ) throws -> Node {
    let here = location(node.mark?.line)
    guard case .mapping(var section) = base else {
      origins[key] = here
      if isNull(node) && !nullable.contains(key) { throw RecipeError(at: here, "\(key) has no value") }
      return node
    }
    guard case .mapping(let entries) = node else {
      let name = key.isEmpty ? "a recipe" : key
      throw RecipeError(at: here, "\(name) must be a section (key: value), not \(described(node))")
    }
    if key == replaced, Self.openSections.contains(key) { section = Node.Mapping([]) }
    for (name, value) in entries {
      let full = key.isEmpty ? (name.string ?? "") : "\(key).\(name.string ?? "")"
      if let known = section[name] {
        section[name] = try merged(known, with: value, key: full, replaced: replaced, location: location)
      } else {
        guard Self.openSections.contains(key) else {
          throw RecipeError(at: location(name.mark?.line), unknown(full, in: section))
        }
        origins[full] = location(name.mark?.line)
        section[name] = value
      }
    }
    return .mapping(section)
  }

  private func isNull(_ node: Node) -> Bool { node.null != nil }

  private func unknown(_ key: String, in section: Node.Mapping) -> String {
    let prefix = key.lastIndex(of: ".").map { String(key[...$0]) } ?? ""
    let siblings = section.keys.compactMap(\.string).sorted().map { prefix + $0 }
    let nearest = NearestKey.find(for: key, siblings: siblings, all: allKeys(of: root, under: ""))
    if let nearest { return "unknown key \(key); did you mean \(nearest)?" }
    return "unknown key \(key); known here: \(siblings.joined(separator: ", "))"
  }

  private func allKeys(of node: Node, under prefix: String) -> [String] {
    guard case .mapping(let section) = node else { return [] }
    return section.flatMap { name, value in
      let key = prefix + (name.string ?? "")
      return [key] + allKeys(of: value, under: key + ".")
    }
  }
}

// MARK: - Messages for decoding errors

extension RecipeTree {
  private func explained(_ error: DecodingError) -> RecipeError {
    switch error {
    case .typeMismatch(let type, let context):
      let found = node(at: context.codingPath).map(described) ?? "nothing"
      return located(context, "must be \(words(for: type)), not \(found)")
    case .dataCorrupted(let context), .valueNotFound(_, let context), .keyNotFound(_, let context):
      return located(context, context.debugDescription)
    @unknown default:
      return RecipeError(at: "recipe", "\(error)")
    }
  }

  private func located(_ context: DecodingError.Context, _ problem: String) -> RecipeError {
    let key = context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    return RecipeError(at: location(of: key, in: "recipe"), "\(key) \(problem)")
  }

  private func node(at path: [any CodingKey]) -> Node? {
    path.reduce(Optional(root)) { node, key in
      switch node {
      case .mapping(let section): section[key.stringValue]
      case .sequence(let items): key.intValue.flatMap { items.indices.contains($0) ? items[$0] : nil }
      default: nil
      }
    }
  }

  private func described(_ node: Node) -> String {
    switch node {
    case .scalar(let scalar): isNull(node) ? "empty" : "'\(scalar.string)'"
    case .sequence: "a list"
    case .mapping: "a section"
    case .alias: "an alias"
    }
  }

  private func words(for type: Any.Type) -> String {
    switch type {
    case is Double.Type: "a number"
    case is UInt64.Type: "a whole number, 0 or more"
    case is Int.Type: "a whole number"
    case is Node.Sequence.Type: "a list"
    case is Node.Mapping.Type: "a section (key: value)"
    default: "a single value"
    }
  }
}
