import EagleCore
import EagleJinja
import Testing

/// A failing template, with the location and a part of the error message.
struct Failure: Sendable, CustomTestStringConvertible {
  let template: String
  let place: String
  let problem: String

  init(_ template: String, _ place: String, _ problem: String) {
    (self.template, self.place, self.problem) = (template, place, problem)
  }

  var testDescription: String { String(template.prefix(80)) }
}

@Suite struct FailureTests {
  private func refusal(_ template: String, limits: RenderLimits = RenderLimits()) -> TemplateError? {
    let deep = (0..<30).reduce(JSON.string("x")) { nested, _ in [nested] }
    let variables: JSON.Object = ["s": "Text", "n": 3, "words": ["a"], "d": ["k": 1], "deep": deep]
    do {
      _ = try Template(template, name: "t.jinja").render(variables, limits: limits)
      return nil
    } catch {
      return error as? TemplateError
    }
  }

  private func check(_ failure: Failure, _ kind: TemplateError.Kind, limits: RenderLimits = RenderLimits()) throws {
    let error = try #require(refusal(failure.template, limits: limits))
    #expect(error.kind == kind && error.name == "t.jinja")
    #expect("\(error.line):\(error.column)" == failure.place)
    #expect(error.problem.contains(failure.problem), "\(error.problem)")
  }

  @Test(
    "a source that is no template is refused with line and column",
    arguments: [
      Failure("a\n {% if x %}b", "2:13", "'{% elif %}' or '{% else %}' or '{% endif %}'"),
      Failure("{{ a", "1:1", "no end '}}'"),
      Failure("é{% for x in %}", "1:14", "unexpected '%}', expected an expression"),
      Failure("{{ 1 + }}", "1:8", "unexpected '}}'"),
      Failure("{# a", "1:1", "no end '#}'"),
      Failure("\n{% raw %} x", "2:1", "endraw"),
      Failure("{{ 'a }}", "1:4", "the string has no end"),
      Failure("{{ a|nosuch }}", "1:6", "there is no filter 'nosuch'"),
      Failure("{{ a is nosuch }}", "1:9", "there is no test 'nosuch'"),
      Failure("{% include 'x' %}", "1:4", "'{% include %}' is not supported"),
      Failure("{% nosuch %}", "1:4", "there is no block 'nosuch'"),
      Failure("{% break %}", "1:4", "outside of a loop"),
      Failure("{% for x in y %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}", "1:35", "outside of a loop"),
      Failure("{% set true = 1 %}", "1:8", "cannot be assigned"),
      Failure("{% for loop in y %}{{ loop.index }}{% endfor %}", "1:8", "cannot assign to 'loop'"),
      Failure("{{ (1]) }}", "1:6", "unexpected ']'"),
      Failure("{{ f(a=1, 2) }}", "1:5", "order of arguments"),
      Failure("{{ f(a=1, a=2) }}", "1:11", "'a' is given twice"),
      Failure("{% macro f(a=1, b) %}{% endmacro %}", "1:17", "without default"),
      Failure("{{ a ? b }}", "1:6", "unexpected character '?'"),
      Failure("{% if a %}{% endfor %}", "1:14", "no block 'endfor'"),
      Failure("{{ \"\\ud800\" }}", "1:5", "escape"),
    ])
  func syntax(_ failure: Failure) throws { try check(failure, .syntax) }

  @Test(
    "what fails while it is rendered is located too",
    arguments: [
      Failure("\n{{ missing.x }}", "2:11", "'missing' is undefined and has no attribute 'x'"),
      Failure("{{ 1 + missing }}", "1:4", "'missing' is undefined"),
      Failure("{{ n + s }}", "1:4", "'+' does not take int and str"),
      Failure("{{ 1 / 0 }}", "1:4", "division by zero"),
      Failure("{{ 9223372036854775807 + 1 }}", "1:4", "64 bits"),
      Failure("{{ words.append(1) }}", "1:16", "would change a value"),
      Failure("{% set x = d.update({}) %}", "1:20", "would change a value"),
      Failure("{% for x in 3 %}{% endfor %}", "1:1", "a int cannot be iterated"),
      Failure("{% for a, b in [[1]] %}{% endfor %}", "1:1", "1 values cannot be assigned to 2 names"),
      Failure("{% set x.y = 1 %}", "1:1", "'x' is no namespace"),
      Failure("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "1:35", "takes at most 1 arguments"),
      Failure("{{ s.upper(1) }}", "1:11", "at most 0 arguments"),
      Failure("{{ {[]: 1} }}", "1:4", "cannot be a key"),
      Failure("{{ 'a'.index('b') }}", "1:13", "not found"),
      Failure("{{ n|map('nosuch')|list }}", "1:6", "int cannot be iterated"),
      Failure("{{ words|map('nosuch')|list }}", "1:10", "there is no filter 'nosuch'"),
      Failure("{{ missing|tojson }}", "1:12", "'missing' is undefined"),
      Failure("{{ [1, 'a']|sort }}", "1:13", "does not compare"),
      Failure("{{ strftime_now('%Q') }}", "1:16", "'%Q'"),
      Failure("{{ s.encode() }}", "1:12", "not supported"),
      Failure("{{ ('a'|e).upper() }}", "1:17", "not supported"),
      Failure("{{ range(0, 10, 9223372036854775807)[::2] }}", "1:37", "64 bits"),
      Failure("{{ range(9223372036854775803, 9223372036854775807, 3)[:] }}", "1:54", "64 bits"),
    ])
  func rendering(_ failure: Failure) throws { try check(failure, .render) }

  @Test("the largest and smallest numbers are no trap")
  func extremes() throws {
    for (source, text) in [
      ("{{ 'ab'|truncate(10, true, '...', 9223372036854775807) }}", "ab"),
      ("{{ (-9223372036854775807 - 1) in range(0, -5, -1) }}", "False"),
    ] {
      #expect(try Template(source, name: "t.jinja").render([:], limits: RenderLimits()).text == text, "\(source)")
    }
  }

  @Test("raise_exception is told from a defect of the template")
  func raised() throws {
    let error = try #require(refusal("{% if true %}\n  {{ raise_exception('roles must ' ~ 'alternate') }}{% endif %}"))
    #expect(error.isRaisedByTemplate && error.problem == "roles must alternate" && error.line == 2)
    #expect(error.description == "t.jinja:2:21: the template refuses the conversation: roles must alternate")
  }

  @Test(
    "no template takes more than the limits",
    arguments: [
      Failure(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "1:27", "more than 100000 steps"
      ),
      Failure("{{ 'abcd' * 1000000 }}", "1:4", "more than 1000000 bytes"),
      Failure("{% for i in range(9999) %}{{ s * 100 }}{{ s * 100 }}{% endfor %}", "1:27", "more than 1000000 bytes"),
      Failure(
        "{% set n = namespace(t='ab') %}{% for i in range(50) %}{% set n.t = n.t ~ n.t %}{% endfor %}", "1:69",
        "bytes"),
      Failure("{{ [1] * 100000000000 }}", "1:4", "more than 10000 elements"),
      Failure("{{ range(9999)|list + [1, 2] }}", "1:4", "more than 10000 elements"),
      Failure("{{ range(100000000000) }}", "1:9", "more than 100000 numbers"),
      Failure("{{ 'a'.center(100000000000) }}", "1:14", "more than 1000000 bytes"),
      Failure("{{ '%99999999999d' % 1 }}", "1:4", "too large"),
      Failure("{{ [1]|tojson(indent=100000000000) }}", "1:8", "more than 1000000 bytes"),
      Failure("{{ ('a' * 900000).replace('', 'b' * 900000) }}", "1:26", "more than 1000000 bytes"),
      Failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "1:16", "more than 300 deep"),
      Failure(
        "{% set n = namespace(v=1) %}{% for i in range(900) %}{% set n.v = [n.v] %}{% endfor %}", "1:54",
        "more than 200 deep"),
      Failure(
        "{% set n = namespace(v=1) %}{% for i in range(90) %}{% set n.v = [n.v, n.v] %}{% endfor %}{{ n.v }}", "1:91",
        "steps"),
      Failure(
        "{% set n = namespace(v=1) %}{% for i in range(90) %}{% set n.v = [n.v, n.v] %}{% endfor %}{{ n.v|tojson }}",
        "1:98", "steps"),
      Failure(
        "{% set n = namespace(v=1) %}{% for i in range(90) %}{% set n.v = (n.v, n.v) %}{% endfor %}{{ {n.v: 1} }}",
        "1:94", "steps"),
    ])
  func limits(_ failure: Failure) throws {
    var limits = RenderLimits()
    (limits.steps, limits.bytes, limits.elements, limits.depth) = (100_000, 1_000_000, 10_000, 300)
    try check(failure, .render, limits: limits)
  }

  @Test(
    "nested sources are bounded before they fill the stack",
    arguments: [
      String(repeating: "(", count: 100_000) + String(repeating: ")", count: 100_000),
      String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000),
      String(repeating: "{1:", count: 100_000) + String(repeating: "}", count: 100_000),
      String(repeating: "x(", count: 100_000) + String(repeating: ")", count: 100_000),
      String(repeating: "not ", count: 100_000),
      String(repeating: "- ", count: 100_000), "1" + String(repeating: " + 1", count: 100_000),
      "a" + String(repeating: ".a", count: 100_000), "a" + String(repeating: "|upper", count: 100_000),
      String(repeating: "1 if 1 else ", count: 100_000),
    ])
  func nesting(_ expression: String) throws {
    let error = try #require(refusal("{{ " + expression + " }}"))
    #expect(error.kind == .syntax && error.problem.contains("more than"))
  }

  @Test("nested blocks are bounded")
  func nestedBlocks() throws {
    let error = try #require(refusal(String(repeating: "{% if 1 %}", count: 100_000)))
    #expect(error.kind == .syntax && error.problem.contains("more than 100 deep"))
  }

  @Test("the deepest template that is allowed renders with the default limits")
  func deepestRenders() throws {
    let parentheses = String(repeating: "[", count: 95) + String(repeating: "]", count: 95)
    let recursion = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(120) }}"
    let rendered = try Template("{{ \(parentheses) }}" + recursion, name: "t").render([:])
    #expect(rendered.text == parentheses)
  }
}
