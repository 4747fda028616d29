"""Writes prompts, and two prompts of all of them together, forwards and backwards.

What it proves: nothing by itself. The two long prompts (1,600 tokens) are longer than the windows of small models,
which single prompts are not.

Usage: python long_prompts.py --short N --output FILE.jsonl PROMPTS.jsonl [...]
"""

import argparse
import json
from pathlib import Path


def read_prompts(path):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["turns"][0] for line in lines if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, required=True, help="prompts by themselves, taken from the files in turn")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    files = [read_prompts(path) for path in arguments.files]
    mixed = [prompt for row in zip(*files) for prompt in row]
    prompts = mixed[:arguments.short] + ["\n".join(mixed), "\n".join(reversed(mixed))]
    lines = [json.dumps({"id": str(number), "turns": [prompt]}, ensure_ascii=False)
             for number, prompt in enumerate(prompts)]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
