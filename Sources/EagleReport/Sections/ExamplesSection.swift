import EagleRunFiles

/// Answers of the best head, with the accepted drafted tokens marked.
struct ExamplesSection {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  var html: String {
    let epoch = record.best?.epoch
    guard let entry = record.examples.last(where: { $0.epoch == epoch }) ?? record.examples.last, !entry.texts.isEmpty
    else {
      let text = "This run has no example texts: it has no benchmarks, or its evaluation came before texts were kept."
      return HTML.section("Example texts", id: "examples", [HTML.missing(text)])
    }
    let isGreedy = record.evaluations.last { $0.epoch == entry.epoch }?.conditions?.temperature == nil
    let text =
      "<p>The shortest prompt of each benchmark, \(entry.epoch == 0 ? "before training" : "after epoch \(entry.epoch)"). "
      + "<mark>Marked and underlined</mark> tokens were drafted by the head and accepted by the model; "
      + "the model wrote the others itself.\(isGreedy ? " With and without the head the text is the same." : "")</p>"
    return HTML.section("Example texts", id: "examples", [text] + entry.texts.map(example))
  }

  private func example(_ text: ExampleText) -> String {
    let accepted = text.tokens.count { $0.accepted }
    let passes = Set(text.tokens.map(\.pass)).count
    return "<article class=\"example\"><h3>\(HTML.escape(text.benchmark))</h3>"
      + "<p class=\"prompt\">\(HTML.escape(text.prompt))</p><p class=\"answer\">\(marked(text.tokens))"
      + "\(text.isCut ? " …" : "")</p><p class=\"note\">\(text.tokens.count) tokens in \(passes) passes, "
      + "\(accepted) of them drafted</p></article>"
  }

  /// The text, with one mark around the accepted tokens of a pass.
  private func marked(_ tokens: [ExampleText.Token]) -> String {
    var (html, open) = ("", Int?.none)
    for token in tokens {
      let wanted = token.accepted ? token.pass : nil
      if wanted != open {
        if open != nil { html += "</mark>" }
        if wanted != nil { html += "<mark>" }
        open = wanted
      }
      html += HTML.escape(token.text)
    }
    return html + (open == nil ? "" : "</mark>")
  }
}
