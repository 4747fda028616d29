import Foundation

/// A bar for each of a few classes.
struct BarChart {
  var id: String
  var title: String
  var description: String
  var xName: String
  var bars: [(name: String, value: Double)]
  /// Whether values are fractions, which are shown in percent.
  var isFraction = false

  func figure() -> String {
    let canvas = Canvas()
    let y = Axis(bars.map { isFraction ? 100 * $0.value : $0.value } + (isFraction ? [0, 100] : [0]))
    let width = 1 / Double(max(1, bars.count))
    // Names that would touch each other in the larger letters of a small screen are hidden there.
    let longest = bars.map(\.name.count).max() ?? 1
    let stride = max(1, (bars.count * longest * 13 + 531) / 532)
    let drawings = bars.enumerated().map { index, bar in
      let value = isFraction ? 100 * bar.value : bar.value
      let (from, to) = (canvas.x((Double(index) + 0.12) * width), canvas.x((Double(index) + 0.88) * width))
      let (foot, head) = (canvas.y(0), canvas.y(y.position(value)))
      let name = isFraction ? String(format: "%.1f %%", value) : HTML.grouped(Int(value))
      let rectangle =
        "<rect class=\"bar\" x=\"\(Canvas.text(from))\" y=\"\(Canvas.text(head))\" width=\"\(Canvas.text(to - from))\" "
        + "height=\"\(Canvas.text(foot - head))\"><title>\(HTML.escape(bar.name)): \(name)</title></rect>"
      let style = index % stride == 0 ? "" : "minor"
      return rectangle + canvas.text(bar.name, ((from + to) / 2, foot + 24), anchor: "middle", style: style)
    }
    let empty = Axis([Double]())
    let frame = canvas.horizontalMarks(y) + canvas.verticalMarks(empty.withoutTicks, name: xName)
    return "<figure><figcaption>\(HTML.escape(title))</figcaption>"
      + canvas.svg(id: id, title: title, description: description, [frame] + drawings) + "</figure>"
  }
}

extension Axis {
  /// The same range without marks.
  var withoutTicks: Axis { Axis(low: low, high: high, ticks: [], isLogarithmic: isLogarithmic) }

  private init(low: Double, high: Double, ticks: [Double], isLogarithmic: Bool) {
    (self.low, self.high, self.ticks, self.isLogarithmic) = (low, high, ticks, isLogarithmic)
  }
}

/// A stacked bar for each of several workers.
struct StackChart {
  var id: String
  var title: String
  var description: String
  var xName: String
  /// Names of the parts, in the order of their styles `k0`, `k1`, ….
  var parts: [String]
  var rows: [(name: String, values: [Double])]

  func figure() -> String {
    let canvas = Canvas(height: 74 + 34 * Double(rows.count))
    let x = Axis(rows.map { $0.values.reduce(0, +) } + [0], marks: 6)
    let drawings = rows.enumerated().map { index, row in
      let (top, baseline) = (canvas.top + 34 * Double(index), canvas.top + 34 * Double(index) + 21)
      var sum = 0.0
      let bars = row.values.enumerated().map { part, value in
        let from = canvas.x(x.position(sum))
        sum += value
        let to = canvas.x(x.position(sum))
        return "<rect class=\"k\(part)\" x=\"\(Canvas.text(from))\" y=\"\(Canvas.text(top))\" "
          + "width=\"\(Canvas.text(to - from))\" height=\"26\"><title>\(HTML.escape(row.name)), "
          + "\(HTML.escape(parts[part])): \(String(format: "%.1f", value)) s</title></rect>"
      }
      return bars.joined() + canvas.text(row.name, (canvas.left - 8, baseline - 3), anchor: "end")
    }
    let items = parts.enumerated().map { index, name in
      "<li><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\"><rect class=\"k\(index)\" width=\"24\" height=\"12\"/></svg>"
        + "\(HTML.escape(name))</li>"
    }
    return "<figure><figcaption>\(HTML.escape(title))</figcaption>"
      + canvas.svg(
        id: id, title: title, description: description, drawings + [canvas.verticalMarks(x, name: xName)])
      + "<ul class=\"legend\">\(items.joined())</ul></figure>"
  }
}
