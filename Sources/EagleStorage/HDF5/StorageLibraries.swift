import CHDF5

/// The libraries behind files, for `--version`.
public enum StorageLibraries {
  /// Name and version of each, as the loaded library says.
  public static var versions: [(name: String, version: String)] {
    var (major, minor, release): (UInt32, UInt32, UInt32) = (0, 0, 0)
    guard H5get_libversion(&major, &minor, &release) >= 0 else { return [("HDF5", "unknown")] }
    return [("HDF5", "\(major).\(minor).\(release)")]
  }
}
