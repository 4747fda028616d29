import EagleCore
import Foundation

/// A `config.json`, read key by key with errors that name the file and the key.
package struct ConfigFile {
  package let path: String
  package let values: [String: Any]

  package init(path: String, values: [String: Any]) { (self.path, self.values) = (path, values) }

  package init(path: String) throws {
    try self.init(FilePath(path).name, of: TextFiles(folder: FilePath(path).parent), path: path)
  }

  /// Reads a text file of a model.
  package init(_ name: String, of files: TextFiles) throws {
    try self.init(name, of: files, path: files.place(of: name))
  }

  private init(_ name: String, of files: TextFiles, path: String) throws {
    self.path = path
    guard let data = files.content(name) else {
      throw LocatedError(path: path, problem: "cannot be read", advice: "name a Hugging Face model folder")
    }
    guard let values = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
      throw LocatedError(path: path, problem: "is not a JSON object", advice: "download it again")
    }
    self.values = values
  }

  /// The largest size. A product of two of them fits 64 bits.
  private static let largestSize = 1 << 30

  /// A size or a count: a whole number from 1 to 2^30.
  package func integer(_ key: String) throws -> Int {
    guard let number = values[key] as? NSNumber else { throw missing(key, "a number") }
    guard let value = Int(exactly: number.doubleValue), 1...Self.largestSize ~= value else {
      throw LocatedError(
        path: path, problem: "`\(key)` is \(number), and must be a whole number from 1 to \(Self.largestSize)",
        advice: "download the model's config again")
    }
    return value
  }

  /// A whole number from 0 to 2^30; nil where there is none.
  package func countIfPresent(_ key: String) throws -> Int? {
    if isAbsent(key) { return nil }
    return (values[key] as? NSNumber)?.doubleValue == 0 ? 0 : try integer(key)
  }

  package func integerIfPresent(_ key: String) throws -> Int? {
    isAbsent(key) ? nil : try integer(key)
  }

  package func number(_ key: String) throws -> Double {
    guard let value = (values[key] as? NSNumber)?.doubleValue else { throw missing(key, "a number") }
    return value
  }

  package func text(_ key: String) throws -> String {
    guard let value = values[key] as? String else { throw missing(key, "a text") }
    return value
  }

  package func flag(_ key: String) -> Bool { (values[key] as? NSNumber)?.boolValue ?? false }

  /// A token id, or the ids of a list; empty when there is none.
  package func tokenIDs(_ key: String) throws -> [Int32] {
    guard let value = values[key], !(value is NSNull) else { return [] }
    return try (value as? [Any] ?? [value]).map { number in
      if let id = (number as? NSNumber).flatMap({ Int32(exactly: $0.doubleValue) }) { return id }
      throw LocatedError(
        path: path, problem: "`\(key)` holds \(number), which is no token id",
        advice: "download the model's config again")
    }
  }

  package func isAbsent(_ key: String) -> Bool { values[key] == nil || values[key] is NSNull }

  /// An error that names a key and its value.
  package func wrong(_ key: String, _ rule: String, advice: String = "download the model's config again")
    -> LocatedError
  {
    let value = values[key].map { $0 is [Any] || $0 is [String: Any] ? "" : " is \($0), and" } ?? " is missing:"
    return LocatedError(path: path, problem: "`\(key)`\(value) \(rule)", advice: advice)
  }

  package func refuse(_ what: String) -> LocatedError {
    LocatedError(
      path: path, problem: "asks for \(what), which this program does not compute", advice: "use another model")
  }

  private func missing(_ key: String, _ kind: String) -> LocatedError {
    LocatedError(path: path, problem: "`\(key)` is missing or not \(kind)", advice: "download the model's config again")
  }
}
