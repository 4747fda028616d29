import COneDNN
import COpenBLAS

/// Versions of the libraries behind the tensors, as they are loaded.
package enum NumericLibraries {
  /// Name and version of each.
  package static var versions: [(name: String, value: String)] {
    [("Swift", swift), ("oneDNN", oneDNN), ("OpenBLAS", openBLAS)]
  }

  /// What the processor can do, as `--version` says it.
  package static var capabilities: [(name: String, value: String)] {
    [("processor", Processor.name), ("fp32", Matmul.describe(.fp32)), ("bf16", Matmul.describe(.bf16))]
  }

  /// For example `2.6.3`.
  package static var oneDNN: String {
    guard let version = dnnl_version()?.pointee else { return "unknown" }
    return "\(version.major).\(version.minor).\(version.patch)"
  }

  /// Version, and the processor that it takes this one for.
  package static var openBLAS: String {
    guard let text = openblas_get_config(), let core = openblas_get_corename() else { return "unknown" }
    let version = String(cString: text).split(separator: " ").first { $0 != "OpenBLAS" }
    return "\(version ?? "unknown"), \(String(cString: core))"
  }

  /// The Swift that compiled this.
  package static var swift: String {
    #if compiler(>=6.4)
      return "6.4 or newer"
    #elseif compiler(>=6.3)
      return "6.3"
    #elseif compiler(>=6.2)
      return "6.2"
    #elseif compiler(>=6.1)
      return "6.1"
    #else
      return "6.0"
    #endif
  }
}
