import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles

// V target vocabulary · D draft vocabulary.

/// The number of times that each token is trained, by language.
package struct TokenCounts {
  /// [V] each.
  private(set) var byLanguage: [Language: [Int]]
  let size: Int

  package init(size: Int) {
    self.size = size
    byLanguage = [:]
  }

  package mutating func add(_ ids: [Int32], mask: [UInt8], language: Language, times: Int) {
    byLanguage[language, default: [Int](repeating: 0, count: size)].withUnsafeMutableBufferPointer { counts in
      for (id, flag) in zip(ids, mask) where flag != 0 { counts[Int(id)] += times }
    }
  }

  /// [V]
  var all: [Int] {
    byLanguage.values.reduce(into: [Int](repeating: 0, count: size)) { sum, counts in
      for (i, count) in counts.enumerated() where count > 0 { sum[i] += count }
    }
  }

  static func coverage(_ counts: [Int], _ vocabulary: some Sequence<Int32>) -> Double {
    let covered = vocabulary.reduce(0) { $0 + counts[Int($1)] }
    return Double(covered) / Double(max(1, counts.reduce(0, +)))
  }

  /// The usual sizes of a draft vocabulary.
  private static let sizes = (10...17).map { 1 << $0 } + [24000, 32000, 48000]
  /// The coverage below which the vocabulary limits a head.
  static let enough = 0.97
  /// The minimum share of a language in the tokens for a warning.
  private static let leastShare = 0.01

  /// Adds the coverage to the statistics, and returns warnings about languages that the vocabulary leaves out.
  ///
  /// - Parameter isOfHead: whether the vocabulary is that of `draft.init_from`, which no setting changes
  package func describe(
    _ vocabulary: DraftVocabulary, isOfHead: Bool, in statistics: inout DataStatistics
  ) -> [String] {
    let all = all
    let total = all.reduce(0, +)
    let order = all.indices.sorted { (all[$0], $1) > (all[$1], $0) }
    statistics.vocabularyCoverage = Self.coverage(all, vocabulary.targetIDs)
    statistics.coverageBySize = coverageBySize(all, order)
    var warnings: [String] = []
    for (language, counts) in byLanguage.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let coverage = Self.coverage(counts, vocabulary.targetIDs)
      statistics.languages[language.rawValue]?.vocabularyCoverage = coverage
      statistics.languages[language.rawValue]?.coverageBySize = coverageBySize(counts, order)
      let sum = counts.reduce(0, +)
      guard coverage < Self.enough, Double(sum) >= Self.leastShare * Double(total) else { continue }
      let kind = byLanguage.count == 1 ? "" : language == .other ? "unclassified " : "\(language.rawValue) "
      let covers = "covers \(Format.percent(coverage)) of the trained \(kind)tokens"
      let needed = "\(sizeNeeded(counts, order)) would cover \(Format.percent(Self.enough))"
      warnings.append(
        "warning: the draft vocabulary of \(vocabulary.size) \(covers); "
          + (isOfHead
            ? "it is that of draft.init_from, and a new head's vocabulary of \(needed)"
            : "draft.vocabulary_size \(needed)"))
    }
    return warnings
  }

  private func coverageBySize(_ counts: [Int], _ order: [Int]) -> [Int: Double] {
    let sizes = Self.sizes.filter { $0 <= size }
    return Dictionary(
      uniqueKeysWithValues: sizes.map { size in
        (size, Self.coverage(counts, order.prefix(size).lazy.map { Int32($0) }))
      })
  }

  /// The number of the most frequent tokens of all languages that together cover enough of `counts`.
  private func sizeNeeded(_ counts: [Int], _ order: [Int]) -> Int {
    let goal = Self.enough * Double(counts.reduce(0, +))
    var sum = 0
    for (index, id) in order.enumerated() {
      sum += counts[id]
      if Double(sum) >= goal { return index + 1 }
    }
    return order.count
  }
}

extension TokenCounts: Codable {
  private struct Sparse: Codable {
    var ids: [Int] = []
    var counts: [Int] = []
  }

  private enum CodingKeys: CodingKey { case size, languages }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    self.init(size: try fields.decode(Int.self, forKey: .size))
    for (name, sparse) in try fields.decode([String: Sparse].self, forKey: .languages) {
      guard let language = Language(rawValue: name) else { continue }
      var counts = [Int](repeating: 0, count: size)
      for (id, count) in zip(sparse.ids, sparse.counts) where counts.indices.contains(id) { counts[id] = count }
      byLanguage[language] = counts
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(size, forKey: .size)
    let sparse = byLanguage.map { language, counts in
      let ids = counts.indices.filter { counts[$0] > 0 }
      return (language.rawValue, Sparse(ids: ids, counts: ids.map { counts[$0] }))
    }
    try fields.encode(Dictionary(uniqueKeysWithValues: sparse), forKey: .languages)
  }
}
