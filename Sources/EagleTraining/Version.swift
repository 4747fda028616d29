import CEagleVersion
import EagleCluster
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// What `--version` of both commands says.
public enum Version {
  /// Of the commands and of the formats that they write.
  public static let number = "0.1.0"

  /// The commit that was built; "unknown" where the build was not told.
  public static var commit: String { String(cString: eagle_commit()) }

  /// Version and commit, the libraries in use, and what the processor can do.
  public static func text(command: String) -> String {
    let libraries =
      [
        ("Swift", NumericLibraries.swift), ("oneDNN", NumericLibraries.oneDNN), ("OpenBLAS", NumericLibraries.openBLAS),
        ("HDF5", HDF5Library.version), ("MPI", Cluster.library),
      ] + TextLibraries.versions
    let rows =
      libraries + [
        ("processor", Processor.name), ("fp32", Matmul.describe(.fp32)), ("bf16", Matmul.describe(.bf16)),
      ]
    let lines = rows.map { name, value in "  \(name.padding(toLength: 11, withPad: " ", startingAt: 0))\(value)" }
    return (["\(command) \(number), commit \(commit)"] + lines).joined(separator: "\n")
  }
}
