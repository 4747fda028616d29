import EagleCore
import EagleStorage

/// The architectures of draft heads.
public enum DraftArchitecture: String, Codable, CaseIterable, Sendable {
  /// Usually one decoder layer, which drafts token by token on its own states (EAGLE-3).
  case eagle3
  /// Several layers that draft a block of tokens in one pass (DFlash).
  case dflash
  /// DFlash with a Markov head, which corrects each token by the one before, and a confidence head (DSpark).
  case dspark

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  var shape: any DraftShape.Type {
    switch self {
    case .eagle3: Eagle3Shape.self
    case .dflash, .dspark: BlockShape.self
    }
  }

  /// The architecture of a head's folder: EAGLE-3 unless the config names a block drafter.
  static func ofFolder(_ path: String) throws -> any DraftShape.Type {
    BlockConfig.isBlock(folder: path) ? BlockShape.self : Eagle3Shape.self
  }

  /// The architecture of a head's file. An unknown name selects EAGLE-3, whose reader reports what the file is.
  static func ofFile(_ file: GGUFFile) throws -> any DraftShape.Type {
    let name = try file.string(HeadKeys.architecture)
    return allCases.map(\.shape).first { $0.ggufArchitecture == name } ?? Eagle3Shape.self
  }
}

/// The sizes of a head of any architecture in a file or a message: the fields of its shape, and the architecture's
/// name, which is omitted for EAGLE-3.
package struct DraftDescription: Codable, Equatable, Sendable {
  package let shape: any DraftShape

  package init(_ shape: any DraftShape) { self.shape = shape }

  private enum CodingKeys: String, CodingKey { case architecture }

  package init(from decoder: any Decoder) throws {
    let named = try decoder.container(keyedBy: CodingKeys.self)
      .decodeIfPresent(DraftArchitecture.self, forKey: .architecture)
    shape = try (named ?? .eagle3).shape.init(from: decoder)
  }

  package func encode(to encoder: any Encoder) throws {
    let name = shape.architecture
    if name != DraftArchitecture.eagle3.rawValue {
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(name, forKey: .architecture)
    }
    try shape.encode(to: encoder)
  }

  package static func == (a: DraftDescription, b: DraftDescription) -> Bool { a.shape == b.shape }
}
