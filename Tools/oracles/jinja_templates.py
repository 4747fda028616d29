"""Generates templates by seed and renders them by jinja2 with transformers' settings.

Each template is a random walk through the language: whitespace control, loops, macros, assignments, filters, tests,
methods, slices and arithmetic over random data. Writes one JSON line for each, with the text that jinja2 made of it or
null where it refused. `TemplateParityTests` renders the same.

    python jinja_templates.py --count 10000 --seed 1 --output FILE.jsonl
"""

import argparse
import json
import pathlib
import random
import re

import jinja2
from transformers.utils import chat_template_utils

WORDS = ["a", "B", "foo", "Foo Bar", "  padded \n", "", "x,y,,z", "été", "你好 世界", "🙂", "line\nline two\r\nthree\n",
         "<b>&\"'", "a\tb", "12", "-3", " 4.5 ", "1e3", "0x1f", "İstanbul", "ΑΣ ΟΔΟΣ", "straße", "under_score", "tRUE", "%s %d", "aXbXc",
         "hello world, hello moon", "{}", "it's", "-", "\u00a0nbsp\u2003", "ab" * 12, "one two  three   four"]
TEXTS = ["text ", "\n", "  ", "\n  ", "a b\n", " x", "\t", "é ", "\n\n", "} ", "{ ", "% ", "# ", "-", "end\n    "]
NAMES = ["x", "y", "z", "item", "k", "v", "acc"]


def data(random):
    """The variables of a template."""
    def value(depth):
        kind = random.randrange(9 if depth else 6)
        if kind < 2:
            return random.choice(WORDS)
        if kind == 2:
            return random.choice([0, 1, 2, 3, 7, -1, -5, 10, 255, 123456789012])
        if kind == 3:
            return random.choice([0.0, 0.5, 1.5, 2.5, -1.25, 1e16, 1e-5, 3.14159, 100.0, 2.675, -0.0])
        if kind == 4:
            return random.choice([True, False])
        if kind == 5:
            return None
        if kind in (6, 7):
            return [value(depth - 1) for _ in range(random.randrange(4))]
        return {random.choice(["a", "b", "c", "items", "name", "Z z"]): value(depth - 1) for _ in range(random.randrange(4))}

    messages = []
    for index in range(random.randrange(1, 5)):
        message = {"role": ["user", "assistant"][index % 2], "content": random.choice(WORDS)}
        if random.random() < 0.3:
            message["n"] = random.randrange(5)
        messages.append(message)
    return {
        "messages": messages, "s": random.choice(WORDS), "t": random.choice(WORDS), "i": random.choice([0, 1, 2, 3, -2, 7]),
        "f": random.choice([0.5, 1.5, -2.25, 3.0, 1e10]), "flag": random.random() < 0.5, "nothing": None,
        "words": [random.choice(WORDS) for _ in range(random.randrange(5))],
        "ints": [random.randrange(-5, 10) for _ in range(random.randrange(5))],
        "d": {random.choice(["a", "b", "C", "key", "items"]): value(1) for _ in range(random.randrange(4))},
        "any": value(3), "other": value(2),
    }


class Generator:
    def __init__(self, random):
        self.random = random
        self.names = []
        self.macros = []
        self.in_loop = 0

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    # expressions

    def literal(self):
        text = self.random.choice(WORDS + ["\\n", "\\u00e9", "\\x41"])
        quote = self.pick("'", '"')
        return quote + "".join("\\" + c if c in "'\"" and c == quote else c for c in text.replace("\n", "\\n").replace("\r", "\\r")) + quote

    def string(self, depth):
        if depth <= 0:
            return self.pick("s", "t", self.literal(), self.literal())
        d = depth - 1
        r = self.random.randrange(30)
        if r < 4:
            return self.string(0)
        if r < 6:
            return f"({self.string(d)} {self.pick('+', '~')} {self.string(d)})"
        if r == 6:
            return f"({self.any(d)} ~ {self.any(d)})"
        if r == 7:
            return f"{self.atom(self.string(d))}[{self.bounds()}]"
        if r == 8:
            return f"({self.atom(self.string(d))} * {self.pick('0', '2', '3', 'i')})"
        if r == 9:
            template, values = self.pick((self.literal(), "()"), ("'%s'", f"({self.any(d)},)"), ("'<%r>'", f"[{self.any(d)}]"), (
                "'%s: %3d%%'", f"({self.any(d)}, {self.integer(d)})"), ("'%(a)s %(b)6.2f'", f"dict(a={self.any(d)}, b={self.number(d)})"))
            return f"({template} % {values})"
        if r == 10:
            return f"{self.pick(chr(39) + '%5d|%-4s|%.2f|%s' + chr(39), chr(39) + '%05d|%x|%e|%r' + chr(39))}|format({self.integer(d)}, {self.integer(d)}, {self.number(d)}, {self.any(d)})"
        if r == 11:
            return f"'{{}}|{{:>6}}|{{:.2f}}'.format({self.any(0)}, {self.string(0)}, {self.number(0)})"
        if r < 20:
            return f"{self.atom(self.string(d))}{self.text_filter(d)}"
        if r < 27:
            return f"{self.atom(self.string(d))}{self.text_method(d)}"
        if r == 27:
            return f"{self.any(d)}|tojson{self.pick('', '', '(indent=2)', '(ensure_ascii=true)', '(sort_keys=true)', '(separators=(chr0, chr1))').replace('chr0', repr(',')).replace('chr1', repr(':'))}"
        if r == 28:
            return f"{self.listing(d)}|join{self.pick('', '(', '(').replace('(', '(' + self.string(0) + ')')}"
        return f"({self.string(d)} if {self.condition(d)} else {self.string(d)})"

    def text_filter(self, d):
        return self.random.choice([
            "|upper", "|lower", "|title", "|capitalize", "|trim", f"|trim({self.literal()})", f"|replace({self.string(0)}, {self.string(0)})",
            f"|replace({self.literal()}, {self.literal()}, 1)", "|indent", "|indent(2, true)", "|indent(1, blank=true)", "|indent('> ')",
            "|reverse", "|string", "|striptags", "|urlencode", f"|truncate({self.random.randrange(3, 12)}, {self.pick('true', 'false')}, '..', 0)",
            "|center(12)", "|default('dflt')", f"|d({self.literal()}, true)", "|first", "|last"])

    def text_method(self, d):
        s = self.literal()
        return self.random.choice([
            ".upper()", ".lower()", ".title()", ".capitalize()", ".swapcase()", ".strip()", ".lstrip()", ".rstrip()", f".strip({s})",
            f".lstrip({s})", f".rstrip({s})", f".replace({s}, {self.literal()})", f".replace({s}, {self.literal()}, {self.pick(0, 1, 2, -1)})",
            f".removeprefix({s})", f".removesuffix({s})", ".zfill(6)", ".center(9, '*')", ".ljust(8)", ".rjust(8, '.')",
            f".join({self.listing(d)})", f".split({self.pick('', s, s + ', 1')})[0]", f".rsplit({self.pick('', s, s + ', 1', 'none, 1')})[-1]",
            f".partition({s})[{self.pick(0, 1, 2)}]", f".rpartition({s})[{self.pick(0, 1, 2)}]", ".expandtabs(4)", ".splitlines()[0]", ".format(1, a=2)"])

    def bounds(self):
        n = lambda: self.pick("", "0", "1", "-1", "2", "-3", "5", "i")
        return self.pick(f"{n()}:{n()}", f"{n()}:{n()}:{self.pick('', '2', '-1', '-2')}", "::-1")

    def integer(self, d):
        if d <= 0:
            return self.pick("i", "0", "1", "2", "3", "10", "-4", "1_000")
        r = self.random.randrange(10)
        d -= 1
        if r < 2:
            return self.integer(0)
        if r < 4:
            return f"({self.integer(d)} {self.pick('+', '-', '*', '//', '%')} {self.integer(d)})"
        if r == 4:
            return f"{self.atom(self.pick(self.string(d), self.listing(d)))}|{self.pick('length', 'count')}"
        if r == 5:
            return f"{self.atom(self.any(d))}|int{self.pick('', '(5)', '(base=16)', '(-1, 2)')}"
        if r == 6:
            return f"{self.atom(self.string(d))}.{self.pick('find', 'rfind', 'count', 'index')}({self.literal()})"
        if r == 7:
            return f"{self.atom(self.integer(d))}|abs"
        if r == 8:
            return f"(-{self.integer(0)})"
        return f"({self.pick('2', '3', '(-2)')} ** {self.pick('0', '1', '2', '3')})"

    def number(self, d):
        r = self.random.randrange(8)
        if d <= 0 or r < 2:
            return self.pick("f", "1.5", "0.1", "2.0e3", "1e-7", self.integer(d))
        d -= 1
        if r < 5:
            return f"({self.number(d)} {self.pick('+', '-', '*', '/', '//', '%')} {self.number(d)})"
        if r == 5:
            return f"{self.atom(self.number(d))}|round{self.pick('', '(1)', '(2, chr)', '(0, chr)', '(-1)').replace('chr', repr(self.pick('floor', 'ceil', 'common')))}"
        if r == 6:
            return f"{self.atom(self.any(d))}|float{self.pick('', '(2.5)')}"
        return f"{self.pick('ints', '[1, 2.5]')}|{self.pick('sum', 'min', 'max')}"

    def listing(self, d):
        if d <= 0:
            return self.pick("words", "ints", "messages", "[1, 'a', none]", "[]", "range(3)", "d", "any", "s")
        d -= 1
        r = self.random.randrange(20)
        if r < 2:
            return self.listing(0)
        if r == 2:
            return f"[{', '.join(self.any(d) for _ in range(self.random.randrange(4)))}]"
        if r == 3:
            return f"({self.any(d)}, {self.any(d)})"
        if r == 4:
            return f"{self.pick('words', 'ints', 'messages', '[3, 1, 2]', 'range(5)')}[{self.bounds()}]"
        if r == 5:
            return f"({self.pick('words', '[1]', 'ints')} + {self.pick('words', '[2, 3]', 'ints')})"
        if r == 6:
            return f"{self.atom(self.string(d))}.{self.pick('split()', 'splitlines()', 'splitlines(true)', 'split(' + self.literal() + ')', 'rsplit(none, 2)', 'split(none, 1)')}"
        if r == 7:
            return f"{self.listing(d)}|map({self.pick(repr('upper'), repr('string'), repr('length'), 'attribute=' + repr('content'), 'attribute=' + repr('n') + ', default=0', repr('int'), repr('default') + ', 1', repr('trim'))})|list"
        if r == 8:
            return f"{self.listing(d)}|{self.pick('select', 'reject')}({self.pick('', repr('string'), repr('number'), repr('defined'), repr('none'), repr('eq') + ', 1', repr('in') + ', [1, 2]', repr('mapping'), repr('odd'))})|list"
        if r == 9:
            return f"messages|{self.pick('selectattr', 'rejectattr')}({self.pick(repr('n'), repr('role') + ', ' + repr('equalto') + ', ' + repr('user'), repr('content') + ', ' + repr('string'), repr('n') + ', ' + repr('defined'))})|list"
        if r == 10:
            return f"{self.pick('words', 'ints', 'messages', self.listing(d))}|sort({self.pick('', 'true', 'reverse=true', 'case_sensitive=true', 'attribute=' + repr('content'), 'attribute=' + repr('role,content'))})"
        if r == 11:
            return f"{self.listing(d)}|{self.pick('unique', 'reverse', 'batch(2)', 'batch(2, 0)', 'slice(2)', 'slice(3, none)', 'items')}|list"
        if r == 12:
            return f"{self.pick('d', self.dictionary(d))}.{self.pick('keys()', 'values()', 'items()')}|list"
        if r == 13:
            return f"{self.pick('d', self.dictionary(d))}|dictsort{self.pick('', '(true)', '(reverse=true)', '(by=' + repr('value') + ')')}"
        if r == 14:
            return f"{self.pick('words', 'ints')}|groupby({self.pick('0', repr('x'))})" if self.chance(.3) else f"messages|groupby('{self.pick('role', 'content')}')"
        if r == 15:
            return f"{self.listing(d)}|list"
        if r == 16:
            return f"range({self.integer(0)}, {self.integer(0)}{self.pick('', ', 2', ', -1')})"
        if r == 17:
            return f"({self.pick('[1, 2]', 'words')} * {self.pick('0', '2')})"
        return self.listing(0)

    def dictionary(self, d):
        if d <= 0 or self.chance(.3):
            return "d"
        if self.chance(.3):
            return f"dict({self.pick('', 'a=' + self.any(d - 1), 'd', 'd, b=1')})"
        return "{" + ", ".join(f"{self.pick(self.literal(), self.literal(), self.any(0))}: {self.any(d - 1)}" for _ in range(self.random.randrange(3))) + "}"

    def condition(self, d):
        d -= 1
        r = self.random.randrange(14)
        if d <= 0 or r < 1:
            return self.pick("flag", "true", "false", "(not flag)", "(i > 1)", "s", "words", "(nothing is none)")
        if r < 4:
            return f"({self.any(d)} is {self.pick('', 'not ')}{self.test(d)})"
        if r < 6:
            return f"({self.number(d)} {self.pick('<', '<=', '>', '>=', '==', '!=')} {self.number(d)})"
        if r == 6:
            return f"({self.string(d)} {self.pick('<', '>', '==', '!=', 'in', 'not in')} {self.string(d)})"
        if r == 7:
            return f"({self.any(d)} {self.pick('in', 'not in')} {self.listing(d)})"
        if r == 8:
            return f"({self.condition(d)} {self.pick('and', 'or')} {self.condition(d)})"
        if r == 9:
            return f"(not {self.condition(d)})"
        if r == 10:
            return f"({self.integer(d)} {self.pick('<', '==')} {self.integer(d)} {self.pick('<=', '!=')} {self.integer(d)})"
        if r == 11:
            return f"{self.atom(self.string(d))}.{self.pick('startswith', 'endswith')}({self.pick(self.literal(), '(' + self.literal() + ', ' + self.literal() + ')')})"
        if r == 12:
            return f"{self.atom(self.string(d))}.{self.pick('isdigit', 'isalpha', 'isalnum', 'isspace', 'isupper', 'islower', 'istitle', 'isnumeric', 'isdecimal', 'isascii', 'isidentifier')}()"
        return f"({self.any(d)} == {self.any(d)})"

    def test(self, d):
        return self.random.choice([
            "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping", "iterable",
            "sequence", "callable", "odd", "even", "divisibleby 2", "divisibleby(3)", "upper", "lower", f"eq {self.any(0)}",
            f"equalto({self.any(0)})", f"ne {self.integer(0)}", f"lt {self.integer(0)}", f"ge({self.integer(0)})", f"in {self.listing(0)}",
            "sameas none", "sameas true", "escaped", "filter", "test"])

    def any(self, d):
        if d <= 0:
            return self.pick("s", "i", "f", "flag", "nothing", "words", "d", "any", "other", "missing", "any.a", "other['b']", "other[0]",
                             "messages[0].content", "messages[-1]['role']", "d.a", "d['key']", "words[0]", "words[9]", "1", "'lit'",
                             *(self.names * 2))
        r = self.random.randrange(12)
        d -= 1
        if r < 3:
            return self.string(d + 1)
        if r < 5:
            return self.number(d + 1)
        if r == 5:
            return self.listing(d + 1)
        if r == 6:
            return self.condition(d + 1)
        if r == 7:
            return self.dictionary(d + 1)
        if r == 8:
            return f"{self.pick('d', 'd', 'd', 'messages[0]', 'messages[0]', 'any')}.get({self.literal()}{self.pick('', ', 1')})"
        if r == 9:
            return f"({self.any(d)} {self.pick('or', 'and')} {self.any(d)})"
        if r == 10 and self.macros:
            return self.macro_call(d)
        return self.any(0)

    def atom(self, expression):
        return expression if re.fullmatch(r"\w+", expression) and not expression.isdigit() else f"({expression})"

    def macro_call(self, d):
        name, parameters = self.random.choice(self.macros)
        given = parameters[:self.random.randrange(len(parameters) + 1)]
        arguments = [self.pick(self.any(d), f"{p}={self.any(d)}") for p in given]
        arguments.sort(key=lambda a: bool(re.match(r"\w+=[^=]", a)))
        if self.chance(.05):
            arguments.append("extra=1")
        return f"{name}({', '.join(arguments)})"

    # statements

    def tag(self, content):
        left, right = self.pick("", "", "", "-", "+"), self.pick("", "", "", "-", "+")
        return "{%" + left + self.pick(" ", "", "\n ") + content + " " + right + "%}"

    def output(self):
        left, right = self.pick("", "", "", "-"), self.pick("", "", "", "-")
        return "{{" + left + " " + (self.any(3) if self.chance(.95) else self.atom(self.string(2)) + self.pick("|e", "|escape", "|safe")) + " " + right + "}}"

    def body(self, depth):
        return "".join(self.statement(depth) for _ in range(self.random.randrange(1, 4)))

    def name(self):
        name = self.random.choice(NAMES)
        if name not in self.names:
            self.names.append(name)
        return name

    def statement(self, depth):
        r = self.random.randrange(26)
        if r < 6:
            return self.random.choice(TEXTS)
        if r < 11 or depth <= 0:
            return self.output() + self.pick("", " ", "\n")
        d = depth - 1
        if r < 13:
            text = self.tag("if " + self.condition(2)) + self.body(d)
            if self.chance(.4):
                text += self.tag("elif " + self.condition(2)) + self.body(d)
            if self.chance(.5):
                text += self.tag("else") + self.body(d)
            return text + self.tag("endif")
        if r < 17:
            return self.loop(d)
        if r < 19:
            value = self.any(3)
            return self.tag(f"set {self.name()} = {value}")
        if r == 19:
            values = f"{self.any(2)}, {self.any(2)}"
            return self.tag(f"set {self.name()}, {self.name()} = {values}")
        if r == 20:
            body = self.body(d)
            return self.tag(f"set {self.name()}{self.pick('', '', ' | upper', ' | trim')}") + body + self.tag("endset")
        if r == 21:
            return self.namespace(d)
        if r == 22:
            return self.macro(d)
        if r == 23:
            return self.tag(f"filter {self.pick('upper', 'trim', 'indent(2)', 'replace(' + self.literal() + ', ' + self.literal() + ')', 'lower|title')}") + self.body(d) + self.tag("endfilter")
        if r == 24:
            value = self.any(2)
            return self.tag(f"with {self.name()} = {value}") + self.body(d) + self.tag("endwith")
        return self.pick("{# comment #}", "{#- c -#}", "{# c +#}\n", self.tag("raw") + "{{ x }} {% y %}\n " + self.tag("endraw").replace("+%}", "%}"),
                         self.tag("generation") + self.outside_loop(d) + self.tag("endgeneration"),
                         self.call_block(d)).replace("raw +%}", "raw %}")

    def outside_loop(self, d):
        outer, self.in_loop = self.in_loop, 0
        body = self.body(d)
        self.in_loop = outer
        return body

    def loop(self, d):
        sequence, recursive = self.listing(2), False
        target = self.name()
        if self.chance(.2):
            target += ", " + self.name()
            sequence = self.pick("d.items()", "d|dictsort", "[(1, 'a'), (2, 'b')]", "d|items", sequence)
        test = f" if {self.condition(2)}" if self.chance(.25) else ""
        if self.chance(.06):
            return (self.tag("for item in [[1, [2]], [[3], 4]] recursive") + self.pick("[", " ") + "{{ loop.depth }}"
                    + "{{ loop(item) if item is not number else item }}" + self.pick("", "{{ loop.last }}") + "]" + self.tag("endfor"))
        self.in_loop += 1
        body = self.body(d)
        if self.chance(.6):
            body += "{{ loop." + self.pick("index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem", "depth",
                                            "cycle('a', 'b')", "changed(" + self.any(0) + ")") + " }}"
        if self.chance(.2):
            body += self.tag("if " + self.condition(2)) + self.tag(self.pick("break", "continue")) + self.tag("endif")
        self.in_loop -= 1
        text = self.tag(f"for {target} in {sequence}{test}") + body
        if self.chance(.3):
            text += self.tag("else") + self.body(d)
        return text + self.tag("endfor")

    def namespace(self, d):
        body = self.tag(f"set ns.{self.pick('n', 's')} = {self.pick('ns.n', 'ns.s', self.any(2))} {self.pick('~', '~', '+')} {self.any(1)}")
        return (self.tag(f"set ns = namespace(n={self.any(1)}, s={self.string(1)})") + self.tag(f"for item in {self.listing(1)}") + body
                + self.tag("endfor") + "{{ ns.n }}{{ ns.s }}" + self.pick("", "{{ ns.missing }}"))

    def macro(self, d):
        name = self.pick("m1", "m2")
        parameters = self.random.sample(["p", "q", "r"], self.random.randrange(3))
        declared = []
        for index, parameter in enumerate(parameters):
            declared.append(f"{parameter}={self.any(1)}" if index and self.chance(.7) or declared and "=" in declared[-1] else parameter)
        outer, self.names = self.names, self.names + parameters
        body = self.outside_loop(min(d, 1)) + self.pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller() if caller else '-' }}")
        self.names = outer
        text = self.tag(f"macro {name}({', '.join(declared)})") + body + self.tag("endmacro")
        self.macros.append((name, parameters))
        return text + "{{ " + self.macro_call(1) + " }}"

    def call_block(self, d):
        return (self.tag("macro wrap(a='x')") + "<{{ caller(a) if a else caller() }}>" + self.tag("endmacro")
                + self.tag(f"call(w={self.any(0)}) wrap({self.pick('', self.any(1))})") + "{{ w }}" + self.outside_loop(d) + self.tag("endcall"))

    def template(self):
        return "".join(self.statement(3) for _ in range(self.random.randrange(1, 8)))


# Output that differs between processes, or that is rejected on purpose: addresses, printed generators.
UNSTABLE = re.compile(r" at 0x[0-9a-f]|built-in method|<function|<class |LoopContext|method-wrapper")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    written = refused = skipped = number = 0
    with options.output.open("w", encoding="utf-8") as output:
        while written < options.count:
            number += 1
            name = f"{options.seed}.{number}"
            source = Generator(random.Random(name)).template()
            variables = data(random.Random(f"{name} data"))
            try:
                expected = chat_template_utils._compile_jinja_template(source).render(**variables)
            except Exception:  # every exception of jinja2 or Python counts as a rejection
                expected = None
            if expected is not None and UNSTABLE.search(expected):
                skipped += 1
                continue
            written, refused = written + 1, refused + (expected is None)
            record = {"name": name, "template": source, "variables": variables, "expected": expected}
            output.write(json.dumps(record, ensure_ascii=False) + "\n")
    print(f"seed {options.seed}: {written} templates, {refused} of them refused, {skipped} that print addresses left out; "
          f"jinja2 {jinja2.__version__}")


if __name__ == "__main__":
    main()
