"""A still of a terminal as SVG, from what `script` has recorded.

    script -q -e -c "make quickstart" quickstart.typescript
    python Tools/report/terminal.py quickstart.typescript docs/images/quickstart.svg --from "prepare:" --columns 110

Control codes are applied as a terminal does: a carriage return begins the line anew. Needs Python alone.
"""

import argparse
import html
import pathlib
import re

WIDTH, HEIGHT, MARGIN = 8.4, 18, 16  # of a character and a line, in pixels
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-JL-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")  # except K, which clears a line
CLEAR = re.compile(r"\x1b\[[0-2]?K")


def screen(record):
    """The lines that stay on the screen."""
    lines = []
    for raw in record.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in ESCAPES.sub("", raw).split("\r"):
            *_, cleared = CLEAR.split(part)
            shown = cleared if CLEAR.search(part) else part + shown[len(part):]
        lines.append(shown.rstrip())
    return [line for line in lines if not line.startswith(("Script started", "Script done"))]


def picture(lines, columns):
    width, height = columns * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    rows = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + (i + 0.75) * HEIGHT:g}" xml:space="preserve">'
        f"{html.escape(line[:columns])}</text>"
        for i, line in enumerate(lines) if line)
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size}>
<style>text {{ font: 14px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #e6e6e6 }}</style>
<rect width="100%" height="100%" rx="8" fill="#1b1f24"/>
{rows}
</svg>
"""


def main():
    assert screen("a\rb\r\nlong text\r\x1b[Kab\n") == ["b", "ab", ""]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--from", dest="first", default="", help="begin with the first line that starts so")
    parser.add_argument("--lines", type=int, default=60, help="the last lines, at most")
    parser.add_argument("--columns", type=int, default=110)
    options = parser.parse_args()
    lines = screen(options.record.read_bytes().decode(errors="replace"))
    begin = next((i for i, line in enumerate(lines) if line.startswith(options.first)), None)
    if begin is None:
        raise SystemExit(f"{options.record}: no line starts with {options.first!r}")
    while lines and not lines[-1]:
        lines.pop()
    options.output.write_text(picture(lines[begin:][-options.lines:], options.columns))


if __name__ == "__main__":
    main()
