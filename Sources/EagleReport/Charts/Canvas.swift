import Foundation

/// The frame of a chart: its size, its axes, and the SVG around its drawing.
struct Canvas {
  static let width = 640.0
  let height: Double
  let left = 84.0
  let right = 24.0
  let top = 14.0
  let bottom = 52.0

  init(height: Double = 300) { self.height = height }

  /// The coordinates of a fraction of the width, and of a fraction of the height measured from the bottom.
  func x(_ fraction: Double) -> Double { left + fraction * (Self.width - left - right) }
  func y(_ fraction: Double) -> Double { height - bottom - fraction * (height - top - bottom) }

  /// - Parameters:
  ///   - title: the subject, for screen readers
  ///   - description: the content, in a sentence or two
  func svg(id: String, title: String, description: String, _ parts: [String]) -> String {
    "<svg viewBox=\"0 0 \(Self.text(Self.width)) \(Self.text(height))\" role=\"img\" aria-labelledby=\"\(id)-t \(id)-d\">"
      + "<title id=\"\(id)-t\">\(HTML.escape(title))</title><desc id=\"\(id)-d\">\(HTML.escape(description))</desc>\n"
      + parts.joined(separator: "\n") + "</svg>"
  }

  func horizontalMarks(_ axis: Axis) -> String {
    axis.ticks.map { tick in
      let y = y(axis.position(tick))
      return line((left, y), (Self.width - right, y), "grid")
        + text(axis.label(tick), (left - 8, y + 5), anchor: "end")
    }.joined()
  }

  func verticalMarks(_ axis: Axis, name: String) -> String {
    let marks = axis.ticks.map { tick in
      let x = x(axis.position(tick))
      return line((x, height - bottom), (x, height - bottom + 5), "grid")
        + text(axis.label(tick), (x, height - bottom + 24), anchor: "middle")
    }
    let title = text(name, (Self.width - right, height - 6), anchor: "end")
    return marks.joined() + line((left, height - bottom), (Self.width - right, height - bottom), "axis") + title
  }

  func line(_ from: (Double, Double), _ to: (Double, Double), _ style: String) -> String {
    let ends = [from, to].map { "\(Self.text($0.0)) \(Self.text($0.1))" }
    return "<path class=\"\(style)\" d=\"M\(ends[0])L\(ends[1])\"/>"
  }

  func text(_ text: String, _ position: (Double, Double), anchor: String, style: String = "") -> String {
    let name = style.isEmpty ? "" : " class=\"\(style)\""
    return "<text\(name) x=\"\(Self.text(position.0))\" y=\"\(Self.text(position.1))\" text-anchor=\"\(anchor)\">"
      + "\(HTML.escape(text))</text>"
  }

  /// A coordinate rounded to a tenth of a unit, which is not visible.
  static func text(_ value: Double) -> String {
    let text = String(format: "%.1f", value)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}
