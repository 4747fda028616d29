import Foundation

/// The positions of the fields of a GGUF file's header, found without the reader under test.
struct GGUFSites {
  enum Kind {
    case magic, version, count, length, text, valueType, scalar, itemType, dimensions, size, tensorType, offset
  }

  struct Site {
    let kind: Kind
    let range: Range<Int>
  }

  private(set) var sites: [Site] = []
  /// The first byte of the data.
  private(set) var dataStart = 0
  private let data: Data
  private var end = 0

  /// - Parameter data: a complete and valid file, aligned to 32
  init(_ data: Data) {
    self.data = data
    _ = take(.magic, 4)
    _ = take(.version, 4)
    let (tensors, pairs) = (take(.count, 8), take(.count, 8))
    for _ in 0..<pairs {
      text()
      value(take(.valueType, 4))
    }
    for _ in 0..<tensors {
      text()
      for _ in 0..<take(.dimensions, 4) { _ = take(.size, 8) }
      _ = take(.tensorType, 4)
      _ = take(.offset, 8)
    }
    dataStart = (end + 31) / 32 * 32
  }

  /// Adds a site; the value of its bytes as a little-endian number.
  private mutating func take(_ kind: Kind, _ count: Int) -> Int {
    sites.append(Site(kind: kind, range: end..<end + count))
    end += count
    return data[end - count..<end].reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  private mutating func text() {
    let length = take(.length, 8)
    sites.append(Site(kind: .text, range: end..<end + length))
    end += length
  }

  private mutating func value(_ type: Int) {
    switch type {
    case 8: text()
    case 9:
      let item = take(.itemType, 4)
      for _ in 0..<take(.count, 8) { value(item) }
    default: _ = take(.scalar, [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][type])
    }
  }
}
