import EagleRunFiles
import Foundation

/// Acceptance by real decoding by epoch; the best head in detail is `AcceptanceTables`.
struct EvaluationSection {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  /// Acceptance length of the published head for Qwen3-4B-Instruct-2507, a widely known head.
  static let published = 2.08
  private static let publishedName = "published Qwen3-4B-Instruct-2507 head (another model)"

  var html: String {
    let measured = record.evaluations.filter { !$0.benchmarks.isEmpty }
    guard !record.evaluations.isEmpty else {
      return HTML.section("Acceptance", id: "acceptance", [HTML.missing("There is no evaluation yet.")])
    }
    guard let best = record.best, !measured.isEmpty else {
      let text = "The recipe has no benchmarks, so there is no acceptance length by real decoding."
      return HTML.section("Acceptance", id: "acceptance", [HTML.missing(text), table([])])
    }
    return HTML.section(
      "Acceptance", id: "acceptance",
      [
        HTML.paragraph(explanation(best)), "<div class=\"charts\">", chart(measured), heldOut, "</div>",
        table(names(measured)), AcceptanceTables(best).html,
      ])
  }

  /// The explanation of the numbers.
  private func explanation(_ best: EvaluationRecord) -> String {
    var sentences = [
      "acc_length is how many tokens one pass of the model yields: 1 is no gain.",
      "The last row and the dashed line are the published head of another, larger model, for scale; "
        + "they were measured on other prompts.",
    ]
    if best.meanAccLengthInterval != nil {
      sentences.append(
        "Brackets hold 95 % intervals over prompts: where a number would lie with other prompts of the same kind.")
    }
    if let validation = best.validation {
      let prompts = validation.values.reduce(0.0) { $0 + Double($1.prompts) }
      sentences.append(
        "The best epoch was chosen by \(HTML.number(prompts, digits: 0)) other prompts of these benchmarks (acc_length "
          + "\(HTML.number(best.validationAccLength ?? 1, digits: 2))), which are in no other number here.")
    }
    if let temperature = best.conditions?.temperature {
      sentences.append("Texts were sampled at temperature \(temperature), and not compared with plain decoding.")
    }
    if let reasoning = best.conditions?.reasoning { sentences.append("Reasoning was \(HTML.escape(reasoning)).") }
    return sentences.joined(separator: " ")
  }

  private func names(_ records: [EvaluationRecord]) -> [String] {
    Set(records.flatMap(\.benchmarks.keys)).sorted()
  }

  private func chart(_ records: [EvaluationRecord]) -> String {
    var curves = names(records).enumerated().map { index, name in
      LineChart.Curve(
        name: name,
        points: records.compactMap { record in
          record.benchmarks[name].map { Point(x: Double(record.epoch), y: $0.accLength) }
        }, style: "c\(index % 6)", isDotted: true)
    }
    let means = records.map { Point(x: Double($0.epoch), y: $0.meanAccLength) }
    curves.append(.init(name: "mean", points: means, style: "mean", isDotted: true))
    let (first, last) = (records.first!, records.last!)
    return LineChart(
      id: "acc", title: "acc_length by epoch",
      description: String(
        format: "The mean goes from %.2f after epoch %d to %.2f after epoch %d.", first.meanAccLength, first.epoch,
        last.meanAccLength, last.epoch),
      xName: "epoch", curves: curves, reference: (Self.published, Self.publishedName)
    ).figure()
  }

  /// Teacher-forced loss on held-out conversations.
  private var heldOut: String {
    let points = record.evaluations.compactMap { record in
      record.heldOut.map { Point(x: Double(record.epoch), y: $0.loss) }
    }
    guard let first = points.first, let last = points.last else { return "" }
    return LineChart(
      id: "held-out", title: "Held-out loss by epoch",
      description: String(format: "From %.3f to %.3f.", first.y, last.y), xName: "epoch",
      curves: [.init(name: "loss", points: points, style: "c0", isDotted: true)]
    ).figure()
  }

  private func table(_ names: [String]) -> String {
    let hasNames = !names.isEmpty
    var rows = record.evaluations.map { row($0, names) }
    let marked = record.evaluations.firstIndex { $0.epoch == record.best?.epoch }
    var head = [""] + names.map { HTML.escape($0) }
    if hasNames {
      head.append("mean")
      rows.append([Self.publishedName] + names.map { _ in "" } + [HTML.number(Self.published, digits: 2), "", ""])
    }
    head += ["held-out loss", "simulated, held out"]
    return HTML.table("acc_length by epoch and benchmark", head, rows, marked: marked)
  }

  private func row(_ record: EvaluationRecord, _ names: [String]) -> [String] {
    var cells = [record.epoch == 0 ? "before training" : "epoch \(record.epoch)"]
    for name in names {
      cells.append(record.benchmarks[name].map { HTML.number($0.accLength, digits: 2) } ?? "–")
    }
    if !names.isEmpty { cells.append(HTML.number(record.meanAccLength, within: record.meanAccLengthInterval)) }
    cells.append(record.heldOut.map { HTML.number($0.loss, digits: 3) } ?? "–")
    cells.append(record.heldOut.map { HTML.number($0.simulatedAcceptanceLength, digits: 2) } ?? "–")
    return cells
  }
}
