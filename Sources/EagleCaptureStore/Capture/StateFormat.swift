import EagleCore
import EagleTensor

// R rows · H width of a state · B blocks of a state.

/// The format in which a store keeps states, as recipes name it.
public enum StateFormat: String, Codable, CaseIterable, Sendable {
  case bf16
  /// 8 bits a number and a scale for each row and block of 64 numbers: 0.52 of bfloat16's bytes.
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
  public func asStored(_ states: Tensor, hiddenSize: Int) -> Tensor {
    self == .bf16 ? states : BlockInt8(states, hiddenSize: hiddenSize).dequantized()
  }
}

/// States in 8 bits: x[r, i] ≈ scale[r, block of i] · q[r, i] with q in -127...127.
///
/// A block is 64 numbers of one state, the last one of a state what is left. scale = max |x| / 127, rounded to bfloat16. A number
/// is off by half a scale or, next to the largest, by one at most.
struct BlockInt8 {
  static let blockWidth = 64

  let rows: Int
  let columns: Int
  let hiddenSize: Int
  var values: [Int8]  // [R, n · H]
  var scales: [UInt16]  // bfloat16 [R, n · B]

  static func blocks(columns: Int, hiddenSize: Int) -> Int {
    columns / hiddenSize * ((hiddenSize + blockWidth - 1) / blockWidth)
  }

  /// Of what a file holds.
  init(rows: Int, columns: Int, hiddenSize: Int, values: [Int8], scales: [UInt16]) {
    (self.rows, self.columns, self.hiddenSize) = (rows, columns, hiddenSize)
    (self.values, self.scales) = (values, scales)
  }

  /// - Parameter states: bfloat16 [R, n · H]
  init(_ states: Tensor, hiddenSize: Int) {
    precondition(states.columns % hiddenSize == 0, "\(states.shape) for states of \(hiddenSize)")
    let (rows, columns) = (states.rows, states.columns)
    let blocks = Self.blocks(columns: columns, hiddenSize: hiddenSize)
    var (values, scales) = ([Int8](repeating: 0, count: rows * columns), [UInt16](repeating: 0, count: rows * blocks))
    values.withUnsafeMutableBufferPointer { values in
      scales.withUnsafeMutableBufferPointer { scales in
        let (values, scales) = (values, scales)
        Parallel.forEachRange(rows, grain: 64) { range in
          for row in range {
            Self.forEachBlock(columns: columns, hiddenSize: hiddenSize) { block, numbers in
              let x = states.bfloats + row * columns + numbers.lowerBound
              let q = values.baseAddress! + row * columns + numbers.lowerBound
              scales[row * blocks + block] = Self.quantize(x, q, numbers.count)
            }
          }
        }
      }
    }
    self.init(rows: rows, columns: columns, hiddenSize: hiddenSize, values: values, scales: scales)
  }

  /// bfloat16 [R, n · H]
  func dequantized() -> Tensor {
    let result = Tensor([rows, columns], dtype: .bfloat16)
    let blocks = Self.blocks(columns: columns, hiddenSize: hiddenSize)
    values.withUnsafeBufferPointer { values in
      scales.withUnsafeBufferPointer { scales in
        let (values, scales) = (values, scales)
        Parallel.forEachRange(rows, grain: 64) { range in
          for row in range {
            Self.forEachBlock(columns: columns, hiddenSize: hiddenSize) { block, numbers in
              let scale = Float(bitPattern: UInt32(scales[row * blocks + block]) << 16)
              for i in numbers {
                result.bfloats[row * columns + i] = Self.bfloat16(scale * Float(values[row * columns + i]))
              }
            }
          }
        }
      }
    }
    return result
  }

  private static func forEachBlock(columns: Int, hiddenSize: Int, _ body: (Int, Range<Int>) -> Void) {
    var block = 0
    for state in stride(from: 0, to: columns, by: hiddenSize) {
      for first in stride(from: state, to: state + hiddenSize, by: blockWidth) {
        body(block, first..<min(first + blockWidth, state + hiddenSize))
        block += 1
      }
    }
  }

  /// Writes the block's numbers and returns its scale.
  private static func quantize(_ x: UnsafePointer<UInt16>, _ q: UnsafeMutablePointer<Int8>, _ count: Int) -> UInt16 {
    func value(_ i: Int) -> Float { Float(bitPattern: UInt32(x[i]) << 16) }
    var largest: Float = 0
    for i in 0..<count {
      guard value(i).isFinite else {
        // A scale that is no number makes the whole block none, for the trainer to notice.
        for j in 0..<count { q[j] = 1 }
        return 0x7FC0
      }
      largest = max(largest, abs(value(i)))
    }
    let bits = bfloat16(largest / 127)
    let scale = Float(bitPattern: UInt32(bits) << 16)
    let inverse = scale > 0 ? 1 / scale : 0
    for i in 0..<count { q[i] = Int8(max(-127, min(127, (value(i) * inverse).rounded()))) }
    return bits
  }

  /// To the nearest, of two the even one.
  private static func bfloat16(_ x: Float) -> UInt16 {
    if x.isNaN { return 0x7FC0 }
    let bits = x.bitPattern
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
  }
}

/// A column of states in one of the formats, being written.
final class StateColumnWriter {
  private let format: StateFormat
  private let hiddenSize: Int
  private let plain: HDF5Dataset<UInt16>?  // [N, n · H]
  private let quantized: HDF5Dataset<Int8>?  // [N, n · H]
  private let scales: HDF5Dataset<UInt16>?  // [N, n · B]

  init(_ name: String, states: Int, hiddenSize: Int, format: StateFormat, in file: HDF5File) throws {
    (self.format, self.hiddenSize) = (format, hiddenSize)
    let width = states * hiddenSize
    switch format {
    case .bf16:
      plain = try HDF5Dataset(creating: "\(name)_hidden", width: width, in: file)
      (quantized, scales) = (nil, nil)
    case .int8:
      plain = nil
      quantized = try HDF5Dataset(creating: "\(name)_hidden", width: width, in: file)
      scales = try HDF5Dataset(
        creating: "\(name)_scale", width: BlockInt8.blocks(columns: width, hiddenSize: hiddenSize), in: file)
    }
  }

  /// - Parameter states: bfloat16 [T, n · H]
  func append(_ states: Tensor) throws {
    try plain?.append(states.bfloats, rows: states.rows)
    guard let quantized, let scales else { return }
    let blocks = BlockInt8(states, hiddenSize: hiddenSize)
    try quantized.append(blocks.values)
    try scales.append(blocks.scales)
  }

  func close() throws {
    try plain?.close()
    try quantized?.close()
    try scales?.close()
  }
}

/// The same column being read, as bfloat16.
final class StateColumn: Sendable {
  private let hiddenSize: Int
  private let width: Int
  private let plain: HDF5Dataset<UInt16>?
  private let quantized: HDF5Dataset<Int8>?
  private let scales: HDF5Dataset<UInt16>?

  init(_ name: String, states: Int, _ attributes: CaptureAttributes, columns: ConversationColumns) throws {
    hiddenSize = attributes.hiddenSize
    width = states * hiddenSize
    switch attributes.format {
    case .bf16:
      plain = try HDF5Dataset(opening: "\(name)_hidden", width: width, in: columns.file)
      (quantized, scales) = (nil, nil)
    case .int8:
      plain = nil
      quantized = try HDF5Dataset(opening: "\(name)_hidden", width: width, in: columns.file)
      scales = try HDF5Dataset(
        opening: "\(name)_scale", width: BlockInt8.blocks(columns: width, hiddenSize: hiddenSize), in: columns.file)
    }
    if let plain { try columns.check(plain) }
    if let quantized { try columns.check(quantized) }
    if let scales { try columns.check(scales) }
  }

  func read(_ range: Range<Int>) throws -> Tensor {
    if let quantized, let scales {
      return BlockInt8(
        rows: range.count, columns: width, hiddenSize: hiddenSize, values: try quantized.read(range),
        scales: try scales.read(range)
      ).dequantized()
    }
    let tensor = Tensor([range.count, width], dtype: .bfloat16)
    try plain?.read(range, to: tensor.bfloats)
    return tensor
  }
}
