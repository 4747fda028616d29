import EagleCore
import Foundation

extension Recipe {
  /// Reads a recipe file over the defaults, and applies the overrides to the result.
  ///
  /// - Parameters:
  ///   - path: the YAML file.
  ///   - overrides: `key=value` each, the key with its section and the value as YAML: `train.epochs=2`,
  ///     `capture.layers=[1, 14, 26]`.
  /// - Throws: `RecipeError` naming the file and line, or the override, and the key.
  public static func load(path: String, overrides: [String] = []) throws -> Recipe {
    try parse(readText(path), path: path, overrides: overrides)
  }

  /// Reads a recipe from text, as `load` does from a file; `path` is its name in errors.
  public static func parse(_ yaml: String, path: String, overrides: [String] = []) throws -> Recipe {
    var tree = try RecipeTree(defaults: Recipe())
    try tree.overlay(yaml: yaml, path: path)
    for override in overrides { try tree.overlay(override: override) }
    let recipe = try tree.decode()
    do {
      try recipe.validate()
    } catch let error as ConfigError {
      throw RecipeError(at: tree.location(of: error.key, in: path), error.description)
    }
    return recipe
  }

  private static func readText(_ path: String) throws -> String {
    let bytes: Data
    do {
      bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "no such recipe file"
      throw RecipeError(at: path, reason)
    }
    guard let text = String(data: bytes, encoding: .utf8) else {
      throw RecipeError(at: path, "is not UTF-8 text; a recipe is a YAML file")
    }
    return text
  }
}
