import EagleCore
import EagleRunFiles
import EagleTensor
import Foundation
import Testing

@Suite struct ComparisonTests {
  /// Prompts of very different difficulty, each accepted a little longer with `gain` more tokens.
  private func prompts(gain: Int) -> [(tokens: Int, passes: Int)] {
    (0..<40).map { (tokens: 20 + 60 * ($0 % 3) + gain, passes: 20) }
  }

  private func compare(
    _ a: [String: BenchmarkResult], _ b: [String: BenchmarkResult], heldOut first: HeldOutGroups? = nil,
    _ second: HeldOutGroups? = nil
  ) throws -> EvaluationComparison {
    var random = RandomSource(seed: 0)
    return try EvaluationComparison(
      MeasuredBenchmarks(name: "A.json", results: a, heldOut: first),
      MeasuredBenchmarks(name: "B.json", results: b, heldOut: second), using: &random)
  }

  @Test("a paired difference is certain where the intervals of both heads overlap")
  func pairing() throws {
    var (a, b) = (MeasuredPrompts.result(prompts(gain: 0)), MeasuredPrompts.result(prompts(gain: 2)))
    var random = RandomSource(seed: 0)
    a.addIntervals(using: &random)
    b.addIntervals(using: &random)
    let (first, second) = (try #require(a.accLengthInterval), try #require(b.accLengthInterval))
    #expect(first.high > second.low)
    let comparison = try compare(["math": a], ["math": b])
    let row = comparison.benchmarks[0]
    #expect(abs(row.difference - 0.1) < 1e-12 && row.samples == 40)
    #expect(try #require(row.interval).low > 0.09)
    #expect(comparison.lines().last?.hasPrefix("B accepts more than A") == true)
  }

  @Test("a difference that chance explains is left open, and the mean is over common benchmarks")
  func chance() throws {
    let noisy = (0..<40).map { (tokens: 20 + 60 * (($0 + $0 / 3) % 3), passes: 20) }
    let (a, b) = (MeasuredPrompts.result(prompts(gain: 0)), MeasuredPrompts.result(noisy))
    let comparison = try compare(["math": a, "code": a, "chat": a], ["math": b, "code": b, "more": b])
    #expect(comparison.benchmarks.map(\.benchmark) == ["code", "math"] && comparison.unpaired == ["chat", "more"])
    #expect(comparison.mean?.samples == 80 && comparison.heldOut == nil)
    let lines = comparison.lines().joined(separator: "\n")
    #expect(lines.contains("left out: chat, more") && lines.contains("do not tell which of the two"), "\(lines)")
  }

  @Test("what else differs between two evaluations is said")
  func remarks() throws {
    let a = MeasuredPrompts.result(prompts(gain: 0))
    var b = a
    #expect(try compare(["math": a], ["math": b]).remarks.isEmpty)
    (b.plan, b.temperature) = ("a chain of 7", 1)
    let comparison = try compare(["math": a], ["math": b])
    #expect(comparison.remarks.count == 2 && comparison.remarks[0].contains("B with a chain of 7"))
    let lines = comparison.lines().joined(separator: "\n")
    #expect(lines.contains("temperature 1.0") && lines.contains("not that of the heads alone"), "\(lines)")
  }

  @Test("other prompts, no common benchmark and files without counts are refused")
  func refusals() throws {
    func error(_ a: [String: BenchmarkResult], _ b: [String: BenchmarkResult]) -> String {
      let error = #expect(throws: LocatedError.self) { try compare(a, b) }
      return error?.description ?? ""
    }
    let result = MeasuredPrompts.result(prompts(gain: 0))
    let others = MeasuredPrompts.result(prompts(gain: 0), digest: "others")
    #expect(error(["m": result], ["m": others]).contains("B.json: its prompts of m are not those of A.json"))
    #expect(error(["m": result], ["n": result]).contains("no benchmark and no held-out conversations in common"))
    var old = result
    old.byPrompt = nil
    #expect(error(["m": old], ["m": result]).hasPrefix("A.json: has no counts by prompt for m"))
  }

  @Test("held-out conversations are paired over the steps that both heads have, also without benchmarks")
  func heldOut() throws {
    // Conversations of very different difficulty, in each of which the second head has one more hit of 50.
    func counts(gain: Int, steps: Int) -> HeldOutGroups {
      HeldOutGroups(
        digest: "some", rows: (0..<steps).map { [Int](repeating: 50 - $0, count: 60) },
        hits: (0..<steps).map { k in (0..<60).map { 10 + 10 * ($0 % 3) + gain - 5 * k } })
    }
    let (a, b) = (counts(gain: 0, steps: 3), counts(gain: 1, steps: 5))
    let comparison = try compare([:], [:], heldOut: a, b)
    let row = try #require(comparison.heldOut)
    #expect(row.samples == 60 && comparison.mean == nil && comparison.benchmarks.isEmpty)
    let (one, two) = (20.0 / 50, 15.0 / 49)
    #expect(abs(row.first - (1 + one + one * two + one * two * 10 / 48)) < 1e-12)
    #expect(try #require(row.interval).low > 0.02 && row.difference < 0.05)
    #expect(comparison.lines().last == "B accepts more than A: the interval on held-out conversations lies above 0")
    var others = b
    others.digest = "others"
    let error = #expect(throws: LocatedError.self) { try compare([:], [:], heldOut: a, others) }
    #expect(error?.description.contains("no held-out conversations in common") == true)
    let result = MeasuredPrompts.result(prompts(gain: 0))
    #expect(try compare(["m": result], ["m": result], heldOut: a, others).heldOut == nil)
    #expect(try compare(["m": result], ["m": result], heldOut: a).heldOut == nil, "a file of an older version")
    #expect(try JSONStyle.indented.text(comparison).contains("\"held_out\""))
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(HeldOutGroups.self, from: Data(#"{"digest": "", "rows": [[1]], "hits": [[1, 2]]}"#.utf8))
    }
  }

  @Test("counts of a file whose sum is no Int are added")
  func hugeCounts() {
    let groups = HeldOutGroups(digest: "", rows: [[1 << 62, 1 << 62]], hits: [[1 << 61, 1 << 62]])
    #expect(abs(groups.simulatedAcceptanceLength(of: [0, 1], steps: 1) - 1.75) < 1e-12)
  }

  @Test("a source is a file, a run's folder, or one of its epochs")
  func sources() throws {
    let folder = NSTemporaryDirectory() + "/eagle-compare-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let records = (0...2).map { epoch in
      let results = ["m": MeasuredPrompts.result(prompts(gain: [0, 9, 5][epoch]))]
      return EvaluationRecord(epoch: epoch, step: epoch, benchmarks: results, heldOut: nil)
    }
    try EvaluationFile.write(records, to: "\(folder)/evaluation.json")
    try AtomicFile.writeJSON(records[2].benchmarks, to: "\(folder)/one.json", style: .indented)
    #expect(try MeasuredBenchmarks(folder).name == "\(folder)/evaluation.json, epoch 1")
    #expect(try MeasuredBenchmarks("\(folder)#2").results == records[2].benchmarks)
    #expect(try MeasuredBenchmarks("\(folder)/evaluation.json#0").name.hasSuffix("epoch 0"))
    #expect(try MeasuredBenchmarks("\(folder)/one.json").results == records[2].benchmarks)
    for (source, problem) in [
      ("\(folder)#7", "no evaluation of epoch 7; its epochs are 0, 1, 2"), ("\(folder)/none", "no such evaluation"),
      ("\(folder)/one.json#1", "has no epochs"),
    ] {
      let error = #expect(throws: LocatedError.self) { try MeasuredBenchmarks(source) }
      #expect(error?.description.contains(problem) == true, "\(error as Any)")
    }
  }

  @Test("an evaluation without intervals, as older versions wrote it, is read")
  func oldFiles() throws {
    let text = """
      [{"epoch":1,"step":5,"mean_acc_length":1.5,"benchmarks":{"m":{"acc_length":1.5,"draft_length":3,
      "acceptance_by_position":[0.4],"tokens_per_second":30,"plain_tokens_per_second":20,"speedup":1.5,"prompts":4,
      "new_tokens":100,"differing":0}},"conditions":{"draft_length":3,"max_new_tokens":8,"prompts":{"m":"x"}}}]
      """
    let record = try #require(try EvaluationFile.decode(Data(text.utf8), path: "e.json").first)
    #expect(record.meanAccLengthInterval == nil && record.benchmarks["m"]?.byPrompt == nil)
    #expect(record.score == 1.5 && record.table().count == 3)
    var new = record
    new.conditions = EvaluationConditions(draftLength: 3, maxNewTokens: 8, prompts: ["m": "x"])
    #expect(new.isComparable(to: record))
  }

  @Test("validation prompts choose the best epoch, and the others are reported")
  func validation() {
    func record(_ epoch: Int, reported: Int, validation: Int) -> EvaluationRecord {
      var record = EvaluationRecord(
        epoch: epoch, step: epoch, benchmarks: ["m": MeasuredPrompts.result([(reported, 10)])], heldOut: nil,
        conditions: EvaluationConditions(draftLength: 3, maxNewTokens: 8, prompts: [:]))
      record.validation = ["m": MeasuredPrompts.result([(validation, 10)])]
      return record
    }
    let records = [record(1, reported: 30, validation: 20), record(2, reported: 25, validation: 24)]
    #expect(records.best?.epoch == 2 && records[1].isBest(after: [records[0]]))
    #expect(records[1].meanAccLength == 2.5 && records[1].score == 2.4)
    #expect(records[1].table().last?.contains("chosen by 1 other prompts, whose mean acc_length is 2.40") == true)
  }
}
