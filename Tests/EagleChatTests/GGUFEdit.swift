import EagleStorage
import EagleTensor
import Foundation
import Testing

/// A parsed GGUF file that can be changed and written again.
struct GGUFEdit {
  struct Part {
    let name: String
    let shape: [Int]
    var type: DType
    var bytes: Data
  }

  var tensors: [Part]
  private var pairs: Data
  private var pairCount: Int

  init(_ path: String) throws {
    let (file, data) = (try GGUFFile(path: path), try Data(contentsOf: URL(fileURLWithPath: path)))
    tensors = file.tensors.map {
      Part(name: $0.name, shape: $0.shape, type: $0.type, bytes: data.subdata(in: $0.range))
    }
    // The descriptions of tensors, of which the first begins with its name, follow the metadata.
    let end = try #require(data.range(of: Self.string(file.tensors[0].name))).lowerBound
    (pairs, pairCount) = (data.subdata(in: 24..<end), file.metadata.count)
  }

  static func number(_ value: some FixedWidthInteger) -> Data {
    Swift.withUnsafeBytes(of: value.littleEndian) { Data($0) }
  }

  static func string(_ text: String) -> Data { number(UInt64(text.utf8.count)) + Data(text.utf8) }

  /// Adds a metadata pair; the type's number is the format's.
  mutating func add(_ key: String, type: UInt32, _ value: Data) {
    pairs += Self.string(key) + Self.number(type) + value
    pairCount += 1
  }

  mutating func add(_ key: String, _ text: String) { add(key, type: 8, Self.string(text)) }

  /// Replaces the first occurrence of a string, such as a metadata key, by one of the same length.
  mutating func replace(_ old: String, _ new: String) throws {
    pairs.replaceSubrange(try #require(pairs.range(of: Data(old.utf8))), with: Data(new.utf8))
  }

  /// Stores the matrices in blocks of `format`, and where `isDecoded` their values in float32.
  mutating func quantize(_ format: DType, isDecoded: Bool, from path: String) throws {
    let file = try GGUFFile(path: path)
    for index in tensors.indices where tensors[index].shape.count == 2 {
      let blocks = try file.tensor(tensors[index].name).quantized(format)
      let stored = isDecoded ? blocks.float32() : blocks
      tensors[index].type = stored.dtype
      tensors[index].bytes = withExtendedLifetime(stored.storage) { Data(stored.rawBytes) }
    }
  }

  var data: Data { Self.file(pairs, pairCount, tensors) }

  /// The model in several files, with these numbers of tensors.
  func split(_ sizes: [Int]) -> [Data] {
    var rest = tensors[...]
    return sizes.enumerated().map { number, size in
      var part = self
      if number > 0 { (part.pairs, part.pairCount) = (Data(), 0) }
      part.add("split.no", type: 2, Self.number(UInt16(number)))
      part.add("split.count", type: 2, Self.number(UInt16(sizes.count)))
      part.add("split.tensors.count", type: 5, Self.number(Int32(sizes.reduce(0, +))))
      part.tensors = Array(rest.prefix(size))
      rest = rest.dropFirst(size)
      return part.data
    }
  }

  private static func file(_ pairs: Data, _ pairCount: Int, _ tensors: [Part]) -> Data {
    var header = Data("GGUF".utf8) + number(UInt32(3)) + number(UInt64(tensors.count)) + number(UInt64(pairCount))
    header += pairs
    var payload = Data()
    for tensor in tensors {
      header += string(tensor.name) + number(UInt32(tensor.shape.count))
      header += tensor.shape.reversed().map { number(UInt64($0)) }.reduce(Data(), +)
      header += number(tensor.type.ggmlNumber ?? 0) + number(UInt64(payload.count))
      payload += tensor.bytes + Data(repeating: 0, count: (32 - tensor.bytes.count % 32) % 32)
    }
    return header + Data(repeating: 0, count: (32 - header.count % 32) % 32) + payload
  }
}

/// A folder of its own for the files of one test.
final class GGUFScratch {
  let path = NSTemporaryDirectory() + "/eagle-gguf-" + UUID().uuidString

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file and returns its path.
  func put(_ name: String, _ data: Data) throws -> String {
    let file = "\(path)/\(name)"
    try data.write(to: URL(fileURLWithPath: file))
    return file
  }
}
