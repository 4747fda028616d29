import EagleCore
import EagleTensor
import Foundation

/// Everything before the data of a GGUF file.
struct GGUFHeader {
  let version: Int
  let metadata: [String: GGUFValue]
  /// Each key, in the order of the file, with the bytes of its value, the type number before them included.
  let values: [(key: String, range: Range<Int>)]
  let tensors: [GGUFFile.TensorInfo]
  /// Bytes before the data.
  let dataStart: Int

  /// - Parameter part: the number of the file among those of its model, from 0
  init(of file: MappedFile, part: Int = 0) throws {
    var cursor = GGUFCursor(file)
    version = try Self.version(&cursor)
    // A tensor takes at least 24 bytes of the header, a metadata pair 13.
    let tensorCount = try Self.count(&cursor, itemSize: 24, "the number of tensors")
    let pairCount = try Self.count(&cursor, itemSize: 13, "the number of metadata keys")
    let pairs = try Self.pairs(pairCount, &cursor)
    let drafts = try (0..<tensorCount).map { _ in try Draft(&cursor) }
    let alignment = try Self.alignment(pairs.metadata, cursor)
    let start = (cursor.offset + alignment - 1) / alignment * alignment
    metadata = pairs.metadata
    values = pairs.values
    dataStart = start
    tensors = try drafts.map { try $0.located(part: part, dataStart: start, alignment: alignment, cursor) }
    var names: Set<String> = []
    if let twice = tensors.first(where: { !names.insert($0.name).inserted }) {
      throw cursor.damaged("two tensors are named `\(twice.name)`")
    }
  }

  /// Most tensors, and most metadata keys: a model of 1,000 layers has some 10,000 tensors.
  private static let mostEntries = 1 << 20

  private static func count(_ cursor: inout GGUFCursor, itemSize: Int, _ what: String) throws -> Int {
    let count = try cursor.count(itemSize: itemSize, what)
    guard count <= mostEntries else { throw cursor.damaged("\(what) says \(count), above \(mostEntries)") }
    return count
  }

  private static func version(_ cursor: inout GGUFCursor) throws -> Int {
    let magic = try cursor.number(UInt32.self, "the mark GGUF")
    guard magic == 0x4655_4747 else {
      throw LocatedError(path: cursor.path, problem: "is not a GGUF file", advice: "name a file that begins with GGUF")
    }
    let version = try cursor.number(UInt32.self, "the version")
    guard version == 2 || version == 3 else {
      let why = version.byteSwapped < 256 ? "is big-endian" : "has version \(version)"
      throw LocatedError(
        path: cursor.path, problem: "the GGUF file \(why); versions 2 and 3, little-endian, can be read",
        advice: "convert the model again with a present llama.cpp")
    }
    return Int(version)
  }

  private typealias Pairs = (metadata: [String: GGUFValue], values: [(key: String, range: Range<Int>)])

  private static func pairs(_ count: Int, _ cursor: inout GGUFCursor) throws -> Pairs {
    var pairs: Pairs = ([:], [])
    for _ in 0..<count {
      let key = try cursor.name("a metadata key")
      let start = cursor.offset
      let type = try cursor.number(UInt32.self, "the type of `\(key)`")
      guard pairs.metadata.updateValue(try cursor.value(type: type, key: key), forKey: key) == nil else {
        throw cursor.damaged("the metadata key `\(key)` comes twice")
      }
      pairs.values.append((key, start..<cursor.offset))
    }
    return pairs
  }

  private static func alignment(_ pairs: [String: GGUFValue], _ cursor: GGUFCursor) throws -> Int {
    guard let value = pairs["general.alignment"] else { return 32 }
    guard let alignment = value.int, alignment > 0, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
      throw cursor.damaged("`general.alignment` is not a power of two")
    }
    return alignment
  }

  /// A tensor as the header describes it.
  private struct Draft {
    let name: String
    let shape: [UInt64]
    let type: UInt32
    let offset: UInt64

    init(_ cursor: inout GGUFCursor) throws {
      let name = try cursor.name("a tensor name")
      let dimensions = try cursor.number(UInt32.self, "the dimensions of `\(name)`")
      guard dimensions <= 4 else { throw cursor.damaged("`\(name)` has \(dimensions) dimensions; at most 4 exist") }
      self.name = name
      shape = try (0..<dimensions).map { _ in try cursor.number(UInt64.self, "the shape of `\(name)`") }.reversed()
      type = try cursor.number(UInt32.self, "the type of `\(name)`")
      offset = try cursor.number(UInt64.self, "the offset of `\(name)`")
    }

    /// Checks type, shape and offset.
    func located(part: Int, dataStart: Int, alignment: Int, _ cursor: GGUFCursor) throws -> GGUFFile.TensorInfo {
      guard let type = DType(ggml: type) else {
        throw LocatedError(
          path: cursor.path,
          problem: "tensor `\(name)` has the type \(DType.ggmlName(of: type)), which cannot be read here",
          advice: "use a file with the types \(DType.ggmlTypes.map(\.ggmlName).joined(separator: ", "))")
      }
      guard let bytes = byteCount(type) else {
        throw cursor.damaged("tensor `\(name)` of type \(type.ggmlName) has the impossible shape \(shape)")
      }
      let limit = cursor.bytes.count
      guard dataStart <= limit, offset <= UInt64(limit - dataStart), bytes <= limit - dataStart - Int(offset) else {
        throw cursor.damaged("truncated: tensor `\(name)` lies beyond the end of the file (\(limit) bytes)")
      }
      guard offset % UInt64(alignment) == 0 else {
        throw cursor.damaged("tensor `\(name)` begins at \(offset), which is not a multiple of \(alignment)")
      }
      let start = dataStart + Int(offset)
      return GGUFFile.TensorInfo(
        name: name, shape: shape.map { Int($0) }, type: type, part: part, range: start..<start + bytes)
    }

    /// Bytes of whole blocks, or nil if rows do not consist of whole blocks or the product overflows.
    private func byteCount(_ type: DType) -> Int? {
      var count = 1
      for dimension in shape {
        guard let dimension = Int(exactly: dimension) else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
        if overflow { return nil }
        count = product
      }
      guard Int(shape.last ?? 1) % type.blockLength == 0 else { return nil }
      let (bytes, overflow) = (count / type.blockLength).multipliedReportingOverflow(by: type.blockBytes)
      return overflow ? nil : bytes
    }
  }
}
