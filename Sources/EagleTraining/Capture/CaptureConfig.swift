import EagleCaptureStore
import EagleCore
import EagleDraft
import EagleModels

/// The settings of capture: which hidden states of the target training reads, and how they are stored.
public struct CaptureConfig: Config {
  /// The storage of captured states until a step needs them.
  public var mode = CaptureMode.store
  /// The decoder layers whose outputs are captured, one to eight.
  public var layers = CaptureLayers.automatic
  /// The format in which a store holds states.
  public var states = StateFormat.bf16
  /// The minimum number of tokens of one shard file; conversations are never split between shards.
  public var shardTokens = 65536
  /// Whether the ranks of all nodes share one store, or each node stores the states that it has captured on its own
  /// disk.
  public var store = CaptureSharing.shared

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks the tokens of a shard, and that one to eight increasing layers are listed.
  public func validate() throws {
    try requireCount(shardTokens, "shard_tokens")
    guard case .listed(let ids) = layers else { return }
    let isIncreasing = zip(ids, ids.dropFirst()).allSatisfy { $0 < $1 }
    try require(
      (1...8).contains(ids.count) && isIncreasing && ids[0] >= 0, "layers",
      "must be one to eight increasing layer numbers, not \(ids)")
  }

  enum CodingKeys: String, CodingKey {
    case mode
    case layers
    case states
    case shardTokens = "shard_tokens"
    case store
  }
}

/// The ranks that see the same output folder of the run.
public enum CaptureSharing: String, Codable, CaseIterable, Sendable {
  /// Every rank: one disk, or one network file system.
  case shared
  /// The ranks of one node. States on another node are sent over the network when they are needed.
  case node

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The storage of captured states until a step needs them.
public enum CaptureMode: String, Codable, CaseIterable, Sendable {
  /// HDF5 shards on disk: captured once, read in every epoch and after every restart.
  case store
  /// Memory, only during a micro-batch: each epoch runs the target again, and no state is written to disk.
  case online

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The captured layers: 0-based decoder layers, in ascending order, whose outputs are captured.
public enum CaptureLayers: Equatable, Sendable {
  /// The default layers of the draft's architecture (`DraftConfig.defaultCaptureLayers`).
  case automatic
  /// The layers with these numbers.
  case listed([Int])
}

extension CaptureLayers: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let ids = try? container.decode([Int].self) {
      self = .listed(ids)
    } else if (try? container.decode(String.self)) == "auto" {
      self = .automatic
    } else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "must be auto or one to eight layer numbers such as [1, 17, 32]")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .automatic: try container.encode("auto")
    case .listed(let ids): try container.encode(ids)
    }
  }
}

extension CaptureConfig {
  /// The 0-based decoder layers of `target` to capture for a draft head, by default one of EAGLE-3.
  public func layers(of target: TargetShape, draft: DraftConfig = DraftConfig()) -> [Int] {
    if case .listed(let ids) = layers { return ids }
    return draft.defaultCaptureLayers(of: target)
  }

  /// These settings with the layers of `target` listed.
  package func resolved(for target: TargetShape, draft: DraftConfig) -> CaptureConfig {
    var resolved = self
    resolved.layers = .listed(layers(of: target, draft: draft))
    return resolved
  }
}
