"""Small byte-level BPE tokenizers with the ids that Hugging Face's tokenizers gives for awkward texts.

What it proves: EagleTrain's tokenizer agrees in every kind of file it accepts, without a model being there: GPT-2 with
a prefix space, SmolLM (digits, bytes missing), Qwen2 (NFC, split pattern) and Llama 3 (ignore_merges), each with
added tokens of every sort (special, normalized, lstrip, rstrip).

Writes {"origin", "tokenizers": {name: {"tokenizer": the tokenizer.json, "texts": [{"text", "ids", "decoded"}]}}}. Text
is encoded without automatic special tokens; "decoded" keeps special tokens and stands only where it differs from the text.

Versions used: tokenizers 0.23, Python 3.11. The tokenizers are trained on the texts below; seed 7 for the random ones.
Usage: python make_small_tokenizers.py --texts FILE.json --output Tests/Fixtures/tokenizers-small.json
(FILE.json is what make_texts.py writes)
"""

import argparse
import json
import random
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{NUMBERS}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
ADDED = [("<|endoftext|>", {"special": True}), ("<|im_start|>", {"special": True}), ("<|im_end|>", {"special": True}),
         ("<think>", {"normalized": False}), ("<tool", {}), ("<tool_call>", {}), ("cafe\u0301", {}),
         ("<L>", {"special": True, "lstrip": True}), ("<R>", {"special": True, "rstrip": True}),
         ("<LR>", {"lstrip": True, "rstrip": True})]
WORDS = ["the", " quick", "Hello", " world", "123", "4", " 2024", "\n", "\n\n", " ", "  ", "\t", "\r\n", "'s", "'LL", "'\u017f", "e\u0301",
         "\u212b", "\u4f60\u597d", "\uff0c", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0661", "\u00bd", "\U0001f44d\U0001f3fd", "\u180e", "\u0085", "\u3000", "\u200b",
         "\U00011f04", "\U00011f50", "\U00011de0", "\U000e0067", "\u0004", "\u0300", "a\u0323\u0307", "...", " --", "_x", "<", "<|im_", "<tool_"]


def split(numbers):
    pattern = Regex(SPLIT.replace("{NUMBERS}", numbers))
    return pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(texts, pre_tokenizer, normalizer=None, ignore_merges=False, all_bytes=True):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if all_bytes else []
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_tokens([AddedToken(content, **({"special": False} | flags)) for content, flags in ADDED])
    return tokenizer


def encode(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    return {"text": text, "ids": ids} | ({} if decoded == text else {"decoded": decoded})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    texts = json.loads(arguments.texts.read_text(encoding="utf-8"))
    chooser = random.Random(7)
    parts = WORDS + [content for content, _ in ADDED]
    texts += ["".join(chooser.choices(parts, k=chooser.randrange(2, 16))) for _ in range(60)]
    corpus = [text for text in texts if text.isascii()] * 3 + texts
    byte_level, digits = pre_tokenizers.ByteLevel, pre_tokenizers.Digits
    trained = {
        "gpt2-prefix": train(corpus, byte_level(add_prefix_space=True)),
        "smollm": train([text for text in corpus if "\x04" not in text],
                        pre_tokenizers.Sequence([digits(individual_digits=True), byte_level(add_prefix_space=False)]),
                        all_bytes=False),
        "digit-runs": train(corpus, pre_tokenizers.Sequence([digits(individual_digits=False), byte_level(add_prefix_space=False)])),
        "qwen2": train(corpus, split(""), normalizer=normalizers.NFC()),
        "llama3": train(corpus, split("{1,3}"), ignore_merges=True),
    }
    origin = {"script": "make_small_tokenizers.py", "tokenizers": tokenizers.__version__, "seed": 7}
    content = {"origin": origin, "tokenizers": {
        name: {"tokenizer": json.loads(tokenizer.to_str()), "texts": [encode(tokenizer, text) for text in texts]}
        for name, tokenizer in trained.items()}}
    lines = json.dumps(content, separators=(",", ":")).replace('},{"text"', '},\n{"text"')
    arguments.output.write_text(lines + "\n", encoding="ascii")
    print(f"{len(trained)} tokenizers, {len(texts)} texts, {len(lines)} bytes")


if __name__ == "__main__":
    main()
