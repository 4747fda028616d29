import EagleTensor

/// Cosines and sines of a pass's positions for each rotary embedding of a model.
struct RotaryTables {
  private let entries: [RotaryShape: Entry]

  private struct Entry {
    let rotary: Rotary
    let keys: Rotary.Table
    let queries: Rotary.Table
  }

  init(_ rotaries: [RotaryShape: Rotary], positions: [Int32]) {
    entries = Dictionary(
      uniqueKeysWithValues: rotaries.map { shape, rotary in
        let keys = rotary.table(positions: positions)
        let queries = shape.queryGrowth.map { rotary.table(positions: positions, scale: $0.factor) } ?? keys
        return (shape, Entry(rotary: rotary, keys: keys, queries: queries))
      })
  }

  /// The embedding of a layer and the table of its queries or keys.
  func table(_ shape: RotaryShape, isQuery: Bool) -> (rotary: Rotary, table: Rotary.Table) {
    guard let entry = entries[shape] else { preconditionFailure("no rotary table for \(shape)") }
    return (entry.rotary, isQuery ? entry.queries : entry.keys)
  }
}
