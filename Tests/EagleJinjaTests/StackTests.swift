import EagleJinja
import Foundation
import Testing

@Suite struct StackTests {
  /// The result of a template on a thread with 2 MB of stack, a quarter of the usual size.
  private func outcome(_ source: String) async -> String {
    await withCheckedContinuation { continuation in
      let thread = Thread {
        do {
          continuation.resume(returning: try Template(source, name: "t").render([:]).text)
        } catch {
          continuation.resume(returning: "\(error)")
        }
      }
      thread.stackSize = 2 << 20
      thread.start()
    }
  }

  @Test(
    "the limits of depth hold before 2 MB of stack are full",
    arguments: [
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f() %}{% for x in [1] %}{% filter upper %}{{ [f()|upper] }}{% endfilter %}{% endfor %}"
        + "{% endmacro %}{{ f() }}",
      "{% macro f(a) %}{% call g() %}{{ f() }}{% endcall %}{% endmacro %}"
        + "{% macro g() %}{{ caller() }}{% endmacro %}{{ f() }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% macro f() %}{% set x %}{% if 1 %}{% with a = 1 %}{{ {1: (1, -(f() ~ 1))} }}{% endwith %}{% endif %}"
        + "{% endset %}{% endmacro %}{{ f() }}",
      "{% macro f() %}{{ " + String(repeating: "[", count: 90) + "f()" + String(repeating: "]", count: 90)
        + " }}{% endmacro %}{{ f() }}",
    ])
  func recursion(_ source: String) async {
    #expect(await outcome(source).contains("nested more than 500 deep"))
  }

  @Test("the deepest source that is allowed is read and rendered on 2 MB of stack")
  func source() async {
    let (open, close) = (String(repeating: "[", count: 97), String(repeating: "]", count: 97))
    #expect(await outcome("{{ \(open)\(close) }}") == open + close)
    let blocks = String(repeating: "{% for x in [1] %}", count: 98) + "x" + String(repeating: "{% endfor %}", count: 98)
    #expect(await outcome(blocks) == "x")
    #expect(await outcome("{{ 1" + String(repeating: " + 1", count: 398) + " }}") == "399")
  }
}
