"""Compares loss masks with those that transformers takes from {% generation %} blocks.

What it proves: that what we find by rendering prompts is what a template marks as the assistant's.

Renders conversations with templates that mark their answers, by `eagle-run render --json` and by `apply_chat_template`
with `return_assistant_tokens_mask`. The model's folder gives the tokenizer; the templates are this script's own.

Prints one JSON line. Exits 1 if ids or masks differ.

Needs transformers, without torch.
Usage: python compare_masks.py --program PATH --target DIR
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import transformers

MARKED = "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
PLAIN = "{{ m.content + '<|im_end|>' }}"
PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
BODY = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}" + MARKED +
        "{% else %}" + PLAIN + "{% endif %}{{ '\\n' }}{% endfor %}" + PROMPT)
TEMPLATES = {
    "chatml": BODY,
    "system": "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}{% endif %}" + BODY,
    "trimmed": BODY.replace("m.content", "m.content | trim"),
    "ended": BODY + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
}
WORDS = ["rain", "Apfel", "42", "\n", "  ", "你好", "é", "print(x)", "🙂", "\tif", "...", "</s>", "a"]


def conversation(chance):
    turns = []
    if chance.random() < 0.4:
        turns.append({"role": "system", "content": text(chance)})
    for _ in range(chance.randint(1, 6)):
        turns += [{"role": role, "content": text(chance)} for role in ("user", "assistant")]
    return turns


def text(chance):
    return "x" + " ".join(chance.choice(WORDS) for _ in range(chance.randint(0, 12))) + "y"


def ours(arguments, template, turns, folder):
    messages, jinja = Path(folder, "messages.json"), Path(folder, "template.jinja")
    messages.write_text(json.dumps(turns), encoding="utf-8")
    jinja.write_text(template, encoding="utf-8")
    command = [arguments.program, "render", "--target", arguments.target, "--messages", str(messages),
               "--chat-template", str(jinja), "--json"]
    rows = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["rows"]
    return (rows[0]["ids"], rows[0]["loss_mask"]) if len(rows) == 1 else (len(rows), None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--count", type=int, default=50)
    arguments = parser.parse_args()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.target)
    chance, differing, tokens = random.Random(1), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for name, template in TEMPLATES.items():
            for _ in range(arguments.count):
                turns = conversation(chance)
                theirs = tokenizer.apply_chat_template(
                    turns, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
                ids, mask = ours(arguments, template, turns, folder)
                tokens += len(theirs["input_ids"])
                if ids != theirs["input_ids"] or mask != theirs["assistant_masks"]:
                    differing += 1
                    print(f"{name}: {turns}\n ours {ids} {mask}\n theirs {theirs['input_ids']} "
                          f"{theirs['assistant_masks']}", file=sys.stderr)
    print(json.dumps({"conversations": arguments.count * len(TEMPLATES), "tokens": tokens, "differing": differing,
                      "transformers": transformers.__version__}))
    sys.exit(1 if differing else 0)


main()
