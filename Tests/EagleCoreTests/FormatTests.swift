import EagleCore
import Testing

@Suite struct FormatTests {
  @Test("seconds become minutes and seconds, and hours from 60 minutes on")
  func clock() {
    #expect([0, 7.4, 187, 3599.4].map(Format.clock) == ["0:00", "0:07", "3:07", "59:59"])
    #expect([3599.6, 3723, 360_000].map(Format.clock) == ["1:00:00", "1:02:03", "100:00:00"])
  }

  @Test("bytes are given in the largest fitting unit, fractions in percent")
  func quantities() {
    #expect([5e5, 1.2e9, 2.5e12].map(Format.bytes) == ["0.5 MB", "1.20 GB", "2.50 TB"])
    #expect([0.9734, 1].map(Format.percent) == ["97.3 %", "100.0 %"])
    #expect([0, 1, 2].map { Format.count($0, "shard") } == ["0 shards", "1 shard", "2 shards"])
  }

  @Test("a byte becomes two hexadecimal digits")
  func bytes() {
    #expect(Format.hex([0, 10, 16, 255] as [UInt8]) == "000a10ff" && Format.hex([UInt8]()) == "")
  }

  @Test("cells are aligned to their columns, and longer ones keep a blank")
  func table() {
    let table = TextTable(.left(6), .right(6))
    #expect(table.line("abc", "1.5", "xyz") == "abc      1.5xyz")
    #expect(table.line("abcdefg", "1234567", "rest") == "abcdefg  1234567rest")
    #expect(table.line("a") == "a     ")
    // With several rows, the left column is as wide as the longest cell, and the right one stays aligned.
    #expect(table.lines([["abcdefg", "1", "x"], ["a"]]) == ["abcdefg      1x", "a       "])
  }
}
