import EagleRunFiles
import Testing

@Suite struct BenchmarkTableTests {
  @Test("long names and many positions are shown whole, and columns stay aligned")
  func nothingIsCut() throws {
    var long = MeasuredPrompts.result([(20, 10), (30, 20)])
    long.acceptanceByPosition = [0.57, 0.34, 0.24, 0.71, 0.11, 0.05, 0.01]
    let lines = BenchmarkTable.lines(
      ["a-benchmark-with-a-long-name": long, "chat": MeasuredPrompts.result([(20, 10)])], mean: nil)
    try #require(lines.count == 4)
    #expect(
      lines[1].contains("  a-benchmark-with-a-long-name ") && lines[1].contains(" 0.57 0.34 0.24 0.71 0.11 0.05 0.01 "))
    let ends = lines.prefix(3).map { line in
      line.ranges(of: /\S+/).map { line.distance(from: line.startIndex, to: $0.upperBound) }
    }
    // "prompts" is the last right-aligned column, before the words about equality.
    let header = try #require(lines[0].firstRange(of: "prompts"))
    let edge = lines[0].distance(from: lines[0].startIndex, to: header.upperBound)
    #expect(ends.allSatisfy { $0.contains(edge) }, "\(lines)")
  }
}
