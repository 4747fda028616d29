/// A hash table from byte strings to numbers, with all keys in one block of memory.
///
/// Vocabularies need it because equality of Swift strings is canonical equivalence, which would unite different tokens.
struct ByteTable: Sendable {
  private struct Entry {
    let hash: UInt32
    let start: Int32
    let length: Int32
    let value: Int32
  }

  private var slots: [Int32]  // index into entries, -1 when empty; a power of two, at most half full
  private var entries: [Entry] = []
  private var keys: [UInt8] = []

  init(capacity: Int = 16) {
    slots = ByteTable.emptySlots(for: capacity)
    entries.reserveCapacity(capacity)
  }

  var count: Int { entries.count }
  var keyBytes: Int { keys.count }

  /// The value stored under `key`.
  func value(of key: UnsafeBufferPointer<UInt8>) -> Int32? {
    let entry = slots[slot(of: key, hash: ByteTable.hash(key))]
    return entry < 0 ? nil : entries[Int(entry)].value
  }

  func value(of key: [UInt8]) -> Int32? {
    key.withUnsafeBufferPointer(value(of:))
  }

  /// Stores `value` under `key`; false, and no change, when the key is there already.
  @discardableResult
  mutating func insert(_ key: UnsafeBufferPointer<UInt8>, _ value: Int32) -> Bool {
    if (entries.count + 1) * 2 > slots.count { grow() }
    let hash = ByteTable.hash(key)
    let free = slot(of: key, hash: hash)
    guard slots[free] < 0 else { return false }
    slots[free] = Int32(entries.count)
    entries.append(Entry(hash: hash, start: Int32(keys.count), length: Int32(key.count), value: value))
    keys.append(contentsOf: key)
    return true
  }

  @discardableResult
  mutating func insert(_ key: [UInt8], _ value: Int32) -> Bool {
    key.withUnsafeBufferPointer { insert($0, value) }
  }

  /// Forgets everything and keeps the memory.
  mutating func removeAll() {
    for index in slots.indices { slots[index] = -1 }
    entries.removeAll(keepingCapacity: true)
    keys.removeAll(keepingCapacity: true)
  }

  /// The slot that holds `key`, or the empty one where it belongs.
  private func slot(of key: UnsafeBufferPointer<UInt8>, hash: UInt32) -> Int {
    let mask = slots.count - 1
    var slot = Int(hash) & mask
    while slots[slot] >= 0, !matches(entries[Int(slots[slot])], key, hash) { slot = (slot + 1) & mask }
    return slot
  }

  private func matches(_ entry: Entry, _ key: UnsafeBufferPointer<UInt8>, _ hash: UInt32) -> Bool {
    guard entry.hash == hash, Int(entry.length) == key.count else { return false }
    return keys.withUnsafeBufferPointer { keys in
      let stored = Int(entry.start)
      for offset in 0..<key.count where keys[stored + offset] != key[offset] { return false }
      return true
    }
  }

  private mutating func grow() {
    slots = ByteTable.emptySlots(for: entries.count * 2)
    let mask = slots.count - 1
    for (index, entry) in entries.enumerated() {
      var slot = Int(entry.hash) & mask
      while slots[slot] >= 0 { slot = (slot + 1) & mask }
      slots[slot] = Int32(index)
    }
  }

  private static func emptySlots(for capacity: Int) -> [Int32] {
    var count = 32
    while count < capacity * 2 + 2 { count *= 2 }
    return [Int32](repeating: -1, count: count)
  }

  /// FNV-1a with a final mix of the high bits. A loop of its own: EagleCore's takes any sequence, and calls across
  /// modules for each byte.
  private static func hash(_ key: UnsafeBufferPointer<UInt8>) -> UInt32 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in key { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return UInt32(truncatingIfNeeded: hash ^ hash >> 32)
  }
}
