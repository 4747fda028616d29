import EagleCore
import EagleJinja
import Foundation
import Testing

extension JSON.Object: ExpressibleByDictionaryLiteral {
  package init(dictionaryLiteral entries: (String, JSON)...) { self.init(entries) }
}

/// A template with its expected text from `variables`.
struct Case: Sendable, CustomTestStringConvertible {
  let template: String
  let expected: String

  init(_ template: String, _ expected: String) { (self.template, self.expected) = (template, expected) }

  var testDescription: String { template }

  static let variables: JSON.Object = [
    "s": "Text", "n": 3, "f": .number("2.5"), "big": .number("123456789012345678901234567890"), "yes": true,
    "nothing": nil,
    "words": ["b", "A", "c"], "d": ["k": 1, "items": 2],
    "m": [["r": "u", "c": "x"], ["r": "a", "c": "y"], ["r": "u"]],
  ]

  func check() throws {
    let rendered = try Template(template, name: "t").render(
      Self.variables, now: Date(timeIntervalSince1970: 86_400 * 40))
    #expect(rendered.text == expected, "\(template)")
  }
}

@Suite struct TemplateTests {
  @Test(
    "whitespace goes as trim_blocks, lstrip_blocks, - and + say",
    arguments: [
      Case("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"),
      Case("a\n  {%+ if true %}b{% endif +%}\nc", "a\n  b\nc"),
      Case("a \n {%- if true -%} \n b {%- endif %} c", "ab c"),
      Case("  {{ s }}\n", "  Text"),
      Case("a {{- s -}} b", "aTextb"),
      Case("x {% if true %} y {% endif %}\n\nz", "x  y \nz"),
      Case("a\n  {# gone #}\nb{#- c -#} d", "a\nbd"),
      Case("{% raw %}{{ a }}{% b %}{% endraw %}\nc", "{{ a }}{% b %}c"),
      Case("{%- raw -%} {# {%- endraw -%} c", "{#c"),
      Case("a\r\nb\rc\n", "a\nb\nc"),
      Case("{{ '}}' }}{{ {'a': {'b': 1}}.a.b }}", "}}1"),
    ])
  func whitespace(_ test: Case) throws { try test.check() }

  @Test(
    "operators have Python's precedence and results",
    arguments: [
      Case("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 2 ** -1 }}", "3 -4 2 3.5 8 0.5"),
      Case("{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 'a' ~ 2 * 3 }}", "3 9 a6"),
      Case("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }}", "True False True True"),
      Case("{{ 0 or 'x' }} {{ '' and 1 }}|{{ not '' }} {{ 1 and 2 }}", "x |True 2"),
      Case("{{ 'a' in 'cat' }} {{ 1 in [2] }} {{ 1 not in [2] }} {{ 'k' in d }}", "True False True True"),
      Case("{{ 'a' if false }}|{{ 'a' if n > 2 else 'b' }}", "|a"),
      Case("{{ 'ab' * 2 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }}", "abab [1, 1] [1, 2] (1, 2)"),
      Case(
        "{{ words[0] }}{{ words[-1] }}{{ words[1:] }}{{ words[::-1] }}{{ 'abcd'[1:3] }}",
        "bc['A', 'c']['c', 'A', 'b']bc"),
      Case(
        "{{ 1e16 }} {{ 1e-5 }} {{ 100.0 }} {{ 0.1 + 0.2 }} {{ big }} {{ 1_000 }}",
        "1e+16 1e-05 100.0 0.30000000000000004 123456789012345678901234567890 1000"),
      Case(
        "{{ [none, true, 'it\\'s', \"q\\\"\", 1.0] }} {{ {'a': (1,)} }}",
        "[None, True, \"it's\", 'q\"', 1.0] {'a': (1,)}"),
      Case("{{ -1|abs }} {{ -2 ** 2 }} {{ 'x' 'y' }} {{ missing }}|", "1 4 xy |"),
      Case("{{ d.k }} {{ d['items'] }} {{ d.get('z', 5) }} {{ d.items()|list }}", "1 2 5 [('k', 1), ('items', 2)]"),
      Case("{{ '%s=%05.1f%%' % ('a', 2.25) }} {{ '{}-{a:>3}'.format(1, a='x') }}", "a=002.2% 1-  x"),
      Case("{{ 'héllo'[1] }}{{ 'e\u{301}x'|length }}{{ '🇩🇪'|list|length }}", "é32"),
    ])
  func operators(_ test: Case) throws { try test.check() }

  @Test(
    "statements scope names as jinja2 does",
    arguments: [
      Case("{% for w in words %}{{ loop.index }}{{ w }}{{ ',' if not loop.last }}{% endfor %}", "1b,2A,3c"),
      Case("{% for x in m if x.r == 'u' %}{{ loop.length }}{{ x.c }}{% else %}none{% endfor %}", "2x2"),
      Case("{% for x in [] %}{% else %}none{% endfor %}", "none"),
      Case(
        "{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% elif x == 4 %}{% break %}{% endif %}"
          + "{{ x }}{% endfor %}",
        "13"),
      Case(
        "{% for a, b in d.items() %}{{ a }}{{ b }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
        "k1('items', 2);items2('k', 1);"),
      Case(
        "{% for x in [[1, [2]], 3] recursive %}{{ loop.depth }}{{ x if x is number else loop(x) }} {% endfor %}",
        "121 232   13 "),
      Case("{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }}{% endfor %}", "TrueaFalsebTruea"),
      Case("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", "21"),
      Case("{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2"),
      Case("{% if false %}{% set s = 2 %}{% endif %}{{ s }}", "Text"),
      Case("{% set ns = namespace(a=0) %}{% for i in range(4) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}", "6"),
      Case("{% set a, b = 1, 'x' %}{{ b }}{{ a }}{% set c %}[{{ a }}]{% endset %}{{ c }}", "x1[1]"),
      Case(
        "{% macro f(a, b=2) %}{{ a }}{{ b }}{{ x }}{% endmacro %}{% set x = 9 %}{{ f(1) }} {{ f(b=3, a=4) }}", "129 439"
      ),
      Case("{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, a=2) }}", "(1,){'a': 2}"),
      Case("{% macro f() %}<{{ caller(5) }}>{% endmacro %}{% call(x) f() %}{{ x }}{% endcall %}", "<5>"),
      Case("{% macro f(k) %}{% if k %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "321"),
      Case("{% filter upper|replace('A', '-') %}banana{% endfilter %}", "B-N-N-"),
      Case("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "3"),
      Case(
        "{% set j = joiner('|') %}{{ j() }}a{{ j() }}b{% set c = cycler(1, 2) %}"
          + "{{ c.next() }}{{ c.next() }}{{ c.next() }}",
        "a|b121"),
      Case("{% generation %}{% set x = 1 %}a{{ x }}{% endgeneration %}{{ x }}", "a1"),
      Case("{{ strftime_now('%d %b %Y') }} {{ strftime_now('%-d/%m/%y %j %A') }}", "10 Feb 1970 10/02/70 041 Tuesday"),
      Case("{% if false %}{{ 1|nosuchfilter }}{% endif %}{{ 1 if true else 2|nosuchfilter }}", "1"),
    ])
  func statements(_ test: Case) throws { try test.check() }

  @Test(
    "tests",
    arguments: [
      Case("{{ x is defined }} {{ s is defined }} {{ nothing is none }} {{ x is undefined }}", "False True True True"),
      Case(
        "{{ s is string }} {{ n is number }} {{ yes is number }} {{ n is integer }} {{ f is float }}",
        "True True True True True"),
      Case(
        "{{ d is mapping }} {{ words is iterable }} {{ s is sequence }} {{ namespace is callable }}",
        "True True True True"),
      Case(
        "{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 'a' is lower }} {{ 'A' is upper }}",
        "True True True True True"),
      Case(
        "{{ n is eq 3 }} {{ n is not gt 3 }} {{ n is in [3] }} {{ yes is sameas true }} {{ yes is true }}",
        "True True True True True"),
      Case("{{ n is eq 3 and s is string }} {{ 'upper' is filter }}", "True True"),
    ])
  func tests(_ test: Case) throws { try test.check() }

  @Test(
    "filters",
    arguments: [
      Case("{{ words|sort|join(',') }} {{ words|sort(case_sensitive=true)|first }} {{ words|join }}", "A,b,c A bAc"),
      Case("{{ m|map(attribute='c', default='-')|list }} {{ words|map('upper')|join }}", "['x', 'y', '-'] BAC"),
      Case("{{ m|selectattr('r', 'equalto', 'u')|list|length }} {{ [1, 2, 3]|reject('odd')|list }}", "2 [2]"),
      Case("{{ m|rejectattr('c')|list }} {{ [0, 1]|select|list }}", "[{'r': 'u'}] [1]"),
      Case("{% for g in m|groupby('r') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}", "a1u2"),
      Case("{{ [1, 2, 3]|batch(2, 0)|list }} {{ [1, 2, 3]|slice(2)|list }}", "[[1, 2], [3, 0]] [[1, 2], [3]]"),
      Case(
        "{{ {'b': 1, 'A': 2}|dictsort }} {{ [3, 1]|sum }} {{ [3, 1]|max }} {{ ['b', 'B']|unique|list }}",
        "[('A', 2), ('b', 1)] 4 3 ['b']"),
      Case("{{ 2.5|round }} {{ 2.675|round(2) }} {{ 7|round }} {{ 1.1|round(method='ceil') }}", "2.0 2.67 7 2.0"),
      Case("{{ '42.9'|int }} {{ 'x'|int(7) }} {{ 'ff'|int(base=16) }} {{ '1.5'|float }}", "42 7 255 1.5"),
      Case("{{ x|default('d') }} {{ ''|d('e', true) }} {{ none|default('f') }}", "d e None"),
      Case("{{ 'a\nb\n\nc'|indent(2) }}", "a\n  b\n\n  c"),
      Case(
        "{{ 'foo bar baz'|truncate(8, leeway=0) }} {{ 'hello-world (you)'|title }} {{ 'a b'|wordcount }}",
        "foo... Hello-World (You) 2"),
      Case(
        "{{ '<b>&'|e }} {{ 'a b/ü'|urlencode }} {{ '<i>x</i>  y'|striptags }} {{ 'abc'|reverse }}",
        "&lt;b&gt;&amp; a%20b/%C3%BC x y cba"),
      Case("{{ {'b': [1, none, 'ü\\n'], 'a': {}}|tojson }}", "{\"b\": [1, null, \"ü\\n\"], \"a\": {}}"),
      Case("{{ {'b': 1, 'a': [2]}|tojson(indent=1, sort_keys=true) }}", "{\n \"a\": [\n  2\n ],\n \"b\": 1\n}"),
      Case("{{ [1, 'é']|tojson(separators=(',', ':'), ensure_ascii=true) }}", "[1,\"\\u00e9\"]"),
      Case(
        "{{ '%s and %d'|format('a', 3) }} {{ 'xAy'|replace('A', '') }} {{ ' a '|trim }}|{{ 'xxa'|trim('x') }}",
        "a and 3 xy a|a"),
    ])
  func filters(_ test: Case) throws { try test.check() }

  @Test(
    "methods of strings, lists and dictionaries",
    arguments: [
      Case(
        "{{ 'a,b,c'.split(',', 1) }} {{ 'a b  c'.rsplit(none, 1) }} {{ ' a  b '.split() }}",
        "['a', 'b,c'] ['a b', 'c'] ['a', 'b']"),
      Case("{{ 'xay'.strip('xy') }} {{ '\u{a0} a'.lstrip() }} {{ 'prefix-a'.removeprefix('prefix-') }}", "a a a"),
      Case(
        "{{ 'abc'.startswith(('x', 'ab')) }} {{ 'abc'.endswith('bc', 1) }} "
          + "{{ 'aba'.rfind('a') }} {{ 'aba'.count('a') }}",
        "True True 2 2"),
      Case(
        "{{ 'ab'.center(5, '*') }} {{ '-5'.zfill(4) }} {{ 'ab'.ljust(3) }}| {{ 'a\nb\r\nc'.splitlines() }}",
        "**ab* -005 ab | ['a', 'b', 'c']"),
      Case(
        "{{ 'they\\'re HERE'.title() }} {{ 'straße'.upper() }} {{ 'ΑΣ'.lower() }} {{ 'aB'.swapcase() }}",
        "They'Re Here STRASSE ας Ab"),
      Case(
        "{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'a b'.isalpha() }} {{ ' '.isspace() }}", "True True False True"),
      Case("{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-')[0] }}", "('a', '-', 'b-c') a-b"),
      Case(
        "{{ [1, 2, 1].index(2) }} {{ [1, 2, 1].count(1) }} {{ d.keys()|list }} {{ d.copy() == d }}",
        "1 2 ['k', 'items'] True"),
    ])
  func methods(_ test: Case) throws { try test.check() }

  @Test("one template renders on many threads at once")
  func isReentrant() async throws {
    let template = try Template(
      "{% set ns = namespace(t='') %}{% for w in words %}{% set ns.t = ns.t ~ w %}{% endfor %}{{ ns.t }}", name: "t")
    let texts = try await withThrowingTaskGroup(of: String.self) { group in
      for number in 0..<64 {
        group.addTask { try template.render(["words": ["a", .init(number), "b"]]).text }
      }
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(texts == Set((0..<64).map { "a\($0)b" }))
  }

  @Test("a template says which names it reads")
  func references() throws {
    let template = try Template(
      "{% if tools and m['reasoning_content'] %}{{ x.thinking }}{% endif %}{% set y = 1 %}", name: "t")
    #expect(["tools", "m", "reasoning_content", "x", "thinking"].allSatisfy(template.referencesVariable))
    #expect(!template.referencesVariable("y") && !template.referencesVariable("enable_thinking"))
  }
}
