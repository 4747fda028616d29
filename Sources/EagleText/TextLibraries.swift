import CPCRE2
import CZlib
import CZstd

/// The libraries behind texts and compressed files, for `--version`.
package enum TextLibraries {
  /// Name and version of each, as the loaded library says.
  package static var versions: [(name: String, value: String)] {
    [
      ("PCRE2", pcre2), ("zlib", String(cString: zlibVersion())), ("Zstandard", String(cString: ZSTD_versionString())),
    ]
  }

  private static var pcre2: String {
    var text = [UInt8](repeating: 0, count: 64)
    guard pcre2_config_8(UInt32(PCRE2_CONFIG_VERSION), &text) > 0 else { return "unknown" }
    return String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
  }
}
