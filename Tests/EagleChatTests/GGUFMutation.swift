import EagleTensor
import Foundation

/// Random changes of a GGUF file.
struct GGUFMutations {
  private let original: Data
  private let sites: GGUFSites
  private var random: RandomSource

  init(of original: Data, seed: UInt64, purpose: String) {
    self.original = original
    sites = GGUFSites(original)
    random = RandomSource(seed: seed, purpose: purpose)
  }

  /// The file cut at the start of each field, in the middle of each, and where the data begins.
  var truncations: [(what: String, data: Data)] {
    let ends = Set(sites.sites.flatMap { [$0.range.lowerBound, ($0.range.lowerBound + $0.range.upperBound) / 2] })
    return ends.union([sites.dataStart, sites.dataStart + 1, original.count - 32]).sorted().map {
      ("cut at \($0)", Data(original.prefix($0)))
    }
  }

  private mutating func number(below limit: Int) -> Int { Int(random.next() % UInt64(max(limit, 1))) }

  private mutating func pick<Item>(_ items: [Item]) -> Item { items[number(below: items.count)] }

  /// The file after one change, or after several.
  mutating func next() -> (what: String, data: Data) {
    var (what, data): ([String], Data) = ([], original)
    for _ in 0..<pick([1, 1, 1, 1, 2, 4]) { what.append(change(&data)) }
    return (what.joined(separator: ", "), data)
  }

  private mutating func change(_ data: inout Data) -> String {
    switch number(below: 12) {
    case 0:
      data = Data(data.prefix(number(below: data.count)))
      return "cut to \(data.count)"
    case 1, 2: return flip(&data, in: 0..<sites.dataStart)
    case 3: return flip(&data, in: sites.dataStart..<original.count)
    case 4: return fill(&data)
    case 5: return insert(&data)
    case 6: return swap(&data)
    default: return set(&data)
    }
  }

  private mutating func flip(_ data: inout Data, in range: Range<Int>) -> String {
    let (place, bit) = (range.lowerBound + number(below: range.count), number(below: 8))
    if place < data.count { data[place] ^= 1 << UInt8(bit) }
    return "bit \(bit) of \(place) flipped"
  }

  /// Sets some bytes of the data to one value: scales become zero, infinite, NaN or very large.
  private mutating func fill(_ data: inout Data) -> String {
    let (start, count) = (
      sites.dataStart + number(below: original.count - sites.dataStart), pick([1, 2, 4, 18, 34, 64, 300])
    )
    let byte: UInt8 = pick([0, 0x7b, 0x7c, 0x7e, 0x7f, 0xff])
    for place in start..<start + count where place < data.count { data[place] = byte }
    return "\(start)..<\(start + count) filled with \(byte)"
  }

  private mutating func insert(_ data: inout Data) -> String {
    let (place, count) = (min(pick(sites.sites).range.lowerBound, data.count), pick([1, 4, 8, 32]))
    if random.next() % 2 == 0 {
      data.insert(contentsOf: (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }, at: place)
      return "\(count) bytes inserted at \(place)"
    }
    data.removeSubrange(place..<min(place + count, data.count))
    return "\(count) bytes removed at \(place)"
  }

  /// Swaps two fields of the same kind and size: keys, types, sizes, offsets.
  private mutating func swap(_ data: inout Data) -> String {
    let first = pick(sites.sites)
    let alike = sites.sites.filter { $0.kind == first.kind && $0.range.count == first.range.count }
    let second = pick(alike)
    guard first.range.upperBound <= data.count, second.range.upperBound <= data.count else { return "nothing" }
    let (a, b) = (data.subdata(in: first.range), data.subdata(in: second.range))
    data.replaceSubrange(first.range, with: b)
    data.replaceSubrange(second.range, with: a)
    return "\(first.kind) \(first.range) and \(second.range) swapped"
  }

  /// Sets a field to another value: a random one, or one near its own.
  private mutating func set(_ data: inout Data) -> String {
    // Most fields are strings and single items, so the other fields are preferred.
    var site = pick(sites.sites)
    for _ in 0..<3 where [.text, .length].contains(site.kind) { site = pick(sites.sites) }
    guard site.range.upperBound <= data.count, !site.range.isEmpty else { return "nothing" }
    let own = data[site.range].prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let value = other(own, site.kind)
    for (index, place) in site.range.prefix(8).enumerated() {
      data[place] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
    }
    return "\(site.kind) \(site.range) set to \(value)"
  }

  private mutating func other(_ own: UInt64, _ kind: GGUFSites.Kind) -> UInt64 {
    switch kind {
    case .tensorType: return pick([0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 20, 23, 26, 27, 30, 39, 40, 1 << 31])
    case .valueType, .itemType: return UInt64(number(below: 14))
    case .dimensions: return pick([0, 1, 2, 3, 4, 5, 1 << 31])
    default:
      let floats = [Float.nan, .infinity, -1, 1e38, 1e-38, 0.5, -0.0, 1e-45].map { UInt64($0.bitPattern) }
      let sizes: [UInt64] = [0, 1, 2, 3, 7, 31, 33, 255, 65535, 1 << 20, 1 << 30, 1 << 31, 0x7fff_ffff, 0xffff_ffff]
      let wide: [UInt64] = [1 << 40, 1 << 62, 0x7fff_ffff_ffff_ffff, 1 << 63, .max, random.next()]
      return pick(floats + sizes + sizes + wide + [own &+ 1, own &- 1, own &* 2, own / 2, ~own])
    }
  }
}
