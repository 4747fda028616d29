import Foundation
import Testing

/// Tables of the documents that repeat files in recipes/results.
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

  private func rounded(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

  @Test("the tables by epoch are those of evaluation.json")
  func byEpoch() throws {
    let file = URL(fileURLWithPath: "\(Page.root)/recipes/results/smollm2-135m/evaluation.json")
    let records = try JSONDecoder().decode([Record].self, from: Data(contentsOf: file))
    let tables = try tables(Page("docs/results/acceptance.md"), under: "### By epoch")
    try #require(tables.count == 3)
    let names = tables[0][0].dropFirst().dropLast()
    try #require(tables[0].count == records.count + 1 && Set(names) == Set(records[0].benchmarks.keys))
    for (record, (lengths, heldOut)) in zip(records, zip(tables[0].dropFirst(), tables[1].dropFirst())) {
      let expected = names.map { rounded(record.benchmarks[$0]!.acc_length, 2) } + [rounded(record.mean_acc_length, 2)]
      #expect(lengths[0].hasPrefix("\(record.epoch)") && Array(lengths.dropFirst()) == expected)
      let values = [
        rounded(record.held_out.loss, 2), rounded(record.held_out.accuracy[0], 3),
        rounded(record.held_out.simulated_acceptance_length, 2),
      ]
      #expect(heldOut[0].hasPrefix("\(record.epoch)") && Array(heldOut.dropFirst()) == values)
    }
    for (position, row) in tables[2].dropFirst().enumerated() {
      #expect(row[0] == "\(position + 1)")
      for (name, cell) in zip(tables[2][0].dropFirst(), row.dropFirst()) {
        let share = records.last!.benchmarks[name]!.acceptance_by_position[position]
        // Two digits of a share: 0.545 may be written either way.
        #expect(abs(Double(cell)! - share) <= 0.0050001, "\(name) \(position)")
      }
    }
  }
}
