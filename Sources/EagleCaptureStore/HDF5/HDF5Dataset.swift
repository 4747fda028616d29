import CHDF5
import EagleCore
import Foundation

/// A dataset of one or two dimensions in the root of a file: rows that can be appended and read in ranges.
///
/// Chunked by rows, each chunk with a Fletcher-32 checksum that is verified when it is read.
final class HDF5Dataset<Element: HDF5Scalar>: @unchecked Sendable {
  let name: String
  /// Elements of a row; nil for a one-dimensional dataset.
  let width: Int?
  private(set) var rows: Int
  private let file: HDF5File
  private var id: hid_t

  /// Creates an empty dataset to append to.
  ///
  /// - Parameter expected: the rows that it will have, where they are known: whole chunks are stored
  init(creating name: String, width: Int? = nil, expecting expected: Int? = nil, in file: HDF5File) throws {
    self.name = name
    self.width = width
    self.file = file
    rows = 0
    id = try file.writing { library in
      let creation = try Self.creationList(width: width, rows: expected, library)
      let access = try Self.accessList(chunks: 4, library)
      let space = try Self.space(Self.sizes(0, width), growing: true, library)
      let id = H5Dcreate2(file.id, name, Element.fileType, space, eagle_h5_default_list(), creation, access)
      return try library.check(id, "create the dataset `\(name)`")
    }
  }

  /// Opens a dataset and checks that it holds elements of this type, in one dimension or in rows of `width`.
  init(opening name: String, width: Int? = nil, in file: HDF5File) throws {
    guard try file.contains(name) else {
      throw LocatedError(path: file.path, problem: "has no dataset `\(name)`", advice: "make the file again")
    }
    self.name = name
    self.width = width
    self.file = file
    let id = try HDF5.with(file.path) { library in
      try library.check(H5Dopen2(file.id, name, try Self.accessList(chunks: 1, library)), "open the dataset `\(name)`")
    }
    self.id = id
    rows = 0
    rows = try HDF5.with(file.path) { library in
      try Self.checkType(of: id, name, file.path, library)
      let rows = try Self.rows(of: id, name, width: width, file.path, library)
      try Self.checkStored(rows, width: width, of: id, name, file.path, library)
      return rows
    }
  }

  deinit {
    if id >= 0, !file.isBroken { HDF5.with(file.path) { _ in _ = H5Dclose(id) } }
  }

  /// Writes out what is cached and closes.
  func close() throws {
    try file.writing { library in
      let status = H5Dclose(id)
      id = -1
      try library.check(status, "write the dataset `\(name)`")
    }
  }

  /// Appends `count` rows.
  func append(_ values: UnsafePointer<Element>, rows count: Int) throws {
    guard count > 0 else { return }
    try file.writing { library in
      try library.check(H5Dset_extent(id, Self.sizes(rows + count, width)), "extend the dataset `\(name)`")
      let (memory, selection) = try select(rows..<rows + count, library)
      let status = H5Dwrite(id, Element.memoryType, memory, selection, eagle_h5_default_list(), values)
      try library.check(status, "write the dataset `\(name)`")
      rows += count
    }
  }

  func append(_ values: [Element]) throws {
    try values.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      try append(base, rows: values.count / (width ?? 1))
    }
  }

  /// Writes over rows that are there, from row `first` on.
  func overwrite(_ first: Int, _ values: [Element]) throws {
    let range = first..<first + values.count / (width ?? 1)
    precondition(first >= 0 && range.upperBound <= rows, "rows \(range) of `\(name)`, which has \(rows)")
    guard !range.isEmpty else { return }
    try file.writing { library in
      let (memory, selection) = try select(range, library)
      let status = H5Dwrite(id, Element.memoryType, memory, selection, eagle_h5_default_list(), values)
      try library.check(status, "write the dataset `\(name)`")
    }
  }

  /// Reads some rows to `values`; a wrong checksum throws.
  func read(_ range: Range<Int>, to values: UnsafeMutablePointer<Element>) throws {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of `\(name)`, which has \(rows)")
    guard !range.isEmpty else { return }
    try HDF5.with(file.path) { library in
      let (memory, selection) = try select(range, library)
      let status = H5Dread(id, Element.memoryType, memory, selection, eagle_h5_default_list(), values)
      try library.check(status, "read the dataset `\(name)`")
    }
  }

  func read(_ range: Range<Int>) throws -> [Element] {
    let count = range.count * (width ?? 1)
    return try [Element](unsafeUninitializedCapacity: count) { values, filled in
      if let base = values.baseAddress { try read(range, to: base) }
      filled = count
    }
  }

  /// A space in memory, and the same rows selected in the file.
  private func select(_ range: Range<Int>, _ library: HDF5) throws -> (memory: hid_t, file: hid_t) {
    let memory = try Self.space(Self.sizes(range.count, width), growing: false, library)
    let space = try library.keep(H5Dget_space(id), "read the shape of `\(name)`") { H5Sclose($0) }
    let start = [hsize_t(range.lowerBound)] + (width == nil ? [] : [0])
    let status = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nil, Self.sizes(range.count, width), nil)
    try library.check(status, "select rows of `\(name)`")
    return (memory, space)
  }
}

extension HDF5Dataset {
  /// The target sizes of a chunk in bytes, for rows of states and for rows of one or a few elements.
  private static var chunkBytes: (wide: Int, narrow: Int) { (1 << 19, 1 << 14) }

  private static func sizes(_ rows: Int, _ width: Int?) -> [hsize_t] {
    [hsize_t(rows)] + (width.map { [hsize_t($0)] } ?? [])
  }

  /// Rows of a chunk: as many as make its target size, and no more than equal parts of all rows where these are known.
  private static func chunkRows(width: Int?, of rows: Int?) -> Int {
    let rowBytes = (width ?? 1) * MemoryLayout<Element>.size
    let most = max(1, (rowBytes < 256 ? chunkBytes.narrow : chunkBytes.wide) / rowBytes)
    guard let rows, rows > 0 else { return most }
    let chunks = (rows + most - 1) / most
    return (rows + chunks - 1) / chunks
  }

  private static func creationList(width: Int?, rows: Int?, _ library: HDF5) throws -> hid_t {
    let list = try library.keep(H5Pcreate(eagle_h5_dataset_create()), "make a property list") { H5Pclose($0) }
    let chunk = sizes(chunkRows(width: width, of: rows), width)
    try library.check(H5Pset_chunk(list, Int32(chunk.count), chunk), "set the chunk size")
    try library.check(H5Pset_fletcher32(list), "set the checksum filter")
    return list
  }

  /// A cache of `chunks` chunks: appending fills one chunk in several steps.
  private static func accessList(chunks: Int, _ library: HDF5) throws -> hid_t {
    let list = try library.keep(H5Pcreate(eagle_h5_dataset_access()), "make a property list") { H5Pclose($0) }
    try library.check(H5Pset_chunk_cache(list, 521, chunks * chunkBytes.wide, 1), "set the chunk cache")
    return list
  }

  private static func space(_ present: [hsize_t], growing: Bool, _ library: HDF5) throws -> hid_t {
    let limit = growing ? [eagle_h5_unlimited()] + present.dropFirst() : present
    return try library.keep(H5Screate_simple(Int32(present.count), present, limit), "make a space") { H5Sclose($0) }
  }

  private static func checkType(of id: hid_t, _ name: String, _ path: String, _ library: HDF5) throws {
    let type = try library.keep(H5Dget_type(id), "read the type of `\(name)`") { H5Tclose($0) }
    let (kind, wanted) = (H5Tget_class(type), Element.fileType)
    let hasSign = kind != H5T_INTEGER || H5Tget_sign(type) == H5Tget_sign(wanted)
    guard kind == H5Tget_class(wanted), H5Tget_size(type) == MemoryLayout<Element>.size, hasSign
    else {
      throw LocatedError(path: path, problem: "the dataset `\(name)` does not hold \(Element.self) numbers")
    }
  }

  private static func rows(
    of id: hid_t, _ name: String, width: Int?, _ path: String, _ library: HDF5
  ) throws -> Int {
    let action = "read the shape of `\(name)`"
    let space = try library.keep(H5Dget_space(id), action) { H5Sclose($0) }
    let dimensions = Int(try library.check(H5Sget_simple_extent_ndims(space), action))
    var sizes = [hsize_t](repeating: 0, count: max(dimensions, 1))
    try library.check(H5Sget_simple_extent_dims(space, &sizes, nil), action)
    let fits = width.map { dimensions == 2 && sizes[1] == hsize_t($0) } ?? (dimensions == 1)
    guard fits, sizes[0] < 1 << 40 else {
      let expected = width.map { "[rows, \($0)]" } ?? "[rows]"
      throw LocatedError(
        path: path, problem: "the dataset `\(name)` has the shape \(Array(sizes.prefix(dimensions))), not \(expected)")
    }
    return Int(sizes[0])
  }

  /// Checks that the file holds the bytes of all rows: a dataset may declare any number of rows, and rows that were
  /// never written read as zeros.
  private static func checkStored(
    _ rows: Int, width: Int?, of id: hid_t, _ name: String, _ path: String, _ library: HDF5
  ) throws {
    let stored = H5Dget_storage_size(id).multipliedReportingOverflow(by: try largestRatio(of: id, name, library))
    let values = rows.multipliedReportingOverflow(by: width ?? 1)
    let bytes = values.partialValue.multipliedReportingOverflow(by: MemoryLayout<Element>.size)
    guard !values.overflow, !bytes.overflow, stored.overflow || hsize_t(bytes.partialValue) <= stored.partialValue
    else {
      throw LocatedError(
        path: path,
        problem:
          "the dataset `\(name)` declares \(rows) rows, and the file holds \(H5Dget_storage_size(id)) bytes of it",
        advice: "the file is damaged: remove it and make it again")
    }
  }

  /// Most bytes of values that a stored byte may stand for: 1 as written here, with checksums alone; 1,032 for DEFLATE,
  /// which other writers may have used.
  private static func largestRatio(of id: hid_t, _ name: String, _ library: HDF5) throws -> hsize_t {
    let list = try library.keep(H5Dget_create_plist(id), "read the filters of `\(name)`") { H5Pclose($0) }
    let count = H5Pget_nfilters(list)
    let hasChecksums = H5Pget_filter_by_id2(list, H5Z_FILTER_FLETCHER32, nil, nil, nil, 0, nil, nil) >= 0
    return count == (hasChecksums ? 1 : 0) ? 1 : 1032
  }
}
