import Foundation

/// Quantities as text for people.
package enum Format {
  /// Seconds as minutes and seconds, with hours where there are any: `3:07`, `1:02:03`.
  package static func clock(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    return whole < 3600
      ? String(format: "%d:%02d", whole / 60, whole % 60)
      : String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
  }

  /// Bytes in the largest fitting unit of MB, GB and TB, by powers of 1000: `0.5 MB`, `1.20 GB`.
  package static func bytes(_ count: Double) -> String {
    if count >= 1e12 { return String(format: "%.2f TB", count / 1e12) }
    if count >= 1e9 { return String(format: "%.2f GB", count / 1e9) }
    return String(format: "%.1f MB", count / 1e6)
  }

  /// A number of things whose plural ends in s: `1 shard`, `2 shards`.
  package static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

  /// Two lower-case hexadecimal digits for each byte: `0aff` for 10 and 255.
  package static func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// A fraction in percent: `97.3 %` for 0.973.
  package static func percent(_ fraction: Double) -> String { "\((fraction * 1000).rounded() / 10) %" }
}
