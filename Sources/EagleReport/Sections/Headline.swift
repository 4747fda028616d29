import Foundation

/// The most important figures of a run.
struct Headline {
  let record: RunRecord

  init(_ record: RunRecord) { self.record = record }

  var html: String {
    let entries = facts.map { "<div><dt>\($0.0)</dt><dd>\($0.1)</dd></div>" }.joined(separator: "\n")
    return "<header><h1>\(HTML.escape(record.name))</h1>\n<p class=\"lead\">\(sentence)</p>\n"
      + "<dl class=\"facts\">\(entries)</dl></header>"
  }

  private var sentence: String {
    let model = record.targetPath.map { URL(fileURLWithPath: $0).lastPathComponent }
    return "\(kind) for \(HTML.escape(model ?? "a model that the run does not name"))."
  }

  private var kind: String {
    switch record.architecture {
    case "eagle3": "An EAGLE-3 draft head"
    case "dflash": "A DFlash block drafter"
    case "dspark": "A DSpark block drafter"
    default: "A draft head of the architecture \(HTML.escape(record.architecture))"
    }
  }

  private var facts: [(String, String)] {
    var facts: [(String, String)] = []
    if let best = record.best {
      let length = best.benchmarks.isEmpty ? best.heldOut?.simulatedAcceptanceLength : best.meanAccLength
      if let length {
        let name = best.benchmarks.isEmpty ? "simulated acc_length, held out" : "best mean acc_length"
        facts.append((name, HTML.number(length, digits: 2)))
      }
      facts.append(("epoch", best.epoch == 0 ? "before training" : HTML.number(best.epoch)))
    }
    if let loss = record.steps.last?.loss { facts.append(("last loss", HTML.number(loss, digits: 3))) }
    if let step = record.steps.last?.step { facts.append(("steps", HTML.number(step))) }
    if let time = record.best?.time.map(Date.init(timeIntervalSince1970:)) ?? record.changed {
      facts.append(("evaluated", Self.text(time)))
    }
    return facts
  }

  /// A date in UTC, to the minute.
  static func text(_ date: Date) -> String {
    let text = date.formatted(.iso8601)
    let short = text.prefix(16).replacingOccurrences(of: "T", with: " ")
    return "<time datetime=\"\(text)\">\(short) UTC</time>"
  }
}
