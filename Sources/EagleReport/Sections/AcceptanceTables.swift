import EagleRunFiles

/// The acceptance of one head in detail: by benchmark, by position, and by the length of the context.
struct AcceptanceTables {
  let record: EvaluationRecord

  init(_ record: EvaluationRecord) { self.record = record }

  var html: String { [benchmarks, positions, contexts].joined(separator: "\n") }

  private var results: [(key: String, value: BenchmarkResult)] { record.benchmarks.sorted { $0.key < $1.key } }

  private var benchmarks: String {
    let rows = results.map { name, result in
      [
        HTML.escape(name), HTML.number(result.accLength, within: result.accLengthInterval),
        HTML.number(result.tokensPerSecond, digits: 1), HTML.number(result.plainTokensPerSecond, digits: 1),
        HTML.number(result.speedup, within: result.speedupInterval), HTML.number(result.prompts),
        result.temperature == nil && result.differing != 0
          ? "\(HTML.number(result.differing)) differ" : result.equality,
      ]
    }
    return HTML.table(
      record.epoch == 0 ? "before training" : "the best head, epoch \(record.epoch)",
      ["benchmark", "acc_length", "tokens/s", "plain tokens/s", "ratio", "prompts", "equal to plain"], rows)
  }

  // MARK: by position

  /// The acceptance of decoding at each position, next to the held-out values of training.
  private var positions: String {
    let count = results.map(\.value.acceptanceByPosition.count).max() ?? 0
    guard count > 0 else { return "" }
    let head = [""] + (1...count).map { "position \($0)" }
    func table(_ caption: String, _ heldOut: (String, [Double]?), _ values: (BenchmarkResult) -> [Double]) -> String {
      var rows = results.map { name, result in row(HTML.escape(name), values(result), count) }
      if let values = heldOut.1 { rows.append(row(heldOut.0, values, count)) }
      return HTML.table(caption, head, rows)
    }
    let heldOut = record.heldOut
    return "<div class=\"charts\">"
      + table(
        "rounds that accepted up to each position",
        ("held out, simulated", heldOut?.simulatedAcceptanceByDepth), \.acceptanceByPosition)
      + table(
        "accepted, of the rounds that accepted all before",
        ("held out, accuracy", heldOut?.accuracy)
      ) { $0.counts?.speculative.conditionalAcceptance ?? [] }
      + "</div>"
  }

  private func row(_ name: String, _ values: [Double], _ count: Int) -> [String] {
    [name] + (0..<count).map { $0 < values.count ? HTML.number(values[$0], digits: 2) : "–" }
  }

  // MARK: by context

  private var contexts: String {
    let rows = results.flatMap { name, result in
      (result.contexts ?? []).map { context in
        [
          HTML.escape(name), HTML.number(context.contextLength), HTML.number(context.promptTokens, digits: 0),
          HTML.number(context.result.accLength, within: context.result.accLengthInterval),
          HTML.number(context.result.speedup, within: context.result.speedupInterval),
          HTML.number(context.result.prompts),
        ]
      }
    }
    guard !rows.isEmpty else { return "" }
    return HTML.paragraph("First turns behind texts of other prompts of the same file, by tokens of the whole prompt:")
      + HTML.table(
        "by length of the context",
        ["benchmark", "tokens", "tokens, mean", "acc_length", "ratio", "prompts"], rows)
  }
}
