import EagleCore
import Foundation
import Testing

@Suite struct VersionTests {
  private static let shared = [
    "Swift", "oneDNN", "OpenBLAS", "PCRE2", "zlib", "Zstandard", "processor", "fp32", "bf16",
  ]

  @Test(
    "--version names every library that a command links, and no other",
    arguments: [("eagle-train", shared + ["HDF5", "MPI"]), ("eagle-run", shared)])
  func libraries(command: String, names: [String]) throws {
    let outcome = try Command.run(command, ["--version"])
    var lines = outcome.output.split(separator: "\n").map(String.init)
    #expect(outcome.status == 0)
    #expect(lines.removeFirst() == "\(command) \(Version.number), commit \(Version.commit)")
    #expect(Set(lines.compactMap { $0.split(separator: " ").first.map(String.init) }) == Set(names))
  }

  @Test("eagle-run links neither MPI nor HDF5")
  func sharedLibraries() throws {
    let libraries = try Command.run("/usr/bin/ldd", ["\(Command.binaries)/eagle-run"])
    #expect(libraries.status == 0 && libraries.output.contains("dnnl"))
    for name in ["libmpi", "libhdf5"] { #expect(!libraries.output.contains(name), "\(name)") }
  }
}
