import EagleCore
import EagleJinja
import Foundation
import Testing

/// The output of `Tools/oracles/jinja_templates.py` or `jinja_chat.py`; without it the test is skipped.
private let cases = ProcessInfo.processInfo.environment["EAGLE_JINJA_CASES"]

/// Compares templates with jinja2 with transformers' settings: the same text byte for byte, or both reject it.
@Suite(.enabled(if: cases != nil)) struct TemplateParityTests {
  /// A line of the file: `{"name", "template", "variables", "now", "expected"}`; `expected` is null if jinja2 rejects
  /// it. A line without a template uses that of the line before.
  @Test("the texts of jinja2, or a refusal where it refuses")
  func textsAgree() throws {
    let path = try #require(cases)
    let lines = try String(contentsOfFile: path, encoding: .utf8).utf8.split(separator: UInt8(ascii: "\n"))
    var (texts, refusals, differences) = (0, 0, 0)
    var template: Result<Template, any Error>?
    for line in lines {
      let record = try #require(try JSON.read(Array(line), depth: 200).object)
      let name = record["name"]?.string ?? ""
      if let source = record["template"]?.string { template = Result { try Template(source, name: name) } }
      let result = Result { try render(record, try #require(template).get()) }
      let expected = record["expected"]?.string
      switch (result, expected) {
      case (.success(let text), let expected?) where Array(text.utf8) == Array(expected.utf8): texts += 1
      case (.failure, nil): refusals += 1
      default:
        differences += 1
        if differences <= 20 { print(report(name, result, expected)) }
      }
    }
    print("\(lines.count) cases: \(texts) equal texts, \(refusals) refused by both, \(differences) differences")
    #expect(differences == 0 && texts + refusals == lines.count && texts > 0)
  }

  private func render(_ record: JSON.Object, _ template: Template) throws -> String {
    let now = Date(timeIntervalSince1970: record["now"]?.double ?? 0)
    return try template.render(record["variables"]?.object ?? JSON.Object(), now: now).text
  }

  private func report(_ name: String, _ result: Result<String, any Error>, _ expected: String?) -> String {
    let ours: String
    switch result {
    case .success(let text): ours = "\"\(text.debugDescription)\""
    case .failure(let error): ours = "error \(error)"
    }
    return "\(name)\n  ours:   \(ours)\n  jinja2: \(expected?.debugDescription ?? "refused")"
  }
}
