import EagleTensor

extension DType {
  /// The element types of GGUF tensors that can be read, with the numbers that the format gives them.
  private static let ggmlNumbers: [(type: DType, number: UInt32)] = [
    (.float32, 0), (.float16, 1), (.q4_0, 2), (.q4_1, 3), (.q5_0, 6), (.q5_1, 7), (.q8_0, 8), (.q4_K, 12), (.q5_K, 13),
    (.q6_K, 14), (.iq4_nl, 20), (.iq4_xs, 23), (.int32, 26), (.int64, 27), (.bfloat16, 30), (.mxfp4, 39),
  ]

  /// The types of a GGUF file that can be read.
  package static var ggmlTypes: [DType] { ggmlNumbers.map(\.type) }

  /// The type with this number in a GGUF file; nil for one that cannot be read.
  init?(ggml number: UInt32) {
    guard let match = Self.ggmlNumbers.first(where: { $0.number == number }) else { return nil }
    self = match.type
  }

  /// Its number in a GGUF file; nil where the format has none.
  package var ggmlNumber: UInt32? { Self.ggmlNumbers.first { $0.type == self }?.number }

  /// The name that llama.cpp prints.
  package var ggmlName: String { ggmlNumber.map { Self.ggmlName(of: $0) } ?? rawValue }

  /// The name of any type number, also of those that cannot be read here.
  static func ggmlName(of number: UInt32) -> String {
    let names: [UInt32: String] = [
      0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
      12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
      20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
      29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    ]
    return names[number] ?? "number \(number)"
  }
}
