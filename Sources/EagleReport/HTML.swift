import EagleRunFiles
import Foundation

/// HTML elements as strings.
package enum HTML {
  /// Escapes text for content and for quoted attributes.
  package static func escape(_ text: some StringProtocol) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      case "\n", "\t": escaped.unicodeScalars.append(scalar)
      case "\u{0}"..<"\u{20}", "\u{7f}"..<"\u{a0}": escaped += "\u{fffd}"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }

  /// A number rounded for readers, with the unrounded value for programs.
  static func number(_ value: Double, digits: Int) -> String {
    guard value.isFinite else { return "–" }
    return "<data value=\"\(value)\">\(String(format: "%.\(digits)f", value))</data>"
  }

  /// A number with two decimals, and its interval.
  static func number(_ value: Double, within interval: Interval?) -> String {
    guard let interval else { return number(value, digits: 2) }
    return "\(number(value, digits: 2)) [\(number(interval.low, digits: 2)), \(number(interval.high, digits: 2))]"
  }

  static func number(_ value: Int) -> String { "<data value=\"\(value)\">\(grouped(value))</data>" }

  /// A number with narrow spaces between thousands.
  static func grouped(_ value: Int) -> String {
    let digits = Array(String(value.magnitude))
    let text = digits.enumerated().map { index, digit in
      index > 0 && (digits.count - index) % 3 == 0 ? "\u{202f}\(digit)" : "\(digit)"
    }
    return (value < 0 ? "−" : "") + text.joined()
  }

  static func percent(_ fraction: Double) -> String {
    guard fraction.isFinite else { return "–" }
    return "<data value=\"\(fraction)\">\(String(format: "%.1f", 100 * fraction)) %</data>"
  }

  /// A table whose first column names the rows; cells are HTML already.
  static func table(_ caption: String, _ head: [String], _ rows: [[String]], marked: Int? = nil) -> String {
    let columns = head.map { "<th scope=\"col\">\($0)</th>" }.joined()
    let lines = rows.enumerated().map { index, row in
      let cells = row.dropFirst().map { "<td>\($0)</td>" }.joined()
      return "<tr\(index == marked ? " class=\"best\"" : "")><th scope=\"row\">\(row.first ?? "")</th>\(cells)</tr>"
    }
    return "<div class=\"wide\"><table><caption>\(caption)</caption><thead><tr>\(columns)</tr></thead>\n<tbody>"
      + lines.joined(separator: "\n") + "</tbody></table></div>"
  }

  /// A cell whose text may need several lines.
  static func long(_ text: some StringProtocol) -> String { "<span class=\"long\">\(escape(text))</span>" }

  /// A list of names with their values, which are HTML already.
  static func list(_ entries: [(String, String)]) -> String {
    "<dl>" + entries.map { "<div><dt>\(escape($0.0))</dt><dd>\($0.1)</dd></div>" }.joined(separator: "\n") + "</dl>"
  }

  static func section(_ title: String, id: String, _ parts: [String]) -> String {
    "<section id=\"\(id)\"><h2>\(escape(title))</h2>\n" + parts.joined(separator: "\n") + "\n</section>"
  }

  static func paragraph(_ text: String) -> String { "<p>\(text)</p>" }

  /// A placeholder for a part that the run does not have.
  static func missing(_ text: String) -> String { "<p class=\"missing\">\(escape(text))</p>" }

  static func details(_ summary: String, _ content: String) -> String {
    "<details><summary>\(escape(summary))</summary>\n\(content)</details>"
  }
}
