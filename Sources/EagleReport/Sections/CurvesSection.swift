import EagleRunFiles
import Foundation

/// The course of training step by step, from `metrics.jsonl`.
struct CurvesSection {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  /// The number of steps whose mean is a point of a smoothed curve.
  private var window: Int { max(1, record.steps.count / 40) }
  /// Few points suffice, because the curves of the positions are many and smooth.
  private static let positionPoints = 300

  var html: String {
    guard let first = record.steps.first, let last = record.steps.last else {
      return HTML.section("Training", id: "training", [HTML.missing("No step has been trained yet.")])
    }
    let stride = record.history.stride
    let steps = window == 1 ? "step" : "steps"
    let (shown, which) = stride == 1 ? ("", "") : ("One step in \(stride) is shown. ", "of these ")
    let text = "\(shown)Smoothed curves are means of \(window) \(which)\(steps); vertical lines are ends of epochs."
    var parts = [HTML.paragraph(text), "<div class=\"charts\">", loss(first, last)]
    if last.lossByPosition != nil {
      parts.append(positions("loss-by-position", "Loss by position", of: "loss") { $0.lossByPosition ?? [] })
    }
    parts.append(positions("accuracy", "Accuracy by position", of: "accuracy", \.accuracy))
    parts.append(positions("acceptance-curve", "Acceptance by position", of: "acceptance", \.acceptance))
    parts.append(single("lr", "Learning rate", \.lr, isSmoothed: false))
    parts.append(single("norm", "Gradient norm, before clipping", isLogarithmic: true, \.gradNorm))
    parts.append("</div>")
    if last.lossByPosition == nil { parts.append(HTML.missing("The metrics of this run have no loss by position.")) }
    return HTML.section("Training", id: "training", parts + [skipped, HTML.details("Some of the numbers", table)])
  }

  private func points(_ value: (StepMetrics) -> Double) -> [Point] {
    record.steps.map { Point(x: Double($0.step), y: value($0)) }
  }

  private var ends: [Double] {
    zip(record.steps, record.steps.dropFirst()).filter { $0.epoch != $1.epoch }.map { Double($0.0.step) }
  }

  private func loss(_ first: StepMetrics, _ last: StepMetrics) -> String {
    let smooth = Thinning.runningMean(points(\.loss), window: window)
    return LineChart(
      id: "loss", title: "Loss",
      description: String(
        format: "From %.3f at step %d to %.3f at step %d, smoothed %.3f; %d steps were left out.", first.loss,
        first.step, last.loss, last.step, smooth.last!.y, record.skipped.count),
      curves: rawAndSmooth(points(\.loss)), skipped: record.skipped.map { Double($0.step) }, dividers: ends
    ).figure()
  }

  private func rawAndSmooth(_ points: [Point]) -> [LineChart.Curve] {
    let buckets = Thinning.buckets(points)
    return [
      .init(
        name: "each step", points: Thinning.thinned(points), style: "raw",
        band: buckets.count < points.count ? buckets : []),
      .init(
        name: "smoothed", points: Thinning.thinned(Thinning.runningMean(points, window: window)), style: "c0"),
    ]
  }

  func single(
    _ id: String, _ title: String, isLogarithmic: Bool = false, _ value: (StepMetrics) -> Double,
    isSmoothed: Bool = true
  ) -> String {
    let points = points(value)
    let least = points.map(\.y).min()!
    let most = points.map(\.y).max()!
    return LineChart(
      id: id, title: title,
      description: "Between \(Self.short(least)) and \(Self.short(most)), at the end \(Self.short(points.last!.y)).",
      curves: isSmoothed
        ? rawAndSmooth(points) : [.init(name: title, points: Thinning.thinned(points), style: "c0")],
      isLogarithmic: isLogarithmic, dividers: ends
    ).figure()
  }

  private func positions(
    _ id: String, _ title: String, of what: String, _ values: (StepMetrics) -> [Double]
  ) -> String {
    let count = record.steps.map { values($0).count }.max() ?? 0
    let curves = (0..<count).map { k in
      let points = record.steps.compactMap { step -> Point? in
        let values = values(step)
        return k < values.count ? Point(x: Double(step.step), y: values[k]) : nil
      }
      let smooth = Thinning.runningMean(points, window: window)
      let style = count > 1 ? "p\(k * 6 / (count - 1))" : "c0"
      return LineChart.Curve(
        name: "position \(k + 1)", points: Thinning.thinned(smooth, limit: Self.positionPoints), style: style)
    }
    let ends = curves.enumerated().compactMap { k, curve in
      curve.points.last.map { "position \(k + 1) \(Self.short($0.y))" }
    }
    return LineChart(
      id: id, title: title, description: "Smoothed \(what) at the end: \(ends.joined(separator: ", ")).",
      curves: curves, dividers: self.ends
    ).figure()
  }

  private var skipped: String {
    guard !record.skipped.isEmpty else { return "" }
    let rows = record.skipped.prefix(20).map { step in
      [
        HTML.number(step.step), HTML.number(step.epoch), HTML.escape(step.skipped),
        HTML.long(step.conversations.prefix(5).joined(separator: ", ")),
      ]
    }
    return HTML.table(
      "steps that were left out: \(record.skipped.count)", ["step", "epoch", "why", "conversations"], rows)
  }

  /// A dozen steps with the values of the file.
  private var table: String {
    let steps = record.steps
    let chosen = Set((0..<12).map { $0 * (steps.count - 1) / 11 }).sorted().map { steps[$0] }
    let rows = chosen.map { step in
      [
        HTML.number(step.step), HTML.number(step.epoch), HTML.number(step.loss, digits: 3),
        "<data value=\"\(step.lr)\">\(Self.short(step.lr))</data>", HTML.number(step.gradNorm, digits: 2),
        HTML.number(step.tokensPerSecond, digits: 0), HTML.number(step.accuracy.first ?? .nan, digits: 3),
        HTML.number(step.acceptance.first ?? .nan, digits: 3),
        HTML.number(step.simulatedAcceptanceLength, digits: 2),
      ]
    }
    return HTML.table(
      "from metrics.jsonl",
      [
        "step", "epoch", "loss", "lr", "gradient norm", "tokens/s", "accuracy 1", "acceptance 1",
        "simulated acc_length",
      ], rows)
  }

  static func short(_ value: Double) -> String { String(format: "%.4g", value) }
}
