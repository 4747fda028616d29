import CZlib
import CZstd
import Foundation

/// The bytes of a file or pipe in order, decompressed where they are compressed: gzip and Zstandard, recognised by
/// their first bytes.
///
/// Gzip files may have several members and Zstandard files several frames, as parallel compressors write them.
final class ByteSource {
  private static let chunkBytes = 1 << 20

  let path: String
  private let handle: FileHandle
  private var decoder: (any Decompressor)?
  /// The first bytes, until `read` hands them out: a pipe cannot be read from its start again.
  private var start: Data
  /// Whether it can be read from any offset, as a pipe cannot.
  private let isRegular: Bool
  /// Bytes of the file that were handed to the decoder or out.
  private var bytesRead = 0

  /// Throws when the file cannot be opened, or its name promises a compression that its bytes do not have.
  init(path: String) throws {
    self.path = path
    do {
      handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    } catch {
      throw TextError("\(path): cannot be opened for reading; check the path and its permissions")
    }
    var status = stat()
    isRegular = fstat(handle.fileDescriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    start = try Self.start(of: handle, path: path)
    if start.starts(with: [0x1F, 0x8B]) {
      decoder = GzipDecompressor()
    } else if start.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) || Self.isSkippableFrame(start) {
      decoder = ZstdDecompressor()
    } else if let suffix = [".gz", ".zst"].first(where: path.lowercased().hasSuffix) {
      throw TextError("\(path): it is called \(suffix) and is not compressed so; give it the name of what it is")
    }
  }

  /// The first four bytes, or all where there are fewer. A pipe may give them one at a time.
  private static func start(of handle: FileHandle, path: String) throws -> Data {
    var start = Data()
    while start.count < 4 {
      do {
        guard let more = try handle.read(upToCount: 4 - start.count), !more.isEmpty else { break }
        start += more
      } catch {
        throw TextError("\(path): reading failed; it must be a readable file or pipe")
      }
    }
    return start
  }

  /// The frames that parallel compressors put before a Zstandard frame.
  private static func isSkippableFrame(_ start: Data) -> Bool {
    start.count == 4 && start[0] & 0xF0 == 0x50 && start.dropFirst().elementsEqual([0x2A, 0x4D, 0x18])
  }

  var isCompressed: Bool { decoder != nil }

  /// Bytes of the file that the bytes handed out so far came from.
  var bytesUsed: Int { bytesRead - (decoder?.waiting ?? 0) }

  /// Continues at another offset of a regular file that is not compressed; throws for anything else.
  func jump(to offset: Int) throws {
    precondition(decoder == nil, "an offset in a compressed file")
    guard isRegular, (try? handle.seek(toOffset: UInt64(offset))) != nil else {
      throw TextError("\(path): has no places to jump to; it must be a regular file")
    }
    start = Data()
  }

  /// The next bytes, about a megabyte; none at the end.
  func next() throws -> Data {
    guard let decoder else { return try read() }
    while true {
      let output = try decoder.output(Self.chunkBytes, path: path)
      if !output.isEmpty { return output }
      let input = try read()
      if input.isEmpty {
        guard decoder.isAtEnd else {
          throw TextError("\(path): the compressed data end too early; the file was not copied whole")
        }
        return Data()
      }
      decoder.input(input)
    }
  }

  private func read() throws -> Data {
    if !start.isEmpty {
      defer { start = Data() }
      bytesRead += start.count
      return start
    }
    do {
      let bytes = try handle.read(upToCount: Self.chunkBytes) ?? Data()
      bytesRead += bytes.count
      return bytes
    } catch {
      throw TextError("\(path): reading failed; it must be a readable file or pipe")
    }
  }
}

/// Turns compressed bytes into plain ones, chunk by chunk.
private protocol Decompressor: AnyObject {
  /// Whether what came in so far ends where a member or frame ends.
  var isAtEnd: Bool { get }
  /// Bytes that came in and were not used yet.
  var waiting: Int { get }
  /// Takes more compressed bytes, after all output of the earlier ones was taken.
  func input(_ bytes: Data)
  /// Plain bytes, at most `limit`; none when more input is needed. Throws where the data are damaged.
  func output(_ limit: Int, path: String) throws -> Data
}

private func damaged(_ path: String, _ reason: String) -> TextError {
  TextError("\(path): the compressed data cannot be read (\(reason)); copy the file again, or compress it anew")
}

private final class GzipDecompressor: Decompressor {
  private var stream = z_stream()
  private var pending = Data()
  private var used = 0
  private(set) var isAtEnd = true
  /// A member has ended: zeros after it are padding to a block of a tape or archive, as gzip(1) takes them.
  private var hasMember = false
  var waiting: Int { pending.count - used }

  init() {
    let status = eagle_inflate_init_gzip(&stream)
    precondition(status == Z_OK, "zlib cannot start: \(status)")
  }

  deinit { inflateEnd(&stream) }

  func input(_ bytes: Data) { (pending, used) = (bytes, 0) }

  func output(_ limit: Int, path: String) throws -> Data {
    var result = Data(count: limit)
    var written = 0
    while used < pending.count, written == 0 {
      if isAtEnd {
        if hasMember { used += pending.dropFirst(used).prefix { $0 == 0 }.count }
        guard used < pending.count else { break }
        inflateReset(&stream)
      }
      let (status, taken) = pending.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
          let left = input.count - used
          stream.next_in = UnsafeMutablePointer(mutating: input.bindMemory(to: UInt8.self).baseAddress! + used)
          stream.avail_in = UInt32(left)
          stream.next_out = output.bindMemory(to: UInt8.self).baseAddress
          stream.avail_out = UInt32(limit)
          let status = inflate(&stream, Z_NO_FLUSH)
          return (status, left - Int(stream.avail_in))
        }
      }
      guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
        throw damaged(path, stream.msg.map { String(cString: $0) } ?? "zlib error \(status)")
      }
      isAtEnd = status == Z_STREAM_END
      hasMember = hasMember || isAtEnd
      written = limit - Int(stream.avail_out)
      used += taken
      if taken == 0, written == 0 { break }
    }
    return result.prefix(written)
  }
}

private final class ZstdDecompressor: Decompressor {
  /// Base 2 logarithm of the largest window, which is held in memory: 512 MB. The library's own limit is 27.
  private static let mostWindowLog = 29

  private let stream = ZSTD_createDStream()
  private var pending = Data()
  private var used = 0
  /// Whether the last chunk filled the output, so that more may be waiting inside.
  private var mayHaveMore = false
  private(set) var isAtEnd = true
  var waiting: Int { pending.count - used }

  init() { ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, Int32(Self.mostWindowLog)) }

  deinit { ZSTD_freeDStream(stream) }

  func input(_ bytes: Data) { (pending, used) = (bytes, 0) }

  func output(_ limit: Int, path: String) throws -> Data {
    var result = Data(count: limit)
    var written = 0
    while used < pending.count || mayHaveMore, written == 0 {
      let before = used
      let hint = pending.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
          var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: used)
          var target = ZSTD_outBuffer(dst: output.baseAddress, size: limit, pos: 0)
          let hint = ZSTD_decompressStream(stream, &target, &source)
          (written, used) = (target.pos, source.pos)
          return hint
        }
      }
      guard ZSTD_isError(hint) == 0 else { throw Self.error(hint, path) }
      // A call that neither takes nor gives anything returns what a next frame would need.
      if used > before || written > 0 { isAtEnd = hint == 0 }
      mayHaveMore = written == limit
      if used == before, written == 0 { break }
    }
    return result.prefix(written)
  }

  private static func error(_ code: Int, _ path: String) -> TextError {
    let reason = String(cString: ZSTD_getErrorName(code))
    guard reason.contains("too much memory") else { return damaged(path, reason) }
    return TextError(
      "\(path): it was compressed with a window above \((1 << mostWindowLog) >> 20) MB; compress it anew with "
        + "--long=\(mostWindowLog) or less")
  }
}
