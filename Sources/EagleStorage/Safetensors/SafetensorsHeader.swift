import EagleCore
import EagleTensor
import Foundation

/// The JSON at the start of a safetensors file, checked against the size of the file.
///
/// Layout: 8 bytes little-endian length n, n bytes of JSON, then the data, which the tensors cover without gap or
/// overlap.
struct SafetensorsHeader {
  let entries: [SafetensorsFile.Entry]  // in the order of the data
  let metadata: [String: String]
  /// Bytes before the data.
  let byteCount: Int

  /// Longer headers are refused, as the reference implementation does.
  private static let maximumLength = 100_000_000
  private static let advice = "the file is damaged or incomplete: copy or download it again"

  init(of file: MappedFile) throws {
    let json = try Self.json(of: file)
    byteCount = 8 + json.count
    let items: [String: Item]
    do {
      items = try JSONDecoder().decode([String: Item].self, from: Data(json))
    } catch {
      throw LocatedError(
        path: file.path, problem: "the safetensors header is not valid: \(Self.reason(error))", advice: Self.advice)
    }
    metadata = try Self.metadata(in: items, path: file.path)
    entries = try items.compactMap { name, item in
      name == "__metadata__" ? nil : try Self.entry(name, item, path: file.path)
    }.sorted {
      ($0.range.lowerBound, $0.range.upperBound, $0.name) < ($1.range.lowerBound, $1.range.upperBound, $1.name)
    }
    try Self.checkCover(entries, dataBytes: file.bytes.count - byteCount, path: file.path)
  }

  private static func json(of file: MappedFile) throws -> UnsafeRawBufferPointer {
    let bytes = file.bytes
    guard bytes.count >= 8 else {
      throw LocatedError(
        path: file.path, problem: "\(bytes.count) bytes are too short for a safetensors file", advice: advice)
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= maximumLength else {
      throw LocatedError(
        path: file.path, problem: "not a safetensors file: it claims a header of \(length) bytes", advice: advice)
    }
    guard Int(length) <= bytes.count - 8 else {
      throw LocatedError(
        path: file.path,
        problem: "truncated: the safetensors header has \(length) bytes, the file only \(bytes.count)", advice: advice)
    }
    return UnsafeRawBufferPointer(rebasing: bytes[8..<8 + Int(length)])
  }

  private static func metadata(in items: [String: Item], path: String) throws -> [String: String] {
    switch items["__metadata__"] {
    case nil: return [:]
    case .metadata(let values): return values
    case .tensor: throw LocatedError(path: path, problem: "`__metadata__` of the header is not a map of strings")
    }
  }

  private static func entry(_ name: String, _ item: Item, path: String) throws -> SafetensorsFile.Entry {
    guard case .tensor(let typeName, let shape, let offsets) = item else {
      throw LocatedError(path: path, problem: "tensor `\(name)` lacks dtype, shape or data_offsets", advice: advice)
    }
    guard let dtype = DType(safetensors: typeName) else {
      throw LocatedError(
        path: path, problem: "tensor `\(name)` has the unsupported type \(typeName)",
        advice: "convert it to one of \(DType.allCases.compactMap(\.safetensorsName).joined(separator: ", "))")
    }
    guard offsets.count == 2, 0 <= offsets[0], offsets[0] <= offsets[1] else {
      throw LocatedError(path: path, problem: "tensor `\(name)` has the data_offsets \(offsets)", advice: advice)
    }
    guard byteCount(shape, dtype) == offsets[1] - offsets[0] else {
      throw LocatedError(
        path: path,
        problem: "tensor `\(name)` of shape \(shape) and type \(typeName) does not fill its "
          + "\(offsets[1] - offsets[0]) bytes", advice: advice)
    }
    return SafetensorsFile.Entry(name: name, dtype: dtype, shape: shape, range: offsets[0]..<offsets[1])
  }

  /// Bytes of a tensor, or nil for a negative dimension or a product that overflows.
  static func byteCount(_ shape: [Int], _ dtype: DType) -> Int? {
    var total = dtype.size
    for dimension in shape {
      let (product, overflow) = total.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else { return nil }
      total = product
    }
    return total
  }

  private static func checkCover(_ entries: [SafetensorsFile.Entry], dataBytes: Int, path: String) throws {
    var end = 0
    for entry in entries {
      guard entry.range.upperBound <= dataBytes else {
        throw LocatedError(
          path: path,
          problem: "truncated: tensor `\(entry.name)` ends at data byte \(entry.range.upperBound), "
            + "the file has \(dataBytes)", advice: advice)
      }
      guard entry.range.lowerBound == end else {
        let relation = entry.range.lowerBound < end ? "overlaps the tensor before it" : "follows a gap"
        throw LocatedError(path: path, problem: "tensor `\(entry.name)` \(relation) in the data", advice: advice)
      }
      end = entry.range.upperBound
    }
    guard end == dataBytes else {
      throw LocatedError(
        path: path, problem: "\(dataBytes - end) bytes after the last tensor belong to nothing", advice: advice)
    }
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case DecodingError.dataCorrupted(let context): context.debugDescription
    case DecodingError.keyNotFound(let key, let context):
      "`\(context.codingPath.first?.stringValue ?? "")` has no \(key.stringValue)"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      "`\(context.codingPath.map(\.stringValue).joined(separator: "."))`: \(context.debugDescription)"
    default: error.localizedDescription
    }
  }

  /// A value of the header: a tensor's entry, or the map of strings.
  private enum Item: Decodable {
    case tensor(dtype: String, shape: [Int], offsets: [Int])
    case metadata([String: String])

    enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }

    init(from decoder: any Decoder) throws {
      if decoder.codingPath.last?.stringValue == "__metadata__" {
        self = .metadata(try [String: String](from: decoder))
        return
      }
      let values = try decoder.container(keyedBy: CodingKeys.self)
      self = .tensor(
        dtype: try values.decode(String.self, forKey: .dtype),
        shape: try values.decode([Int].self, forKey: .shape),
        offsets: try values.decode([Int].self, forKey: .offsets))
    }
  }
}

extension DType {
  /// The type's name in a safetensors header; nil for blocks, which it does not have.
  package var safetensorsName: String? {
    switch self {
    case .float32: "F32"
    case .bfloat16: "BF16"
    case .float16: "F16"
    case .int64: "I64"
    case .int32: "I32"
    case .uint8: "U8"
    case .int8: "I8"
    case .bool: "BOOL"
    default: nil
    }
  }

  init?(safetensors name: String) {
    guard let match = DType.allCases.first(where: { $0.safetensorsName == name }) else { return nil }
    self = match
  }
}
