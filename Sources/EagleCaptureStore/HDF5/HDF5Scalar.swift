import CHDF5

/// Elements of datasets, with their types in the file (little-endian) and in memory.
protocol HDF5Scalar: BitwiseCopyable, Numeric {
  static var fileType: hid_t { get }
  static var memoryType: hid_t { get }
}

extension Int32: HDF5Scalar {
  static var fileType: hid_t { eagle_h5_file_int32() }
  static var memoryType: hid_t { eagle_h5_native_int32() }
}

extension Int64: HDF5Scalar {
  static var fileType: hid_t { eagle_h5_file_int64() }
  static var memoryType: hid_t { eagle_h5_native_int64() }
}

extension UInt16: HDF5Scalar {
  static var fileType: hid_t { eagle_h5_file_uint16() }
  static var memoryType: hid_t { eagle_h5_native_uint16() }
}

extension UInt8: HDF5Scalar {
  static var fileType: hid_t { eagle_h5_file_uint8() }
  static var memoryType: hid_t { eagle_h5_native_uint8() }
}

extension Int8: HDF5Scalar {
  static var fileType: hid_t { eagle_h5_file_int8() }
  static var memoryType: hid_t { eagle_h5_native_int8() }
}

extension Float: HDF5Scalar {
  static var fileType: hid_t { eagle_h5_file_float32() }
  static var memoryType: hid_t { eagle_h5_native_float32() }
}
