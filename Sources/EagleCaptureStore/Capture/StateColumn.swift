import EagleTensor

// N rows of a shard · T rows that are written or read at once · H width of a state · n states of a row · B blocks of a
// state.

/// The datasets of a column of states.
private enum StateDatasets {
  case bfloat16(HDF5Dataset<UInt16>)  // [N, n · H]
  case int8(HDF5Dataset<Int8>, scales: HDF5Dataset<UInt16>)  // [N, n · H], [N, n · B]
}

/// A column of states in one of the formats, being written.
final class StateColumnWriter {
  private let hiddenSize: Int
  private let datasets: StateDatasets

  /// - Parameter rows: the rows that will be appended, where they are known
  init(_ name: String, states: Int, hiddenSize: Int, format: StateFormat, rows: Int?, in file: HDF5File) throws {
    self.hiddenSize = hiddenSize
    let width = states * hiddenSize
    switch format {
    case .bf16:
      datasets = .bfloat16(try HDF5Dataset(creating: "\(name)_hidden", width: width, expecting: rows, in: file))
    case .int8:
      datasets = .int8(
        try HDF5Dataset(creating: "\(name)_hidden", width: width, expecting: rows, in: file),
        scales: try HDF5Dataset(
          creating: "\(name)_scale", width: BlockInt8.blocks(columns: width, hiddenSize: hiddenSize),
          expecting: rows, in: file))
    }
  }

  /// - Parameter states: bfloat16 [T, n · H]
  func append(_ states: Tensor) throws {
    switch datasets {
    case .bfloat16(let dataset): try dataset.append(states.bfloats, rows: states.rows)
    case .int8(let values, let scales):
      let blocks = BlockInt8(states, hiddenSize: hiddenSize)
      try values.append(blocks.elements, rows: states.rows)
      try scales.append(blocks.scales.bfloats, rows: states.rows)
    }
  }

  func close() throws {
    switch datasets {
    case .bfloat16(let dataset): try dataset.close()
    case .int8(let values, let scales):
      try values.close()
      try scales.close()
    }
  }
}

/// A column of states in one of the formats, being read.
final class StateColumn: Sendable {
  private let hiddenSize: Int
  private let width: Int
  private let datasets: StateDatasets

  init(_ name: String, states: Int, _ attributes: CaptureAttributes, columns: ConversationColumns) throws {
    hiddenSize = attributes.hiddenSize
    width = states * hiddenSize
    switch attributes.format {
    case .bf16:
      let dataset = try HDF5Dataset<UInt16>(opening: "\(name)_hidden", width: width, in: columns.file)
      try columns.check(dataset)
      datasets = .bfloat16(dataset)
    case .int8:
      let values = try HDF5Dataset<Int8>(opening: "\(name)_hidden", width: width, in: columns.file)
      let blocks = BlockInt8.blocks(columns: width, hiddenSize: hiddenSize)
      let scales = try HDF5Dataset<UInt16>(opening: "\(name)_scale", width: blocks, in: columns.file)
      try columns.check(values)
      try columns.check(scales)
      datasets = .int8(values, scales: scales)
    }
  }

  /// Rows of the column: bfloat16 [T, n · H].
  func read(_ range: Range<Int>) throws -> Tensor {
    switch datasets {
    case .bfloat16(let dataset):
      let states = Tensor([range.count, width], dtype: .bfloat16)
      try dataset.read(range, to: states.bfloats)
      return states
    case .int8(let values, let scales):
      let blocks = BlockInt8(rows: range.count, columns: width, hiddenSize: hiddenSize)
      try values.read(range, to: blocks.elements)
      try scales.read(range, to: blocks.scales.bfloats)
      return blocks.dequantized()
    }
  }
}
