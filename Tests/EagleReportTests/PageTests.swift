import EagleReport
import Foundation
import Testing

/// A folder with the files of a run, written by hand.
private final class MadeRun {
  let path = NSTemporaryDirectory() + "/eagle-report-" + UUID().uuidString

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func put(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }

  func putMetrics(steps: Int, positions: Int, more: String = "") throws {
    let lines = (1...steps).map { step in
      let list = (0..<positions).map { "\(0.5 / Double($0 + 1) + Double(step * 7919 % 97) / 1000)" }
      let values = "[\(list.joined(separator: ","))]"
      let loss = Double(steps * 3 - step) / Double(steps)
      let epoch = 1 + step * 2 / (steps + 1)
      return "{\"step\":\(step),\"epoch\":\(epoch),\"loss\":\(loss),"
        + "\"lr\":0.0001,\"grad_norm\":\(1 + step % 9),\"tokens\":8000,\"tokens_per_second\":\(900 + step % 50),"
        + "\"accuracy\":\(values),\"acceptance\":\(values),\"loss_by_position\":\(values),"
        + "\"simulated_acceptance_length\":1.5}"
    }
    try put("metrics.jsonl", lines.joined(separator: "\n") + "\n" + more)
  }

  func putEvaluation(_ name: String) throws {
    let result = """
      {"acc_length":1.6180339887,"draft_length":3,"acceptance_by_position":[0.4,0.2],"tokens_per_second":30,
       "plain_tokens_per_second":20,"speedup":1.5,"prompts":4,"new_tokens":100,"differing":0}
      """
    let benchmarks = "{\(String(decoding: try JSONEncoder().encode(name), as: UTF8.self)):\(result)}"
    try put(
      "evaluation.json",
      "[{\"epoch\":1,\"step\":5,\"mean_acc_length\":1.6180339887,\"time\":1700000000,\"benchmarks\":\(benchmarks)}]")
  }

  func html() throws -> String { try RunReport(folder: path).html }
}

@Suite struct PageTests {
  private let run: MadeRun

  init() throws { run = try MadeRun() }

  @Test("a folder without a run is an error that names it") func aFolderWithoutARunIsAnError() throws {
    let error = #expect(throws: (any Error).self) { try RunReport(folder: run.path) }
    #expect("\(error!)".contains(run.path) && "\(error!)".contains("output folder"))
  }

  /// A page needs only metrics, and has one sentence for each missing part.
  @Test("a report says what the run does not have")
  func whatIsMissingIsSaid() throws {
    try run.putMetrics(steps: 3, positions: 2)
    let html = try run.html()
    for words in [
      "There is no evaluation yet", "no example texts", "no timing.json, so where the time went",
      "no statistics of the data", "has kept no recipe.json",
    ] { #expect(html.contains(words), "\(words)") }
    #expect(html.components(separatedBy: "class=\"missing\"").count == 7)
  }

  /// Rounded for readers, exact for programs.
  @Test("the numbers of a report are those of the run's files")
  func numbersAreThoseOfTheFiles() throws {
    try run.putMetrics(steps: 7, positions: 3, more: #"{"step":8,"epoch":1,"skipped":"the loss is not a number","#)
    try run.putEvaluation("math")
    let html = try run.html()
    #expect(html.contains(#"<data value="1.6180339887">1.62</data>"#))
    #expect(html.contains(#"<data value="2.0">2.000</data>"#), "the last loss")
    #expect(html.contains(#"<data value="\#(0.5 + Double(7919 % 97) / 1000)">"#), "the first accuracy")
    #expect(html.contains(#"<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13 UTC</time>"#))
    #expect(html.contains("published Qwen3-4B-Instruct-2507 head (another model)"))
  }

  @Test("numbers at the ends of their types make a page")
  func wildNumbers() throws {
    let step =
      #"{"step":1,"epoch":1,"loss":1,"lr":0.1,"grad_norm":1,"tokens":9223372036854775807,"tokens_per_second":1e-300,"#
      + #""accuracy":[1],"acceptance":[1],"loss_by_position":[1],"simulated_acceptance_length":1.5}"#
    try run.put("metrics.jsonl", step + "\n" + step.replacingOccurrences(of: #""step":1"#, with: #""step":2"#) + "\n")
    #expect(try run.html().contains("tokens trained"))
  }

  @Test("skipped steps are marked in the curves")
  func leftOutStepsAreMarked() throws {
    try run.putMetrics(
      steps: 4, positions: 2,
      more: #"{"step":5,"epoch":1,"skipped":"the loss is not a number","conversations":["c<1>"]}"# + "\n")
    let html = try run.html()
    #expect(html.contains("class=\"skipped\"") && html.contains("steps that were left out: 1"))
    #expect(html.contains("c&lt;1&gt;"))
  }

  /// Names of benchmarks, texts of models and recipes are untrusted input.
  @Test("no text of a run becomes markup")
  func nothingFromOutsideIsMarkup() throws {
    let evil = "<script>alert(1)</script>"
    try run.putMetrics(steps: 3, positions: 2)
    try run.putEvaluation(evil)
    let text = String(decoding: try JSONEncoder().encode(evil + "'\""), as: UTF8.self)
    try run.put("recipe.json", #"{"run": \#(text), "target": {"path": \#(text)}}"#)
    try run.put(
      "examples.json",
      #"[{"epoch":1,"step":5,"texts":[{"benchmark":\#(text),"prompt":\#(text),"cut":true,"pieces":["#
        + #"{"text":"a","pass":0,"accepted":false},{"text":\#(text),"pass":1,"accepted":true},"#
        + #"{"text":"b","pass":1,"accepted":true},{"text":"c","pass":1,"accepted":false}]}]}]"#)
    let html = try run.html()
    #expect(!html.contains("<script"))
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    #expect(html.contains("a<mark>\(escaped)&#39;&quot;b</mark>c …"))
    #expect(html.contains("4 tokens in 2 passes, 2 of them drafted"))
    #expect(html.components(separatedBy: escaped).count > 6)
  }

  @Test("the page of a run of 20,000 steps stays below a megabyte")
  func aLongRunStaysASmallPage() throws {
    try run.putMetrics(steps: 20_000, positions: 7)
    try run.putEvaluation("math")
    let html = try run.html()
    #expect(html.utf8.count < 1_000_000, "\(html.utf8.count)")
    #expect(html.contains("class=\"band raw\""))
  }

  /// Every element that is opened is closed in order, and nothing is fetched from anywhere.
  @Test("the page is well-formed and loads nothing")
  func thePageIsWholeAndByItself() throws {
    try run.putMetrics(steps: 30, positions: 3)
    try run.putEvaluation("chat")
    let html = try run.html()
    var open: [Substring] = []
    for match in html.matches(of: /<(\/?)([a-z][a-z0-9]*)[^>]*?(\/?)>/) {
      let name = match.output.2
      if ["meta"].contains(name) || !match.output.3.isEmpty { continue }
      if match.output.1.isEmpty { open.append(name) } else { #expect(open.popLast() == name) }
    }
    #expect(open.isEmpty)
    for word in ["http:", "https:", "url(", "@import", "src=", "NaN", "nan", "inf\""] {
      #expect(!html.contains(word), "\(word)")
    }
    let charts = html.components(separatedBy: "role=\"img\"").count - 1
    #expect(charts >= 7 && html.components(separatedBy: "<desc id=").count - 1 == charts)
  }
}
