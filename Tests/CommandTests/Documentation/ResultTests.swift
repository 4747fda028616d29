import Foundation
import Testing

/// Tables in the documents with values of files in recipes/results.
@Suite struct ResultTests {
  private struct Record: Decodable {
    struct Benchmark: Decodable {
      let acc_length: Double
      let acceptance_by_position: [Double]
    }
    struct HeldOut: Decodable {
      let loss: Double
      let accuracy: [Double]
      let simulated_acceptance_length: Double
    }
    let epoch: Int
    let mean_acc_length: Double
    let held_out: HeldOut
    let benchmarks: [String: Benchmark]
  }

  /// The tables of a section, each a list of rows of cells, without the line of dashes.
  private func tables(_ page: Page, under heading: String) throws -> [[[String]]] {
    let section = try #require(page.text.components(separatedBy: "\n\(heading)\n").dropFirst().first)
    let lines = section.split(separator: "\n", omittingEmptySubsequences: false).prefix { !$0.hasPrefix("#") }
    return lines.split { !$0.hasPrefix("|") }.map { rows in
      rows.filter { !$0.hasPrefix("|-") }.map { row in
        row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      }
    }
  }

  /// Throws if a table has fewer than `rows` rows, including its head, or a row has no, too few or too many cells. A
  /// test then does not index missing cells, and does not pass without a comparison.
  private func requireWhole(_ table: [[String]], rows: Int = 2) throws {
    try #require(table.count >= rows, "\(table)")
    let columns = table[0].count
    try #require(columns >= 2 && table.allSatisfy { $0.count == columns }, "\(table)")
  }

  private func rounded(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

  @Test("the tables by epoch are those of evaluation.json")
  func byEpoch() throws {
    let file = URL(fileURLWithPath: "\(Page.root)/recipes/results/smollm2-135m/evaluation.json")
    let records = try JSONDecoder().decode([Record].self, from: Data(contentsOf: file))
    let tables = try tables(Page("docs/results/acceptance.md"), under: "### By epoch")
    try #require(tables.count == 3 && !records.isEmpty)
    for table in tables { try requireWhole(table) }
    let names = tables[0][0].dropFirst().dropLast()
    try #require(tables[0].count == records.count + 1 && tables[1].count == records.count + 1)
    try #require(records.allSatisfy { Set(names) == Set($0.benchmarks.keys) && !$0.held_out.accuracy.isEmpty })
    for (record, (lengths, heldOut)) in zip(records, zip(tables[0].dropFirst(), tables[1].dropFirst())) {
      let benchmarks = try names.map { try #require(record.benchmarks[$0]) }
      let expected = benchmarks.map { rounded($0.acc_length, 2) } + [rounded(record.mean_acc_length, 2)]
      #expect(lengths[0].hasPrefix("\(record.epoch)") && Array(lengths.dropFirst()) == expected)
      let values = [
        rounded(record.held_out.loss, 2), rounded(record.held_out.accuracy[0], 3),
        rounded(record.held_out.simulated_acceptance_length, 2),
      ]
      #expect(heldOut[0].hasPrefix("\(record.epoch)") && Array(heldOut.dropFirst()) == values)
    }
    let last = try #require(records.last)
    for (position, row) in tables[2].dropFirst().enumerated() {
      #expect(row[0] == "\(position + 1)")
      for (name, cell) in zip(tables[2][0].dropFirst(), row.dropFirst()) {
        let shares = try #require(last.benchmarks[name]).acceptance_by_position
        let (share, written) = (try #require(shares.dropFirst(position).first), try #require(Double(cell)))
        // Two digits of a share: 0.545 may be written either way.
        #expect(abs(written - share) <= 0.0050001, "\(name) \(position)")
      }
    }
  }

  /// What `eagle-run tune --json` has written.
  private struct Plans: Decodable {
    struct Result: Decodable {
      let plan: String
      let acc_length, tokens_per_second, plain_tokens_per_second, speedup: Double
      let differing: Int
    }
    let benchmarks: [String: [Result]]

    init(_ name: String) throws {
      let file = URL(fileURLWithPath: "\(Page.root)/recipes/results/smollm2-135m/\(name)")
      self = try JSONDecoder().decode(Plans.self, from: Data(contentsOf: file))
    }

    /// The results of one plan, in the order of benchmarks.
    func results(_ plan: String, _ names: some Sequence<String>) throws -> [Result] {
      try names.map { name in try #require(benchmarks[name]?.first { $0.plan == plan }, "\(plan) of \(name)") }
    }
  }

  private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

  @Test("acceptance lengths by draft plan are those of the file, for each format of the weights")
  func lengthsByPlan() throws {
    let tables = try tables(Page("docs/results/acceptance.md"), under: "### By draft plan")
    let files = ["plans.json", "plans-q8_0.json", "plans-q4_0.json"]
    try #require(tables.count == files.count)
    for (table, file) in zip(tables, files) {
      try requireWhole(table)
      let (plans, names) = (try Plans(file), table[0].dropFirst().dropLast())
      #expect(Set(names) == Set(plans.benchmarks.keys))
      for row in table.dropFirst() {
        let results = try plans.results(row[0], names)
        let lengths = results.map(\.acc_length)
        #expect(Array(row.dropFirst()) == (lengths + [mean(lengths)]).map { rounded($0, 2) }, "\(file), \(row[0])")
        #expect(results.allSatisfy { $0.differing == 0 })
      }
    }
  }

  @Test("speeds by draft plan are those of the file, in the page and in the README")
  func speedsByPlan() throws {
    let plans = try Plans("plans.json")
    let table = try #require(try tables(Page("docs/results/decoding.md"), under: "## Speed with a trained head").first)
    try requireWhole(table)
    let names = table[0].dropFirst()
    for row in table.dropFirst() {
      let isPlain = row[0] == "plain"
      let cells = try plans.results(isPlain ? "chain 3" : row[0], names).map { result in
        isPlain
          ? rounded(result.plain_tokens_per_second, 1)
          : "\(rounded(result.tokens_per_second, 1)) (\(rounded(result.speedup, 2)))"
      }
      #expect(row.dropFirst().map { $0.replacingOccurrences(of: "*", with: "") } == cells, "\(row[0])")
    }
    let readme = try #require(try tables(Page("README.md"), under: "## Speed").first)
    try requireWhole(readme, rows: 5)
    let best = try plans.results("tree 4x3, 8 nodes, adaptive", readme[0].dropFirst())
    #expect(Array(readme[1].dropFirst()) == best.map { rounded($0.acc_length, 2) })
    #expect(Array(readme[2].dropFirst()) == best.map { rounded($0.plain_tokens_per_second, 0) })
    #expect(Array(readme[3].dropFirst()) == best.map { rounded($0.tokens_per_second, 0) })
    #expect(Array(readme[4].dropFirst()) == best.map { rounded($0.speedup, 2) })
  }
}
