import Foundation

/// The page of a run, section by section.
struct ReportPage {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  var text: String { Self.document(title: "\(record.name): draft head", main: content) }

  /// - Parameters:
  ///   - before: the HTML above the content
  ///   - after: the HTML below it
  static func document(title: String, main: String, before: String = "", after: String = "") -> String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>\(HTML.escape(title))</title>
    <style>
    \(ReportStyle.sheet)
    </style>
    </head>
    <body>
    \(before)<main>
    \(main)
    </main>
    \(after)</body>
    </html>

    """
  }

  /// The part of the page that changes during a run.
  var content: String {
    [
      Headline(record).html, EvaluationSection(record).html, ExamplesSection(record).html,
      CurvesSection(record).html, TimeSection(record).html, DataSection(record).html, OriginSection(record).html,
    ].joined(separator: "\n")
  }
}
