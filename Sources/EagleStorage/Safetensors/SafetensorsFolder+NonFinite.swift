import EagleCore
import EagleTensor
import Foundation

extension SafetensorsFolder {
  /// A tensor that holds non-finite values.
  package struct NonFiniteTensor: Equatable, Sendable {
    package let name: String
    /// Path of its file.
    package let file: String
    package let values: NonFinite
  }

  /// The tensors among `names` that hold NaN or infinities, in the order of `names`.
  ///
  /// All threads read the files block by block: through the mapping, what is read would count as memory of the process.
  package func nonFiniteTensors(among names: [String]) throws -> [NonFiniteTensor] {
    let blocks = try names.enumerated().flatMap { try Self.blocks(of: $1, number: $0, in: file(holding: $1)) }
    let readers = try Dictionary(uniqueKeysWithValues: Set(blocks.map(\.path)).map { ($0, try BlockReader(path: $0)) })
    let found = try Self.scan(blocks, readers)
    var sums = [NonFinite](repeating: NonFinite(), count: names.count)
    for (block, values) in zip(blocks, found) { sums[block.number].add(values, at: block.element) }
    return try names.indices.filter { sums[$0].count > 0 }.map {
      NonFiniteTensor(name: names[$0], file: try file(holding: names[$0]).path, values: sums[$0])
    }
  }

  /// A part of a tensor that is read at once.
  private struct Block {
    static let bytes = 1 << 20
    /// The index of its tensor.
    let number: Int
    let path: String
    let dtype: DType
    /// Bytes of the file.
    let range: Range<Int>
    /// Index of its first element in the tensor.
    let element: Int
  }

  private static func blocks(of name: String, number: Int, in file: SafetensorsFile) throws -> [Block] {
    let entry = try file.entry(name)
    guard [.bfloat16, .float16, .float32].contains(entry.dtype) else { return [] }
    return stride(from: 0, to: entry.range.count, by: Block.bytes).map { offset in
      let start = file.headerByteCount + entry.range.lowerBound + offset
      let end = start + min(Block.bytes, entry.range.count - offset)
      return Block(
        number: number, path: file.path, dtype: entry.dtype, range: start..<end, element: offset / entry.dtype.size)
    }
  }

  private static func scan(_ blocks: [Block], _ readers: [String: BlockReader]) throws -> [NonFinite] {
    let results = ScanResults(count: blocks.count)
    Parallel.forEachRange(blocks.count, grain: 1, dynamic: true) { indices in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Block.bytes, alignment: 64)
      defer { buffer.deallocate() }
      for index in indices {
        let block = blocks[index]
        do {
          let bytes = try readers[block.path]!.read(block.range, into: buffer)
          results.set(index, NonFinite(in: bytes, dtype: block.dtype))
        } catch {
          results.fail(error)
        }
      }
    }
    return try results.get()
  }
}

/// The results of all threads, or the error of the first that failed.
private final class ScanResults: @unchecked Sendable {
  private let lock = NSLock()
  private var values: [NonFinite]
  private var failure: (any Error)?

  init(count: Int) { values = [NonFinite](repeating: NonFinite(), count: count) }

  func set(_ index: Int, _ value: NonFinite) { lock.withLock { values[index] = value } }

  func fail(_ error: any Error) { lock.withLock { failure = failure ?? error } }

  func get() throws -> [NonFinite] {
    if let failure { throw failure }
    return values
  }
}

/// A file of which any thread reads parts.
private final class BlockReader: Sendable {
  private let path: String
  private let descriptor: Int32

  init(path: String) throws {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "open the file") }
  }

  deinit { close(descriptor) }

  /// Reads `range` of the file to the start of `buffer`.
  func read(_ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws -> UnsafeRawBufferPointer {
    var done = 0
    while done < range.count {
      let count = pread(descriptor, buffer.baseAddress! + done, range.count - done, off_t(range.lowerBound + done))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw LocatedError.system(path: path, "read the file") }
      guard count > 0 else {
        throw LocatedError(
          path: path, problem: "ends before byte \(range.upperBound)",
          advice: "it was cut after it was opened: copy it again")
      }
      done += count
    }
    return UnsafeRawBufferPointer(rebasing: buffer[..<range.count])
  }
}
