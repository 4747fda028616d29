"""Token ids of a large corpus, and texts of random ids, by Hugging Face's tokenizers.

What it proves: EagleTrain's tokenizer gives the same ids for tens of megabytes of mixed text, and the same text for its
ids as well as for ids in random order, which end inside characters. Tests/EagleTextTests/CorpusParityTests.swift compares.

--corpus: what make_corpus.py writes. Ill-formed UTF-8 is replaced by U+FFFD before it is encoded. Text is encoded without
automatic special tokens; special tokens inside the text are recognised. With a byte-level tokenizer that keeps all text
decoding must give the text back, but for what NFC changed and for bytes that the vocabulary lacks, which are dropped;
anything else ends the program. Other tokenizers (--lossy) may give another text.

Byte tokens (<0x41>) that are no UTF-8 together are each a U+FFFD for tokenizers, whole characters among them too. A stream
has handed those on already, so the expectation here is Python's: characters stay, ill-formed parts become U+FFFD.

Writes one line of JSON (origin and counts), then for each document: count (uint32), ids (uint32 each), and the decoded
text: its length in bytes (uint32) and UTF-8, or the length 0xFFFFFFFF and nothing when it is the text that was encoded. Then
--sequences random sequences of ids in the same form, always with their text; half of their ids are drawn among the tokens
that are no whole characters. Special tokens are kept in every even sequence and left out in every odd one. Little-endian.

Versions used: tokenizers 0.23, numpy 2.4, Python 3.11.
Usage: python corpus_reference.py --tokenizer FOLDER --corpus FILE --output FILE [--sequences 20000] [--seed 0] [--lossy]
"""

import argparse
import hashlib
import json
import random
import re
import struct
import time
from pathlib import Path

import numpy
import tokenizers
from tokenizers import Tokenizer

from make_corpus import read_corpus

SAME = 0xFFFFFFFF
BATCH = 1000


def byte_alphabet():
    """The character that stands for each byte in a tokenizer.json: itself where it is visible, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(0x100 + place) for place, byte in enumerate(hidden)}


class Expectation:
    """What decoding the ids of a text should give: the text in NFC where the tokenizer normalises, without missing bytes."""

    def __init__(self, tokenizer):
        model = json.loads(tokenizer.to_str())
        added = sorted((token["content"] for token in model["added_tokens"]), key=len, reverse=True)
        assert not any(token["normalized"] for token in model["added_tokens"]), "added tokens that are normalised"
        assert model["decoder"]["type"] == "ByteLevel", "another decoder than ByteLevel needs --lossy"
        self.parts = re.compile("(" + "|".join(map(re.escape, added)) + ")")
        self.added, self.normalizer = set(added), tokenizer.normalizer
        vocabulary = model["model"]["vocab"]
        self.missing = bytes(byte for byte, letter in byte_alphabet().items() if letter not in vocabulary)

    def __call__(self, text):
        if self.normalizer:
            text = "".join(part if part in self.added else self.normalizer.normalize_str(part) for part in self.parts.split(text))
        if self.missing:
            text = text.encode().translate(None, self.missing).decode(errors="replace")
        return text


def ids_record(ids):
    return struct.pack("<I", len(ids)) + numpy.asarray(ids, "<u4").tobytes()


def text_record(text):
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded


def write_documents(tokenizer, texts, output, lossy):
    expected = None if lossy else Expectation(tokenizer)
    counts, seconds = {"documents": len(texts), "bytes": 0, "tokens": 0, "decoded_otherwise": 0}, 0.0
    for start in range(0, len(texts), BATCH):
        batch = texts[start:start + BATCH]
        begin = time.perf_counter()
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        seconds += time.perf_counter() - begin
        lists = [encoding.ids for encoding in encodings]
        for text, ids, decoded in zip(batch, lists, tokenizer.decode_batch(lists, skip_special_tokens=False)):
            assert lossy or decoded == text or decoded == expected(text), f"decoding does not give the text back: {text[:200]!r}"
            counts["bytes"] += len(text.encode())
            counts["tokens"] += len(ids)
            counts["decoded_otherwise"] += decoded != text
            output.append(ids_record(ids) + (struct.pack("<I", SAME) if decoded == text else text_record(decoded)))
    return counts, seconds


class Decoder:
    """Decodes ids, with ill-formed runs of byte tokens as Python decodes them."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        added = {token["id"]: token for token in json.loads(tokenizer.to_str())["added_tokens"]}
        self.special = {id for id, token in added.items() if token["special"]}
        byte = re.compile("<0x[0-9A-Fa-f]{2}>")
        tokens = tokenizer.get_vocab(with_added_tokens=True)
        falls_back = "ByteFallback" in str(json.loads(tokenizer.to_str())["decoder"])
        self.bytes = {id: int(token[3:5], 16) for token, id in tokens.items() if byte.fullmatch(token)} if falls_back else {}
        self.strips = "Strip" in str(json.loads(tokenizer.to_str())["decoder"])
        # The byte tokens of a character that no text has. It replaces an ill-formed run while the rest is decoded.
        self.mark = [{byte: id for id, byte in self.bytes.items()}[byte] for byte in chr(0x10FFFD).encode()] if self.bytes else []

    def __call__(self, ids, skip):
        ids = [id for id in ids if not (skip and id in self.special)]
        runs, plain, place = [], [], 0
        while place < len(ids):
            end = place
            while end < len(ids) and ids[end] in self.bytes:
                end += 1
            run = bytes(self.bytes[id] for id in ids[place:end])
            if run and "\ufffd" in run.decode(errors="replace"):
                runs.append(run.decode(errors="replace"))
                plain += self.mark
            else:
                plain += ids[place:max(end, place + 1)]
            place = max(end, place + 1)
        parts = self.tokenizer.decode(plain, skip_special_tokens=skip).split(chr(0x10FFFD))
        assert len(parts) == len(runs) + 1
        if runs and not parts[0] and self.strips:
            runs[0] = runs[0].removeprefix(" ")
        return parts[0] + "".join(run + part for run, part in zip(runs, parts[1:]))


def write_sequences(tokenizer, count, seed, output):
    decode = Decoder(tokenizer)
    chooser = random.Random(seed)
    everything = list(range(tokenizer.get_vocab_size(with_added_tokens=True)))
    partial = [id for id, text in zip(everything, tokenizer.decode_batch([[id] for id in everything], skip_special_tokens=False))
               if "\ufffd" in text]
    for index in range(count):
        ids = [chooser.choice(chooser.choice([everything, partial])) for _ in range(chooser.randint(1, 24))]
        output.append(ids_record(ids) + text_record(decode(ids, index % 2 == 1)))
    return len(partial)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lossy", action="store_true")
    arguments = parser.parse_args()

    file = arguments.tokenizer / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    texts = [document.decode("utf-8", errors="replace") for document in read_corpus(arguments.corpus)]
    records = []
    counts, seconds = write_documents(tokenizer, texts, records, arguments.lossy)
    partial = write_sequences(tokenizer, arguments.sequences, arguments.seed, records)
    header = {"origin": {"script": "corpus_reference.py", "tokenizers": tokenizers.__version__, "seed": arguments.seed,
                         "tokenizer_json_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                         "corpus_sha256": hashlib.sha256(arguments.corpus.read_bytes()).hexdigest()},
              "sequences": arguments.sequences} | counts
    arguments.output.write_bytes(json.dumps(header).encode() + b"\n" + b"".join(records))
    print(f"{counts}, {partial} tokens are no whole characters; {counts['bytes'] / seconds / 1e6:.2f} MB/s")


if __name__ == "__main__":
    main()
