import EagleTensor

/// Cosines and sines of a pass's positions for each rotary embedding of a model.
struct RotaryTables {
  /// One or two: layers with and without a window may differ.
  private let entries: [Entry]

  private struct Entry {
    let shape: RotaryShape
    let rotary: Rotary
    let keys: Rotary.Table
    let queries: Rotary.Table
  }

  init(_ rotaries: [(shape: RotaryShape, rotary: Rotary)], positions: [Int32]) {
    entries = rotaries.map { shape, rotary in
      let keys = rotary.table(positions: positions)
      let queries = shape.queryGrowth.map { rotary.table(positions: positions, scale: $0.factor) } ?? keys
      return Entry(shape: shape, rotary: rotary, keys: keys, queries: queries)
    }
  }

  /// The embedding of a layer and the table of its queries or keys.
  func table(_ shape: RotaryShape, isQuery: Bool) -> (rotary: Rotary, table: Rotary.Table) {
    guard let entry = entries.first(where: { $0.shape == shape }) else {
      preconditionFailure("no rotary table for \(shape)")
    }
    return (entry.rotary, isQuery ? entry.queries : entry.keys)
  }
}
