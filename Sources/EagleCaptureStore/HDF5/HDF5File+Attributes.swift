import CHDF5
import EagleCore
import Foundation

// Attributes of the root: strings (UTF-8 of variable length, which h5py reads as `str`) and 32-bit integers.
extension HDF5File {
  func setAttribute(_ name: String, _ text: String) throws {
    try writing { library in
      let type = try Self.stringType(library)
      let attribute = try createAttribute(name, type, try Self.scalarSpace(library), library)
      let status = text.withCString { text in
        withUnsafePointer(to: Optional(text)) { H5Awrite(attribute, type, $0) }
      }
      try library.check(status, "write the attribute `\(name)`")
    }
  }

  func setAttribute(_ name: String, _ value: Int) throws {
    try writing { library in
      let attribute = try createAttribute(name, Int32.fileType, try Self.scalarSpace(library), library)
      var number = try int32(value, name)
      try library.check(H5Awrite(attribute, Int32.memoryType, &number), "write the attribute `\(name)`")
    }
  }

  func setAttribute(_ name: String, _ values: [Int]) throws {
    try writing { library in
      var size = hsize_t(values.count)
      let space = try library.keep(H5Screate_simple(1, &size, nil), "make a space") { H5Sclose($0) }
      let attribute = try createAttribute(name, Int32.fileType, space, library)
      let numbers = try values.map { try int32($0, name) }
      try library.check(H5Awrite(attribute, Int32.memoryType, numbers), "write the attribute `\(name)`")
    }
  }

  /// A string attribute of fixed length, which is stored in the file's own header, not in a heap, and can be set again.
  func setDigest(_ name: String, _ text: String) throws {
    try writing { library in
      let type = try library.keep(H5Tcopy(eagle_h5_c_string()), "make a string type") { H5Tclose($0) }
      try library.check(H5Tset_size(type, text.utf8.count), "make a string type")
      try library.check(H5Tset_strpad(type, H5T_STR_NULLPAD), "make a string type")
      let attribute =
        try openAttribute(name, library) ?? createAttribute(name, type, try Self.scalarSpace(library), library)
      try library.check(H5Awrite(attribute, type, Array(text.utf8)), "write the attribute `\(name)`")
    }
  }

  /// Writes over an integer attribute that is there.
  func overwriteAttribute(_ name: String, _ value: Int) throws {
    try writing { library in
      guard let attribute = try openAttribute(name, library) else {
        throw LocatedError(path: path, problem: "lacks the attribute `\(name)`")
      }
      var number = try int32(value, name)
      try library.check(H5Awrite(attribute, Int32.memoryType, &number), "write the attribute `\(name)`")
    }
  }

  /// A string attribute, of fixed or variable length; nil when there is none.
  func text(_ name: String) throws -> String? {
    try HDF5.with(path) { library in
      guard let attribute = try openAttribute(name, library) else { return nil }
      let type = try library.keep(H5Aget_type(attribute), "read the type of `\(name)`") { H5Tclose($0) }
      guard H5Tget_class(type) == H5T_STRING else { throw mistyped(name, "a string") }
      return H5Tis_variable_str(type) > 0
        ? try variableText(attribute, name, library) : try fixedText(attribute, type, name, library)
    }
  }

  /// An attribute of integers, scalar or one-dimensional; nil when there is none.
  func integers(_ name: String) throws -> [Int]? {
    try HDF5.with(path) { library in
      guard let attribute = try openAttribute(name, library) else { return nil }
      let type = try library.keep(H5Aget_type(attribute), "read the type of `\(name)`") { H5Tclose($0) }
      guard H5Tget_class(type) == H5T_INTEGER else { throw mistyped(name, "an integer") }
      let space = try library.keep(H5Aget_space(attribute), "read the shape of `\(name)`") { H5Sclose($0) }
      let count = try library.check(H5Sget_simple_extent_npoints(space), "read the shape of `\(name)`")
      guard count <= 1 << 16 else { throw mistyped(name, "a short list") }
      var values = [Int64](repeating: 0, count: Int(count))
      try library.check(H5Aread(attribute, Int64.memoryType, &values), "read the attribute `\(name)`")
      return values.map { Int($0) }
    }
  }

  private func variableText(_ attribute: hid_t, _ name: String, _ library: HDF5) throws -> String {
    let space = try library.keep(H5Aget_space(attribute), "read the shape of `\(name)`") { H5Sclose($0) }
    guard H5Sget_simple_extent_npoints(space) == 1 else { throw mistyped(name, "one string") }
    let type = try Self.stringType(library)
    var pointer: UnsafeMutablePointer<CChar>?
    let status = withUnsafeMutablePointer(to: &pointer) { H5Aread(attribute, type, $0) }
    try library.check(status, "read the attribute `\(name)`")
    guard let pointer else { return "" }
    defer { H5free_memory(pointer) }
    return String(cString: pointer)
  }

  private func fixedText(_ attribute: hid_t, _ type: hid_t, _ name: String, _ library: HDF5) throws -> String {
    let size = H5Tget_size(type)
    guard size > 0, size <= 1 << 20, H5Aget_storage_size(attribute) == hsize_t(size) else {
      throw mistyped(name, "one string")
    }
    var bytes = [UInt8](repeating: 0, count: size)
    try library.check(H5Aread(attribute, type, &bytes), "read the attribute `\(name)`")
    return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  private func openAttribute(_ name: String, _ library: HDF5) throws -> hid_t? {
    guard try library.check(H5Aexists(id, name), "look for the attribute `\(name)`") > 0 else { return nil }
    let attribute = H5Aopen(id, name, eagle_h5_default_list())
    return try library.keep(attribute, "open the attribute `\(name)`") { H5Aclose($0) }
  }

  private func createAttribute(_ name: String, _ type: hid_t, _ space: hid_t, _ library: HDF5) throws -> hid_t {
    let list = eagle_h5_default_list()
    let attribute = H5Acreate2(id, name, type, space, list, list)
    return try library.keep(attribute, "create the attribute `\(name)`") { H5Aclose($0) }
  }

  private static func scalarSpace(_ library: HDF5) throws -> hid_t {
    try library.keep(H5Screate(H5S_SCALAR), "make a scalar space") { H5Sclose($0) }
  }

  private static func stringType(_ library: HDF5) throws -> hid_t {
    let type = try library.keep(H5Tcopy(eagle_h5_c_string()), "make a string type") { H5Tclose($0) }
    try library.check(H5Tset_size(type, eagle_h5_variable_length()), "make a string type")
    try library.check(H5Tset_cset(type, H5T_CSET_UTF8), "make a string type")
    return type
  }

  private func int32(_ value: Int, _ name: String) throws -> Int32 {
    guard let number = Int32(exactly: value) else {
      throw LocatedError(path: path, problem: "the attribute `\(name)` cannot hold \(value)")
    }
    return number
  }

  private func mistyped(_ name: String, _ expected: String) -> LocatedError {
    LocatedError(path: path, problem: "the attribute `\(name)` is not \(expected)")
  }
}
