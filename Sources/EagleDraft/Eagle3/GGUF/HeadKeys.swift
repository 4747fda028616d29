import EagleCore
import EagleStorage

/// The metadata of a head's GGUF file, read key by key with errors that name the file and the key.
struct HeadKeys {
  static let architecture = "general.architecture"

  let file: GGUFFile

  /// - Throws: `LocatedError` that says what the file is, unless it is an EAGLE-3 head
  init(_ file: GGUFFile) throws {
    self.file = file
    let architecture = try file.string(Self.architecture)
    guard architecture == HeadNames.architecture else {
      throw LocatedError(
        path: file.path, problem: "is a model of the architecture `\(architecture)` and no EAGLE-3 head (`eagle3`)",
        advice: "name the file of a head; a target belongs to --target")
    }
  }

  func name(_ key: String) -> String { "\(HeadNames.architecture).\(key)" }

  func contains(_ key: String) -> Bool { file.contains(key: name(key)) }

  /// A size or a count: a whole number from 1 to 2^30.
  func size(_ key: String) throws -> Int {
    let value = try file.int(name(key))
    guard 1...(1 << 30) ~= value else { throw wrong(key, "must be from 1 to \(1 << 30)") }
    return value
  }

  func sizeIfPresent(_ key: String) throws -> Int? { contains(key) ? try size(key) : nil }

  /// A finite number.
  func number(_ key: String) throws -> Double {
    let value = try file.float(name(key))
    guard value.isFinite else { throw wrong(key, "must be a finite number") }
    return value
  }

  func textIfPresent(_ key: String) throws -> String? { contains(key) ? try file.string(name(key)) : nil }

  func wrong(_ key: String, _ rule: String) -> LocatedError {
    let value = file.metadata[name(key)].map { $0.int.map(String.init) ?? $0.float.map { "\($0)" } ?? "another" } ?? ""
    return LocatedError(
      path: file.path, problem: "`\(name(key))` is \(value), and \(rule)",
      advice: "the file is damaged: copy or export it again")
  }

  func refuse(_ key: String, _ variant: String) -> LocatedError {
    LocatedError(
      path: file.path, problem: "`\(name(key))` asks for \(variant): this program does not compute that",
      advice: "use a head whose metadata llama.cpp's converter writes")
  }

  /// A switch; false where it is not there.
  func flag(_ key: String) throws -> Bool { contains(key) ? try file.bool(name(key)) : false }

  /// Throws, by name, for a key of attention, experts or the rotary embedding that is not read: ignoring it would
  /// compute something else than the head's author meant.
  func refuseUnknown() throws {
    let unknown = file.metadata.keys.sorted().first { key in
      Self.groups.contains { key.hasPrefix(name($0)) } && !Self.known.contains { key == name($0) }
    }
    guard let unknown else { return }
    throw LocatedError(
      path: file.path, problem: "has the key `\(unknown)`, which this program does not compute",
      advice: "use a head whose metadata llama.cpp's converter writes")
  }

  private static let groups = ["attention.", "rope.", "expert"]
  private static let known = [
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "attention.layer_norm_rms_epsilon", "attention.causal", "rope.dimension_count", "rope.freq_base",
    "rope.scaling.type", "rope.scaling.factor",
  ]
}
