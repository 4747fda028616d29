"""Writes conversations of an exact number of tokens, half of them trained: input for measurements at full size.

Each has one user and one assistant turn of the text of --source, cut so that the rendered conversation has --length
tokens (ChatML without a system prompt) and the assistant span, with its end-of-turn token, has half of them.

Versions used: Python 3.11, tokenizers 0.23. Usage: python conversations.py --tokenizer DIR --source FILE.jsonl
--count N --length T --output FILE.jsonl
"""

import argparse
import json

from tokenizers import Tokenizer

# <|im_start|>user\n … <|im_end|>\n<|im_start|>assistant\n … <|im_end|>\n: all but the two contents
FRAME = 10


def exact(tokenizer, ids, start, count):
    """Text that encodes to `count` tokens, from position `start` on; and where it ends."""
    for end in range(start + count, len(ids)):
        for first in range(start, end - count + 8):
            text = tokenizer.decode(ids[first:end]).strip()
            if len(tokenizer.encode(text, add_special_tokens=False).ids) == count:
                return text, end
    raise SystemExit("the source has too little text")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--source", required=True, help="conversations whose text is used")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(f"{arguments.tokenizer}/tokenizer.json")
    with open(arguments.source) as lines:
        messages = [turn["content"] for line in lines for turn in json.loads(line)["conversations"]]
    ids = tokenizer.encode("\n".join(messages), add_special_tokens=False).ids
    trained, place = arguments.length // 2, 0
    with open(arguments.output, "w") as file:
        for index in range(arguments.count):
            question, place = exact(tokenizer, ids, place, arguments.length - trained - FRAME + 1)
            answer, place = exact(tokenizer, ids, place, trained - 1)
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"id": f"full-{index}", "conversations": turns}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
