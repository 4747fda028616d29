import EagleCore
import Foundation
import Testing

@Suite struct AlgorithmTests {
  @Test("partitioningIndex finds the first index where the condition holds, for any length")
  func partitioningIndex() {
    for count in 0..<20 {
      let values = (0..<count).map { 2 * $0 }
      for border in -1...2 * count {
        let expected = values.firstIndex { $0 > border } ?? count
        #expect(values.partitioningIndex { $0 > border } == expected, "\(border) in \(count)")
        #expect(values.dropFirst().partitioningIndex { $0 > border } == max(min(1, count), expected))
      }
    }
  }

  @Test("FNV1a gives the published hashes")
  func fnv1a() {
    let known: [(String, UInt64)] = [
      ("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8),
    ]
    for (text, hash) in known { #expect(FNV1a.hash(text) == hash, "\(text)") }
  }

  @Test("each style of JSON has its own bytes, and a file is replaced by them")
  func jsonStyles() throws {
    let value = ["b": "x/y", "a": "é"]
    #expect(try JSONStyle.compact.text(value) == #"{"a":"é","b":"x/y"}"#)
    #expect(try JSONStyle.compactEscaped.text(value) == #"{"a":"é","b":"x\/y"}"#)
    #expect(try JSONStyle.indented.text(value) == "{\n  \"a\" : \"é\",\n  \"b\" : \"x/y\"\n}")
    #expect(try JSONStyle.indentedEscaped.text(value) == "{\n  \"a\" : \"é\",\n  \"b\" : \"x\\/y\"\n}")
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("styles-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try AtomicFile.writeJSON([1, 2], to: path, style: .indented)
    try AtomicFile.writeJSON(value, to: path, style: .compact)
    #expect(FileManager.default.contents(atPath: path) == (try JSONStyle.compact.encode(value)))
  }
}
