import EagleRunFiles
import Foundation
import Testing

/// `metrics.jsonl` as reports read it.
@Suite struct MetricsHistoryTests {
  private func line(_ step: Int) -> String {
    let communication =
      step % 2 == 0
      ? #""communication":{"bytes_sent":10,"exposed":0.25,"imbalance":0.5,"seconds":1e-1},"# : ""
    return "{\"acceptance\":[0.5],\"accuracy\":[0.25]," + communication
      + "\"epoch\":\(1 + step / 60),\"grad_norm\":1,\"loss\":2.5,\"lr\":1e-05,"
      + "\"simulated_acceptance_length\":1.5,\"step\":\(step),\"tokens\":\(100 + step),\"tokens_per_second\":2e2}"
  }

  private let skipped =
    #"{"conversations":["\"epoch\":7"],"epoch":1,"skipped":"loss","step":41}"#

  private func history(_ lines: [String], mostSteps: Int) throws -> MetricsHistory {
    let path = NSTemporaryDirectory() + "/metrics-\(UUID().uuidString).jsonl"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
    return MetricsHistory(path: path, mostSteps: mostSteps)
  }

  @Test("sums are those of all steps, however few are shown", arguments: [1000, 100, 30, 7, 1])
  func sumsAreWhole(mostSteps: Int) throws {
    let lines = (1...40).map(line) + [skipped] + (42...100).map(line) + ["{\"torn"]
    let read = try history(lines, mostSteps: mostSteps)
    #expect(read.steps.first?.step == 1 && read.skipped.map(\.step) == [41])
    #expect(read.steps.count <= mostSteps + 1 && read.stride == (lines.count + mostSteps - 1) / mostSteps)
    let all = (1...100).filter { $0 != 41 }
    let total = read.total
    #expect(total.steps == 99 && total.tokens == all.reduce(0) { $0 + 100 + $1 })
    #expect(abs(total.seconds - Double(total.tokens) / 200) < 1e-9)
    #expect(total.communicating == 50 && total.exposed == 12.5 && total.imbalance == 25)
    #expect(read.sums.keys.sorted() == [1, 2] && read.sums[1]?.steps == 58)
  }

  @Test("numbers that no writer of ours has are no steps") func oddNumbers() throws {
    let odd = [#""tokens":-5"#, #""tokens":1e99"#, #""tokens":"x""#, #""tokens_per_second":0"#].map { odd in
      let key = odd.split(separator: ":")[0]
      return line(3).replacing(try! Regex("\(key):[0-9e]+"), with: odd)
    }
    let read = try history([line(1)] + odd + [line(2)], mostSteps: 1)
    #expect(read.total.tokens >= 203 && read.total.seconds.isFinite)
  }
}
