import CHDF5

/// The HDF5 library as it is loaded.
package enum HDF5Library {
  /// The version, for example `1.10.8`.
  package static var version: String {
    var (major, minor, release): (UInt32, UInt32, UInt32) = (0, 0, 0)
    let status = HDF5.with("HDF5") { _ in H5get_libversion(&major, &minor, &release) }
    return status < 0 ? "unknown" : "\(major).\(minor).\(release)"
  }
}
