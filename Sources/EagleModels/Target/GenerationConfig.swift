import EagleCore
import Foundation

/// The `generation_config.json` of a target: its author's recommendations for generating text. Every field may be
/// absent.
package struct GenerationConfig: Sendable, Equatable {
  /// The ids that end a generation, in addition to those of `config.json`.
  package private(set) var stopIDs: Set<Int32> = []
  /// Whether to sample at all (`do_sample`).
  package private(set) var isSampling: Bool?
  package private(set) var temperature: Double?
  /// 0 keeps all tokens.
  package private(set) var topK: Int?
  package private(set) var topP: Double?
  package private(set) var minP: Double?
  package private(set) var repetitionPenalty: Double?

  /// Reads the file of a model; one without it recommends nothing.
  ///
  /// - Throws: `LocatedError` for a file that is no JSON object, and by name for a value of another type or range
  package init(_ files: TextFiles, vocabularySize: Int) throws {
    let name = "generation_config.json"
    guard !files.isFolder || FileManager.default.fileExists(atPath: files.place(of: name)) else { return }
    let file = try ConfigFile(name, of: files)
    stopIDs = try Self.stopIDs(file, vocabularySize)
    isSampling = try Self.number(file, "do_sample", "true or false") { [0, 1].contains($0) }.map { $0 == 1 }
    temperature = try Self.number(file, "temperature", "0 or more") { $0 >= 0 && $0 <= 1000 }
    topP = try Self.number(file, "top_p", "above 0 and at most 1") { $0 > 0 && $0 <= 1 }
    minP = try Self.number(file, "min_p", "from 0 to below 1") { $0 >= 0 && $0 < 1 }
    repetitionPenalty = try Self.number(file, "repetition_penalty", "above 0") { $0 > 0 && $0 <= 1000 }
    let most = try Self.number(file, "top_k", "a whole number, -1 or more") {
      $0 >= -1 && $0 < 1e9 && $0 == $0.rounded()
    }
    topK = most.map { max(0, Int($0)) }
  }

  /// Whether the file says anything about how to choose tokens.
  package var hasSampling: Bool {
    isSampling != nil || topK != nil || [temperature, topP, minP, repetitionPenalty].contains { $0 != nil }
  }

  private static func stopIDs(_ file: ConfigFile, _ vocabularySize: Int) throws -> Set<Int32> {
    let key = "eos_token_id"
    guard let value = file.values[key], !(value is NSNull) else { return [] }
    let ids = value as? [NSNumber] ?? (value as? NSNumber).map { [$0] } ?? []
    let isValid = ids.allSatisfy { Int(exactly: $0.doubleValue).map((0..<vocabularySize).contains) ?? false }
    guard isValid, !ids.isEmpty || value is [Any] else {
      throw wrong(file, key, value, "a token id from 0 to \(vocabularySize - 1), or a list of these")
    }
    return Set(ids.map(\.int32Value))
  }

  private static func number(
    _ file: ConfigFile, _ key: String, _ rule: String, _ isValid: (Double) -> Bool
  ) throws -> Double? {
    guard let value = file.values[key], !(value is NSNull) else { return nil }
    guard let number = (value as? NSNumber)?.doubleValue, isValid(number) else { throw wrong(file, key, value, rule) }
    return number
  }

  private static func wrong(_ file: ConfigFile, _ key: String, _ value: Any, _ rule: String) -> LocatedError {
    LocatedError(
      path: file.path, problem: "`\(key)` is \(value), and must be \(rule)",
      advice: "download the file again, or correct it")
  }
}
