"""Conversations as apply_chat_template renders them, with loss masks, and the part of the tokenizer that they need.

What it proves: EagleTrain renders ChatML, masks the answers and encodes as transformers does for a model's own tokenizer and
template. The usual tests replay this without the model: "tokenizer" is the model's tokenizer.json with only those tokens and
merges left that the texts here need, under their own ids and in their own order.

Why the rest can go: every merge that is carried out makes a token that either stays or is merged on, so it is a node in the tree of
merges below some token of the result. With only those merges, each step finds the same merge of lowest rank. The program checks that
tokenizers gives the same ids with the cut tokenizer.

Masks come from renderings of the conversation's beginnings: an assistant turn's span goes from the end of the rendering of what
precedes it, with the header of the answer, to the end of the rendering that includes it, without the line end. A token is trained
when it begins inside a span. No content here spells out an added token: EagleTrain reads that as text, transformers as the token.

Writes {"origin", "tokenizer", "chat_template", "texts": [{"text", "ids", "decoded"}], "conversations": [{"messages",
"add_generation_prompt", "ids", "loss_mask"}]}; "decoded" stands only where it differs from the text, the mask as a string of
0 and 1 only where an answer is there and no header follows.

Versions used: tokenizers 0.23, transformers 5.23, Python 3.11. Seed 5.
Usage: python chat_reference.py --model FOLDER --texts FILE.json --output Tests/Fixtures/chat-NAME.json
(FILE.json is what make_texts.py writes)
"""

import argparse
import hashlib
import json
import random
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import make_corpus
from tokenizer_reference import encode, read_texts, write_lines

CONTENTS = ["", "Hi", "What is the capital of France?", "  And of Italy?\n", "The capital of Italy is Rome.\n\nAnything else?", "\nleading line", "\n\nleading lines",
            "\r\n\tleading tab", "\u3000\u00a0odd spaces \u2003", "trailing lines\n\n\n", " \n ", "```python\ndef f(x):\n    return x ** 2  # square\n```\n",
            "\u4eba\u5de5\u667a\u80fd\u662f\u4ec0\u4e48\uff1f\u8bf7\u7528100\u5b57\u56de\u7b54\u3002", "\u6cd5\u56fd\u7684\u9996\u90fd\u662f\u5df4\u9ece\u3002", "\u0301mark first", "e\u0301cole \u1100\u1161\u11a8 \u212b", "caf\u00e9 na\u00efve \u2014 \u201cquoted\u201d",
            "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u200f123", "\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466\U0001f44d\U0001f3fd", "1234567890 3.14159 1,000,000", "I'm sure they'll say it's DON'T",
            "user\nassistant\n system", "<|im_start <im_end|> <| im_end |>", "{{ messages }} {% raw %} \\n 'q' \"d\"", "$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$", "a" * 40, "\ufffd\u200b\ufeff", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947"]
# Cases in which normalisation is error-prone: Tibetan vowel signs that become two marks, jamo outside modern syllables,
# marks newer than Unicode 9, a syllable or a vowel sign with one more part, composites above U+FFFF, singletons.
NORMALISED = ["\u0f40\u0f72\u0f73\u0f81\u0f75", "\u059c\u0f75 \U000101fd\u094d\u0f75", "\u1112\u1176 \u1100\u1175\u11a7 \u1100\u1161\u11c3", "a\u0301\U00010d24\u0316",
              "a\u0301\U0001e4ef\u0316\u0323 \u1abf\u0301\u0316", "\uac00\u11a8\u11a8 \u0cc6\u0cc2\u0cd5", "\U00011935\U00011930 \U000114b9\U000114ba", "\u212b\u2126\ufa30",
              "q\u0307\u0323 \u1e69\u0327", "\u0915\u093c\u0958 \u05e9\u05bc\u05c1", "<|im_end|>\u0338>\u0338"]
SYSTEMS = ["You are terse.", "", "\nAnswer in Chinese: \u8bf7\u7528\u4e2d\u6587\u56de\u7b54\u3002\n", "You are a helpful assistant.  "]


def make_conversations(chooser):
    """With and without a system message, one to nine turns, ending with either side, every content somewhere in an answer."""
    answers = CONTENTS + chooser.sample(CONTENTS, len(CONTENTS))
    while answers:
        system = chooser.choice([None, chooser.choice(SYSTEMS)])
        messages = [{"role": "system", "content": system}] if system is not None else []
        for _ in range(chooser.randint(1, 4)):
            messages.append({"role": "user", "content": chooser.choice(CONTENTS)})
            messages.append({"role": "assistant", "content": answers.pop()})
            if not answers:
                break
        yield messages, False
        if chooser.random() < 0.4:
            yield messages + [{"role": "user", "content": chooser.choice(CONTENTS)}], chooser.random() < 0.6
    for system in [None, *SYSTEMS]:
        first = [{"role": "system", "content": system}] if system is not None else []
        yield first + [{"role": "user", "content": chooser.choice(CONTENTS)}], True


class Reference:
    def __init__(self, folder):
        self.fast, self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json")), AutoTokenizer.from_pretrained(folder)
        self.added = [token.content for token in self.fast.get_added_tokens_decoder().values()]

    def text(self, messages, header):
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=header)

    def conversation(self, messages, header):
        assert not any(token in message["content"] for token in self.added for message in messages)
        text = self.text(messages, header)
        encoding = self.fast.encode(text, add_special_tokens=False)
        ids = self.tokenizer.apply_chat_template(messages, add_generation_prompt=header, return_dict=True)["input_ids"]
        assert ids == encoding.ids, "template ids are not the ids of the rendered text"
        entry = {"messages": messages, "add_generation_prompt": header, "ids": ids}
        spans = self.spans(messages)
        if spans and not header:
            trained = [any(start <= first < end for start, end in spans) for first, _ in encoding.offsets]
            entry["loss_mask"] = "".join("01"[flag] for flag in trained)
        return entry

    def spans(self, messages):
        """From and to which character the answers and their ends of turn go."""
        spans = []
        for place, message in enumerate(messages):
            if message["role"] == "assistant":
                start, end = len(self.text(messages[:place], True)), len(self.text(messages[:place + 1], False)) - 1
                assert self.text(messages, False)[start:end] == message["content"] + "<|im_end|>"
                spans.append((start, end))
        return spans


def make_texts(chooser):
    """Short texts: those above, then some of every generated kind."""
    made = list(NORMALISED)
    for kind in make_corpus.KINDS * 12:
        document = kind(chooser)
        text = document.decode(errors="replace") if isinstance(document, bytes) else document
        start = chooser.randrange(max(1, len(text) - 40))
        made.append(text[start:start + chooser.randint(5, 40)])
    return made


def cut(full, used):
    """The tokenizer.json with single bytes, added tokens and the tokens `used` with all that they are merged from."""
    vocabulary, merges = full["model"]["vocab"], full["model"]["merges"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    parts = {}
    for left, right in pairs:
        parts.setdefault(left + right, []).extend((left, right))
    names = {id: token for token, id in vocabulary.items()}
    added = {token["content"] for token in full["added_tokens"]}
    kept, waiting = set(), [names[id] for id in used if id in names] + [token for token in vocabulary if len(token) == 1 or token in added]
    while waiting:
        token = waiting.pop()
        if token not in kept:
            kept.add(token)
            waiting += parts.get(token, ())
    model = full["model"] | {"vocab": {token: id for token, id in vocabulary.items() if token in kept},
                             "merges": [f"{left} {right}" for left, right in pairs if left + right in kept]}
    return full | {"model": model}


def check_cut(content, entries):
    """Encodes again with the cut tokenizer. Tokenizers gives added tokens new ids unless the vocabulary has them already."""
    model = content["model"]
    complete = model | {"vocab": model["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}}
    tokenizer = Tokenizer.from_str(json.dumps(content | {"model": complete}))
    for text, ids in entries:
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids, f"the cut tokenizer differs in {text!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    chooser = random.Random(5)
    reference = Reference(arguments.model)
    texts = [encode(reference.fast, text) for text in read_texts(arguments.texts) + make_texts(chooser)]
    conversations = [reference.conversation(*conversation) for conversation in make_conversations(chooser)]
    full = (arguments.model / "tokenizer.json").read_bytes()
    content = cut(json.loads(full), {id for entry in texts + conversations for id in entry["ids"]})
    check_cut(content, [(entry["text"], entry["ids"]) for entry in texts]
              + [(reference.text(entry["messages"], entry["add_generation_prompt"]), entry["ids"]) for entry in conversations])
    origin = {"script": "chat_reference.py", "tokenizers": tokenizers.__version__, "transformers": transformers.__version__, "seed": 5,
              "tokenizer_json_sha256": hashlib.sha256(full).hexdigest()}
    fixture = {"origin": origin, "tokenizer": content, "chat_template": reference.tokenizer.chat_template, "texts": texts,
               "conversations": conversations}
    lines = write_lines(arguments.output, fixture)
    print(f"{len(texts)} texts, {len(conversations)} conversations, {sum('loss_mask' in entry for entry in conversations)} with masks, "
          f"{len(content['model']['vocab'])} tokens, {len(content['model']['merges'])} merges, {len(lines)} bytes")


if __name__ == "__main__":
    main()
