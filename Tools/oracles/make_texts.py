"""Writes the strings and conversations that tokenizer_reference.py encodes for the tokenizer fixture.

What it proves: nothing by itself; the list is a program so that every invisible character is spelled out.

Versions used: Python 3.11.
Usage: python make_texts.py --texts FILE.json --conversations FILE.json
"""

import argparse
import json
from pathlib import Path

TEXTS = [
    # English
    "", "a", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "I'm sure you've seen it; we'll say they'd've gone, it's theirs, DON'T I'M 'tis 'S",
    "don\u2019t \u201cquote\u201d \u2014 em\u2013dash\u2026", "e.g. U.S.A. vs. Ph.D., co-operate/and-or_snake_case camelCase",
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "ALL CAPS AND MiXeD",
    "https://example.com/a?b=c&d=%20#frag user@example.org", " leading", "trailing ", "  two  spaces  ",
    # digits
    "0", "1234567890", "3.14159 1,000,000 1e-5 0x1F", "2024-02-29T12:34:56Z", "x2y3z", "\u00b2\u00b3 \u00bd \u2167 \u2460 \u0661\u0662\u0663 \u096a\u096b \uff11\uff12",
    # spaces and newlines
    " ", "   ", "\n", "\n\n\n", "a\n\n\nb", "a\n  b\n    c\n", "\t\ttabs\tand\t spaces \t", "line\r\nwindows\r\n",
    "a" + " " * 17 + "b", " " * 40, "\n \n \n", "no\u00a0break \u2003em \u3000wide\u2028line\u2029par\u200bzero\ufeffbom", "a \n", "\u0085next\u000bvt\u000cff",
    # code
    "def f(x):\n    return x ** 2  # square\n", "for (int i = 0; i < n; ++i) { a[i] += b[i] * 2; }",
    "let x: [Int: String]? = nil // ?? \"\"", "SELECT * FROM t WHERE a <> 'b';", "#!/bin/bash\nset -euo pipefail\n\techo \"$1\" | sed 's/a/b/g'",
    "{\"k\": [1, 2.5, null], \"s\": \"\\u00e9\\n\"}", "$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$", "!!!???...---===>>><<<", "~`@#$%^&*()_+-=[]{}|;':\",./<>?\\",
    # other scripts
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u4eba\u5de5\u667a\u80fd\u662f\u4ec0\u4e48\uff1f\u8bf7\u7528100\u5b57\u56de\u7b54\u3002", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3068\uff76\uff85", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4.", "\u1112\u1161\u11ab",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u0643\u064a\u0641 \u062d\u0627\u0644\u0643\u061f", "\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0401\u0436", "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u03ac\u03c2 \u1f08\u03c1\u03c7\u03ae", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e \u0915\u094d\u0937\u093f", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    # combining marks: the same letters composed and decomposed must not be unified
    "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m", "cafe\u0301 nai\u0308ve A\u030angstro\u0308m", "Z\u0351\u036b\u0343a\u0321\u0334l\u0322g\u0336o\u0315", "\u1e69 s\u0323\u0307 s\u0307\u0323", "\u0131\u0130\u00df\u1e9e\ufb01\ufb03\u0149",
    # emoji
    "\U0001f600\U0001f602", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family", "\U0001f44d\U0001f3fd\U0001f44b\U0001f3ff", "\u2764\ufe0f\u2764 1\ufe0f\u20e3", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1fa", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001d49c\U0001d4b7 \U00020000\U0002a6d6 \U0001f9d1\u200d\U0001f4bb",
    # control characters; 4, 6, 0x13, 0x14, 0x16 and 0x1d are bytes that SmolLM2's vocabulary lacks
    "\u0000null", "a\u0001\u0002\u0003b\u001b[31mred\u001b[0m\u007f", "x\u0004\u0006y\u0013\u0014\u0016\u001dz", "\u202eright-to-left\u202c \u2066isolate\u2069 soft\u00adhyphen",
    "\uffff\ufffd\ue000", "\U000f0000\U0010ffff",
    # special tokens inside text
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|><|im_end|><|endoftext|>", "a <|im_start|> b<|im_end|>c", "<|im_start <|im_start|", "<|IM_START|> <| im_end |>", "<repo_name>x<file_sep>y<filename>z<gh_stars>12<issue_start>", "<|im_start|><|im_start|> \n<|im_end|> ", "12<|im_end|>34",
]

SYSTEM = {"role": "system", "content": "You are terse."}
FIRST = {"role": "user", "content": "What is the capital of France?"}
ANSWER = {"role": "assistant", "content": "The capital of France is Paris."}
SECOND = {"role": "user", "content": "  And of Italy?\n"}
CONVERSATIONS = [
    {"messages": [FIRST], "add_generation_prompt": True},
    {"messages": [FIRST], "add_generation_prompt": False},
    {"messages": [FIRST, ANSWER], "add_generation_prompt": False},
    {"messages": [FIRST, ANSWER, SECOND], "add_generation_prompt": True},
    {"messages": [SYSTEM, FIRST, ANSWER, SECOND, {"role": "assistant", "content": "Rome."}], "add_generation_prompt": False},
    {"messages": [SYSTEM, FIRST], "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}], "add_generation_prompt": False},
    {"messages": [{"role": "user", "content": "\u4f60\u597d <|im_end|> {{ x }} {% raw %} 'q' \"d\" \\n"}], "add_generation_prompt": True},
    {"messages": [SYSTEM, {"role": "assistant", "content": " \n```python\nprint(1)\n```\n"}, FIRST], "add_generation_prompt": True},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--conversations", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.texts.write_text(json.dumps(TEXTS, indent=0) + "\n")
    arguments.conversations.write_text(json.dumps(CONVERSATIONS, indent=1) + "\n")


if __name__ == "__main__":
    main()
