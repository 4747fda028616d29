import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// The content of a checkpoint: master weights, both moments and feature rates, if there are any, all float32, and the
/// progress of the run. It does not depend on the number of ranks that wrote it.
package struct TrainingCheckpoint {
  /// `info.json` of a checkpoint.
  package struct Info: Codable, Sendable, Equatable {
    package var step: Int
    /// Steps that have changed the weights; nil in files of older versions, in which all steps have.
    package var updates: Int?
    /// The number of consecutive skipped steps up to this one; nil for none.
    package var skippedInARow: Int?
    /// The settings that must not change within a run; nil in files of older versions, which have another format.
    package var identity: RunIdentity?
    package var targetPath: String
    package var targetFingerprint: String
    /// Positions of the target, which `target.context` can change; nil in files of older versions.
    package var targetContext: Int?
    package var draftShape: DraftDescription
    package var draftVocabulary: [Int32]

    enum CodingKeys: String, CodingKey {
      case step, updates, identity
      case skippedInARow = "skipped_in_a_row"
      case targetPath = "target_path"
      case targetFingerprint = "target_fingerprint"
      case targetContext = "target_context"
      case draftShape = "draft_shape"
      case draftVocabulary = "draft_vocabulary"
    }

    /// - Throws: for a checkpoint of an older version, which can only be exported
    package func identity(of path: String) throws -> RunIdentity {
      if let identity { return identity }
      throw LocatedError(
        path: path, problem: "the checkpoint was written by an older version, which does not say its settings",
        advice: "choose another output folder; `eagle-train export` still takes the checkpoint, for draft.init_from")
    }
  }

  private static let file = "state.safetensors"

  /// The tensors of a checkpoint by name, copied if they are small. Weights have their exported names, and moments
  /// these names with a prefix.
  package struct State: Sendable {
    let tensors: [(name: String, tensor: Tensor)]
    /// Whether the optimiser may continue during the write.
    package let isCopy: Bool

    /// The maximum size in bytes of a state that is copied. The copy of a larger state would double the memory of a
    /// step, while the wait for the disk is short compared with the steps between two checkpoints.
    package static let copiedBytes = 512 << 20

    /// - Parameters:
    ///   - optimizer: one that owns all weights
    ///   - limit: the maximum size in bytes of a state that is copied
    package init(_ optimizer: AdamW, limit: Int = copiedBytes) {
      let isCopy = 3 * 4 * optimizer.weights.count <= limit
      self.isCopy = isCopy
      func kept(_ values: Tensor) -> Tensor {
        guard isCopy else { return values }
        let copy = Tensor(values.shape)
        Elementwise.copy(values, into: copy)
        return copy
      }
      let parameters = optimizer.slices
      let second = parameters.map { optimizer.secondMoment(of: $0.range).map(kept) }
      let parts = [
        parameters.map { kept(optimizer.weights.slice($0.range)) },
        parameters.map { kept(optimizer.firstMoment.slice($0.range)) },
        Self.filledUp(second, counts: parameters.map(\.range.count)),
      ]
      var tensors: [(name: String, tensor: Tensor)] =
        optimizer.featureRates.map { [(TrainingCheckpoint.rates, $0)] } ?? []
      for (prefix, part) in zip(TrainingCheckpoint.prefixes, parts) {
        for (parameter, values) in zip(parameters, part) {
          tensors.append((prefix + parameter.name, values.reshaped(parameter.variable.shape)))
        }
      }
      self.tensors = tensors
    }

    /// The moments, with zeros for those that the optimiser does not have: slices of one tensor of zeros.
    private static func filledUp(_ moments: [Tensor?], counts: [Int]) -> [Tensor] {
      let largest = zip(moments, counts).map { $0 == nil ? $1 : 0 }.max() ?? 0
      guard largest > 0 else { return moments.compactMap { $0 } }
      let zeros = Tensor.zeros([largest])
      return zip(moments, counts).map { $0 ?? zeros.slice(0..<$1) }
    }
  }

  private static let rates = "feature_rates"
  private static let prefixes = ["", "adam.m.", "adam.v."]

  package static func write(_ state: State, _ info: Info, parent: String) throws {
    try write(info, parent: parent) { try SafetensorsWriter.write(path: $0, tensors: state.tensors) }
  }

  /// The same for moments that are sharded over the ranks: the file is written in parts as the ranks send them.
  ///
  /// - Parameter moments: all parts of both moments, in the order of the file
  static func write(_ weights: AdamW, moments: MomentBuckets, _ info: Info, parent: String) throws {
    var own: [(name: String, tensor: Tensor)] = weights.featureRates.map { [(rates, $0)] } ?? []
    own += weights.slices.map { ($0.name, weights.weights.slice($0.range).reshaped($0.variable.shape)) }
    let later = prefixes.dropFirst().flatMap { prefix in
      weights.slices.map { (name: prefix + $0.name, range: $0.range, shape: $0.variable.shape) }
    }
    let announced =
      own.map { TensorAnnouncement(name: $0.name, dtype: .float32, shape: $0.tensor.shape) }
      + later.map { TensorAnnouncement(name: $0.name, dtype: .float32, shape: $0.shape) }
    try write(info, parent: parent) { path in
      try SafetensorsWriter.write(path: path, announced: announced) { index, file in
        guard index >= own.count else { return try file.write(own[index].tensor) }
        let moment = later[index - own.count]
        try moments.read(index - own.count < weights.slices.count ? .first : .second, moment.range) {
          try file.write($0)
        }
      }
    }
  }

  private static func write(_ info: Info, parent: String, file write: (_ path: String) throws -> Void) throws {
    let data = try JSONStyle.compactEscaped.encode(info)
    try CheckpointFolder.write(parent: parent, name: CheckpointFolder.name(step: info.step), info: data) { folder in
      try write("\(folder)/\(file)")
    }
  }

  /// Loads the checkpoint into the optimiser of every rank. Only rank 0 reads the file, and each rank keeps the moments
  /// that it owns. Collective.
  ///
  /// - Parameter checkpoint: on rank 0; nil on the others
  static func load(_ checkpoint: Checkpoint?, into optimizer: AdamW, cluster: any Communicator) throws {
    let source = try checkpoint.map { try SafetensorsFile(path: $0.path(of: file)) }
    func stored(_ name: String, _ shape: [Int]) throws -> Tensor {
      let tensor = Tensor(shape)
      if let source, let checkpoint { Elementwise.copy(try find(name, shape, in: source, checkpoint), into: tensor) }
      try cluster.broadcast(tensor.rawBytes, root: 0)
      return tensor.reshaped([tensor.count])
    }
    for parameter in optimizer.slices {
      let parts = try prefixes.map { try stored($0 + parameter.name, parameter.variable.shape) }
      let first = parameter.range.lowerBound
      Elementwise.copy(parts[0], into: optimizer.weights.slice(parameter.range))
      optimizer.forEachOwned(in: parameter.range) { part, own in
        let part = part.lowerBound - first..<part.upperBound - first
        Elementwise.copy(parts[1].slice(part), into: optimizer.firstMoment.slice(own))
      }
      optimizer.forEachStepped(in: parameter.range) { part, own in
        let part = part.lowerBound - first..<part.upperBound - first
        Elementwise.copy(parts[2].slice(part), into: optimizer.secondMoment.slice(own))
      }
    }
    if optimizer.config.featureRates == .bySize {
      optimizer.featureRates = try stored(rates, [optimizer.draft.shape.featureWidth])
    }
    optimizer.weightsHaveChanged()
  }

  private static func find(
    _ name: String, _ shape: [Int], in source: SafetensorsFile, _ checkpoint: Checkpoint
  ) throws -> Tensor {
    let tensor = try source.tensor(name)
    guard tensor.shape == shape, tensor.dtype == .float32 else {
      throw LocatedError(
        path: checkpoint.path, problem: "`\(name)` has shape \(tensor.shape), and this run's draft \(shape)",
        advice: "resume with the recipe that the checkpoint was made with")
    }
    return tensor
  }

  /// The draft head of a checkpoint, for export.
  package static func draft(_ checkpoint: Checkpoint, target: TargetShape) throws -> DraftModel {
    let info = try info(checkpoint)
    let vocabulary = try DraftVocabulary(
      checking: info.draftVocabulary, targetSize: target.vocabularySize, path: checkpoint.path)
    let shape = info.draftShape.shape
    let source = try SafetensorsFile(path: checkpoint.path(of: file))
    var tensors: [String: Tensor] = [:]
    for (name, expected) in shape.tensorShapes {
      let tensor = try source.tensor(name)
      guard tensor.shape == expected else {
        throw LocatedError(
          path: checkpoint.path, problem: "`\(name)` has shape \(tensor.shape) in place of \(expected)")
      }
      tensors[name] = tensor
    }
    return DraftModel(shape: shape, vocabulary: vocabulary, tensors: tensors, trainable: false)
  }

  /// The info of the newest checkpoint of a run, without a check of its weights; nil if there is none.
  package static func newestInfo(in parent: String) throws -> (path: String, info: Info)? {
    guard let (path, data) = try CheckpointFolder.newestInfo(in: parent) else { return nil }
    return (path, try decoded(data, path))
  }

  /// The info of a checkpoint; throws if it is damaged.
  package static func info(_ checkpoint: Checkpoint) throws -> Info {
    try decoded(checkpoint.info, checkpoint.path)
  }

  private static func decoded(_ data: Data, _ path: String) throws -> Info {
    guard let info = try? JSONDecoder().decode(Info.self, from: data) else {
      throw LocatedError(path: path, problem: "is no training checkpoint", advice: "name a step folder")
    }
    return info
  }
}
