import EagleCore
import EagleTensor

/// The format in which a store keeps states, as recipes name it.
public enum StateFormat: String, Codable, CaseIterable, Sendable {
  /// bfloat16, 2 bytes an element.
  case bf16
  /// 8 bits an element and a scale for each token and block of 64 elements: 0.52 of bfloat16's bytes.
  case int8

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  /// The format whose name in files is `dtype`; nil for another name.
  init?(dtype: String) {
    guard let format = Self.allCases.first(where: { $0.dtype == dtype }) else { return nil }
    self = format
  }

  /// The name of the format in files.
  var dtype: String { self == .bf16 ? "bfloat16" : rawValue }

  /// What a reader will get for bfloat16 states [R, n · H].
  package func asStored(_ states: Tensor, hiddenSize: Int) -> Tensor {
    self == .bf16 ? states : BlockInt8(states, hiddenSize: hiddenSize).dequantized()
  }
}
