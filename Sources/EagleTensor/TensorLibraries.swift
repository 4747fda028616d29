import COneDNN
import COpenBLAS

/// The libraries behind matrix products, for `--version`.
public enum TensorLibraries {
  /// Name and version of each, as the loaded library says.
  public static var versions: [(name: String, version: String)] {
    let oneDNN = dnnl_version().pointee
    let config = openblas_get_config().map { String(cString: $0) } ?? "unknown"
    let openBLAS = config.hasPrefix("OpenBLAS ") ? String(config.dropFirst("OpenBLAS ".count)) : config
    return [
      ("oneDNN", "\(oneDNN.major).\(oneDNN.minor).\(oneDNN.patch)"),
      ("OpenBLAS", openBLAS.split(whereSeparator: \.isWhitespace).joined(separator: " ")),
    ]
  }
}
