import Foundation

/// Curves over steps or epochs.
struct LineChart {
  struct Curve {
    var name: String
    var points: [Point]
    /// The class of its colour and dashes in the style sheet.
    var style: String
    /// The range of the original points in the bucket of each thinned point.
    var band: [Bucket] = []
    /// Whether each point has a dot.
    var isDotted = false
  }

  var id: String
  var title: String
  var description: String
  var xName = "step"
  var curves: [Curve]
  var isLogarithmic = false
  /// Steps that were left out, marked on the axis.
  var skipped: [Double] = []
  /// Ends of epochs, or other values of x with a faint line.
  var dividers: [Double] = []
  /// A reference value with its name.
  var reference: (value: Double, name: String)?

  func figure() -> String {
    let canvas = Canvas()
    let x = Axis(curves.flatMap { $0.points.map(\.x) }, marks: 8, isTight: true)
    let heights = curves.flatMap { $0.points.map(\.y) + $0.band.flatMap { [$0.low, $0.high] } }
    let y = Axis(heights + (reference.map { [$0.value] } ?? []), isLogarithmic: isLogarithmic)
    func coordinates(_ point: Point) -> String {
      "\(Canvas.text(canvas.x(x.position(point.x)))) \(Canvas.text(canvas.y(y.position(point.y))))"
    }
    var parts = [canvas.horizontalMarks(y), canvas.verticalMarks(x, name: xName)]
    for divider in dividers where divider > x.low && divider < x.high {
      let left = canvas.x(x.position(divider))
      parts.append(canvas.line((left, canvas.y(0)), (left, canvas.y(1)), "divider"))
    }
    if let reference {
      let height = canvas.y(y.position(reference.value))
      parts.append(canvas.line((canvas.left, height), (Canvas.width - canvas.right, height), "reference"))
    }
    parts += curves.map { path($0, coordinates) }
    parts += skipped.map { step in
      let left = canvas.x(min(1, max(0, x.position(step))))
      let corner = "\(Canvas.text(left - 5)) \(Canvas.text(canvas.y(0) - 10))"
      return "<path class=\"skipped\" d=\"M\(corner)l10 10m-10 0l10 -10\"/>"
    }
    return "<figure><figcaption>\(HTML.escape(title))</figcaption>"
      + canvas.svg(id: id, title: title, description: description, parts) + legend + "</figure>"
  }

  private func path(_ curve: Curve, _ coordinates: (Point) -> String) -> String {
    var text = ""
    let usable = curve.band.filter { !isLogarithmic || $0.low > 0 }
    if !usable.isEmpty {
      let edge =
        usable.map { coordinates(Point(x: $0.x, y: $0.high)) }
        + usable.reversed().map { coordinates(Point(x: $0.x, y: $0.low)) }
      text += "<path class=\"band \(curve.style)\" d=\"M\(edge.joined(separator: "L"))Z\"/>"
    }
    let points = curve.points.filter { $0.y.isFinite && (!isLogarithmic || $0.y > 0) }.map(coordinates)
    if points.count > 1 {
      text += "<path class=\"curve \(curve.style)\" d=\"M\(points.joined(separator: "L"))\"/>"
    }
    if curve.isDotted || points.count == 1 {
      text += points.map { point in
        let parts = point.split(separator: " ")
        return "<circle class=\"dot \(curve.style)\" cx=\"\(parts[0])\" cy=\"\(parts[1])\" r=\"4\"/>"
      }.joined()
    }
    return text
  }

  /// The names of the curves, outside the drawing, so that letters keep their size on a small screen.
  private var legend: String {
    var entries = curves.map { ($0.style, "curve", $0.name) }
    if let reference { entries.append(("reference", "", reference.name)) }
    if !skipped.isEmpty { entries.append(("skipped", "", "left out")) }
    guard entries.count > 1 else { return "" }
    let items = entries.map { style, kind, name in
      let drawing = style == "skipped" ? "M7 1l10 10m-10 0l10 -10" : "M1 6L23 6"
      return "<li><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\"><path class=\"\(kind) \(style)\" "
        + "d=\"\(drawing)\"/></svg>\(HTML.escape(name))</li>"
    }
    return "<ul class=\"legend\">\(items.joined())</ul>"
  }
}
