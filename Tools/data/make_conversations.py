#!/usr/bin/env python3
"""Writes a file of made-up conversations in English and Chinese, of any size, to measure `prepare` with.

Usage: make_conversations.py OUTPUT MEGABYTES [SEED]

Words follow Zipf's law over a vocabulary of syllables, and texts are drawn from 200,000 sentences of them, so that they are neither all
alike nor noise; some have numbers and code. Nearly one conversation in a hundred is broken or odd in one of the ways that data
sets are.
"""
import json
import random
import sys

SYLLABLES = "ba be bi bo con de di do fer ga gen ha in ka la le li lo ma men mi mo na ne ni no pa per po ra re ri ro sa se si so ta ter ti to tra un ve vi".split()
HANZI = [chr(0x4E00 + i * 7 % 6000) for i in range(3000)]


def zipf(rng, size):
    """An index below `size`, the first ones most often."""
    return min(size - 1, int(size ** rng.random()) - 1 + rng.randrange(2))


def word(rng, index):
    local = random.Random(index)
    return "".join(local.choice(SYLLABLES) for _ in range(1 + index % 4))


def sentence(rng, words, chinese):
    count = rng.randrange(6, 25)
    if chinese:
        return "".join(rng.choices(HANZI, weights=WEIGHTS, k=count)) + "。"
    parts = [words[zipf(rng, len(words))] for _ in range(count)]
    if rng.random() < 0.1:
        parts.append(str(rng.randrange(100000)))
    return " ".join(parts).capitalize() + "."


WEIGHTS = [1 / (i + 3) for i in range(len(HANZI))]


def text(rng, pools, chinese, sentences):
    body = " ".join(rng.choices(pools[chinese], k=sentences))
    if rng.random() < 0.05:
        body += "\n```python\ndef f(x):\n    return x * %d\n```" % rng.randrange(1000)
    return body


def conversation(rng, pools, number):
    chinese = rng.random() < 0.4
    messages = []
    if rng.random() < 0.2:
        messages.append({"role": "system", "content": text(rng, pools, chinese, 1)})
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        messages.append({"role": "user", "content": text(rng, pools, chinese, rng.randrange(1, 5))})
        messages.append({"role": "assistant", "content": text(rng, pools, chinese, rng.randrange(2, 20))})
    return {"id": f"made-{number}", "conversations": messages}


def odd(rng, line, record):
    kind = rng.randrange(5)
    if kind == 0:
        return line[: len(line) // 2]
    if kind == 1:
        record["conversations"].insert(0, {"role": "user", "content": "twice"})
    elif kind == 2:
        record["conversations"] = record["conversations"][:1]
    elif kind == 3:
        record["conversations"][-1]["content"] = ""
    return json.dumps(record, ensure_ascii=False)


def main():
    path, size = sys.argv[1], int(float(sys.argv[2]) * 1e6)
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    words = [word(rng, i) for i in range(20000)]
    pools = [[sentence(rng, words, chinese) for _ in range(100000)] for chinese in (False, True)]
    written = number = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < size:
            record = conversation(rng, pools, number)
            line = json.dumps(record, ensure_ascii=False)
            if rng.random() < 0.008:
                line = odd(rng, line, record)
            number += 1
            written += len(line.encode("utf-8")) + 1
            file.write(line + "\n")


if __name__ == "__main__":
    main()
