import EagleCore
import EagleJinja
import Testing

/// A template over `u = "Us er"` and `v = "é<"`, and its text with the characters that are data in brackets.
struct OriginCase: Sendable, CustomTestStringConvertible {
  let template: String
  let marked: String

  init(_ template: String, _ marked: String) { (self.template, self.marked) = (template, marked) }

  var testDescription: String { template }
}

@Suite struct OriginTests {
  /// The text with brackets around ranges.
  private func marked(_ rendered: RenderedTemplate, _ ranges: [Range<Int>]) -> String {
    let bytes = Array(rendered.text.utf8)
    var (text, start) = ("", 0)
    for range in ranges {
      text += String(decoding: bytes[start..<range.lowerBound], as: UTF8.self)
      text += "⟦" + String(decoding: bytes[range], as: UTF8.self) + "⟧"
      start = range.upperBound
    }
    return text + String(decoding: bytes[start...], as: UTF8.self)
  }

  @Test(
    "each character keeps its origin through every operation on strings",
    arguments: [
      OriginCase("a{{ u }}b", "a⟦Us er⟧b"),
      OriginCase("{{ 'a' + u + 'b' }}{{ 'c' ~ v ~ 1 }}", "a⟦Us er⟧bc⟦é<⟧1"),
      OriginCase("{{ ('ab' ~ u ~ 'cd')[1:4] }}|{{ ('a' ~ u)[::-1] }}", "b⟦Us⟧|⟦re sU⟧a"),
      OriginCase(
        "{{ ('  a' ~ u ~ ' ').strip() }}{{ (' ' ~ u)|trim }}{{ ('x' ~ u).lstrip('xU') }}", "a⟦Us erUs ers er⟧"),
      OriginCase("{{ ('a-' ~ u ~ '-b').split('-') | join('+') }}", "a+⟦Us er⟧+b"),
      OriginCase("{{ ('x ' ~ u).split()[1:]|join('') }}{{ ('a ' ~ u).rsplit(' ', 1)[0] }}", "⟦User⟧a ⟦Us⟧"),
      OriginCase("{{ u.replace('s', 'x') }}{{ 'a-b'|replace('-', v) }}", "⟦U⟧x⟦ er⟧a⟦é<⟧b"),
      OriginCase("{{ ', '.join([u, 'x', v]) }}{{ u.join(['a', 'b']) }}", "⟦Us er⟧, x, ⟦é<⟧a⟦Us er⟧b"),
      OriginCase(
        "{{ ('a' ~ v)|upper }}{{ ('A' ~ u).lower() }}{{ ('a' ~ u)|title }}{{ ('a' ~ v)|capitalize }}",
        "A⟦É<⟧a⟦us er⟧A⟦us Er⟧A⟦é<⟧"),
      OriginCase("{{ '%s:%s' % (u, 'a') }}{{ '<%5s>'|format(v) }}{{ '{}{{'.format(u) }}", "⟦Us er⟧:a<   ⟦é<⟧>⟦Us er⟧{"),
      OriginCase("{{ [u, 1]|tojson }}{{ ['a']|tojson }}{{ {'k': v} }}", "⟦[\"Us er\", 1]⟧[\"a\"]⟦{'k': 'é<'}⟧"),
      OriginCase("{{ ('a\n' ~ u)|indent(2) }}{{ ('x\n' ~ u).splitlines()|join('/') }}", "a\n  ⟦Us er⟧x/⟦Us er⟧"),
      OriginCase("{% for c in u ~ 'x' %}{{ c }}.{% endfor %}", "⟦U⟧.⟦s⟧.⟦ ⟧.⟦e⟧.⟦r⟧.x."),
      OriginCase(
        "{% set ns = namespace(t='a') %}{% set ns.t = ns.t ~ u %}{% set ns.t = ns.t + 'b' %}{{ ns.t }}", "a⟦Us er⟧b"),
      OriginCase("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(u) }}{{ f('y') }}", "<⟦Us er⟧><y>"),
      OriginCase("{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}a{{ v }}{% endcall %}", "<a⟦é<⟧>"),
      OriginCase("{% filter upper %}a{{ u }}{% endfilter %}{% set b %}x{{ v }}{% endset %}{{ b }}", "A⟦US ER⟧x⟦é<⟧"),
      OriginCase(
        "{{ (u ~ 'x') * 2 }}{{ u.center(7, '*') }}{{ (u ~ 'ab')|truncate(4, true, '..', 0) }}",
        "⟦Us er⟧x⟦Us er⟧x*⟦Us er⟧*⟦Us⟧.."),
      OriginCase(
        "{{ v|e }}{{ u.removeprefix('U') }}{{ ('a' ~ u).partition('s')[2] }}{{ ('a' ~ u)|reverse }}",
        "⟦é&lt;s er erre sU⟧a"),
      OriginCase(
        "{{ v|first }}{{ ('b' ~ v)|last }}{{ u[0] }}{{ {'a': u}.a }}{{ u or 'x' }}{{ missing|default(u) }}",
        "⟦é<UUs erUs erUs er⟧"),
      OriginCase("{{ d|join('') }}{{ d.keys()|list|first }}{{ d|dictsort|first|last }}", "⟦kkw⟧"),
      OriginCase(
        "{{ u.swapcase() }}{{ u.title() }}{{ ('7' ~ v).zfill(5) }}{{ v|urlencode }}{{ '<b>' ~ u ~ '</b>'|striptags }}",
        "⟦uS ERUs Er⟧007⟦é<%C3%A9%3C⟧<b>⟦Us er⟧"),
      OriginCase("{{ n }}{{ bos }}{{ u }}", "3<s>⟦Us er⟧"),
    ])
  func operations(_ test: OriginCase) throws {
    let rendered = try Template(test.template, name: "t").render(
      ["u": "Us er", "v": "é<", "n": 3, "d": ["k": "w"]], trusted: ["bos": "<s>"])
    #expect(marked(rendered, rendered.dataRanges) == test.marked)
  }

  @Test("what generation blocks render is known, through macros and captured text")
  func generation() throws {
    let source = "{% macro f(x) %}a{% generation %}{{ x }}!{% endgeneration %}b{% endmacro %}"
    let template = try Template(
      source + "{{ f(u) }}{% set t %}{% generation %}é{% endgeneration %}.{% endset %}{{ t }}", name: "t")
    let rendered = try template.render(["u": "U"])
    #expect(marked(rendered, rendered.generationRanges) == "a⟦U!⟧b⟦é⟧.")
    #expect(marked(rendered, rendered.dataRanges) == "a⟦U⟧!bé.")
  }
}
