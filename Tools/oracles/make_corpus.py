"""Makes a large mixed text for the comparison of tokenizers, the same bytes for the same files, size and seed.

What it proves: nothing by itself. corpus_reference.py computes the ids of what it writes.

One part are the files named with --files: folders (searched in order of their paths), single files, tar archives;
.gz, .bz2 and .xz are unpacked, files with null bytes skipped. The paths take turns, one document each, so a large one
does not crowd out the others. Files are cut every 64 KiB, also inside a character. The other part (--generated, by
default two fifths, more when the files do not suffice) is made here: emoji with joiners and skin tones, combining marks
in any order, words of 30 scripts, right-to-left text with controls, words of up to 200,000 letters, runs of white space,
digits of many scripts, control characters, special tokens whole and in pieces, contractions, random characters, broken
UTF-8, and every character of the planes 0 and 1 and of the assigned part of plane 14 in three surroundings.

Format: for each document its length as a little-endian uint32, then its bytes, which need not be valid UTF-8: a reader
replaces each ill-formed part (Unicode's "maximal subpart") by U+FFFD.

Versions used: Python 3.11.
Usage: python make_corpus.py --output FILE --bytes 50000000 [--seed 0] [--generated 0.4] [--files PATH ...]
"""

import argparse
import bz2
import gzip
import hashlib
import lzma
import random
import struct
import tarfile
from pathlib import Path

CHUNK = 1 << 16
UNPACKERS = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}

WORDS = ("the of and to in is you that it he was for on are as with his they at be this from have or one had by word but not "
         "what all were we when your can said there use an each which she do how their if will up other about out many then "
         "them these so some her would make like him into time has look two more write go see number no way could people my "
         "than first water been call who oil its now find long down day did get come made may part tokenizer acceptance "
         "speculative decoding naive co-operate Straße façade señor Ελλάδα Привет").split()
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'LL", "'D", "'\u017f", "'\u017fe",
                "\u2019s", "\u2019t", "'\ufb06", "'\ufb05", "'st", "'lL", "'rE", "''s", "'", "'\u212a", "'\u0301s", " 's", " 'll"]
SCRIPTS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A), (0x5D0, 0x5EA),
           (0x620, 0x64A), (0x671, 0x6D3), (0x710, 0x72F), (0x780, 0x7B1), (0x904, 0x94D), (0x985, 0x9CD), (0xA05, 0xA4D),
           (0xA85, 0xACD), (0xB05, 0xB4D), (0xB85, 0xBCD), (0xC05, 0xC56), (0xC85, 0xCD6), (0xD05, 0xD4D), (0xD85, 0xDDE),
           (0xE01, 0xE4E), (0xE81, 0xECD), (0xF40, 0xF84), (0x1000, 0x104F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137C),
           (0x13A0, 0x13F5), (0x1780, 0x17D3), (0x1820, 0x1878), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x3041, 0x309F), (0x30A0, 0x30FF),
           (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x20000, 0x2A6DF)]
RIGHT_TO_LEFT = [(0x5D0, 0x5EA), (0x591, 0x5C7), (0x620, 0x64A), (0x64B, 0x65F), (0x671, 0x6D3), (0x710, 0x72F), (0x7CA, 0x7EA),
                 (0xFB1D, 0xFB4F), (0xFB50, 0xFBB1), (0xFE70, 0xFEFC), (0x10900, 0x10915), (0x10D00, 0x10D27), (0x1E900, 0x1E94A)]
MARKS = [(0x300, 0x36F), (0x483, 0x489), (0x591, 0x5BD), (0x610, 0x61A), (0x64B, 0x65F), (0x6D6, 0x6DC), (0x730, 0x74A),
         (0x7EB, 0x7F3), (0x898, 0x89F), (0x8CA, 0x8FF), (0x93C, 0x93C), (0x94D, 0x94D), (0x951, 0x954), (0x9BC, 0x9BE),
         (0xB56, 0xB57), (0xCD5, 0xCD6), (0xE38, 0xE3A), (0xE48, 0xE4B), (0xEB8, 0xEBA), (0xEC8, 0xECB), (0xF18, 0xF19), (0xF71, 0xF84),
         (0x1037, 0x103A), (0x135D, 0x135F), (0x17D2, 0x17DD), (0x1AB0, 0x1ACE), (0x1B34, 0x1B44), (0x1CD0, 0x1CE8), (0x1DC0, 0x1DFF),
         (0x20D0, 0x20F0), (0x302A, 0x302F), (0x3099, 0x309A), (0xA66F, 0xA67D), (0xA8E0, 0xA8F1), (0xFE20, 0xFE2F), (0x101FD, 0x101FD),
         (0x10A38, 0x10A3F), (0x10D24, 0x10D27), (0x10EAB, 0x10EAC), (0x10EFD, 0x10EFF), (0x10F46, 0x10F50), (0x110B9, 0x110BA),
         (0x11127, 0x11134), (0x1145E, 0x1145E), (0x114BA, 0x114C3), (0x11930, 0x11943), (0x1D165, 0x1D172), (0x1D17B, 0x1D18B),
         (0x1E000, 0x1E02A), (0x1E130, 0x1E136), (0x1E2AE, 0x1E2AE), (0x1E2EC, 0x1E2EF), (0x1E4EC, 0x1E4EF), (0x1E8D0, 0x1E8D6),
         (0x1E944, 0x1E94A)]
COMPOSED = [(0xC0, 0x17F), (0x1CD, 0x233), (0x385, 0x3CE), (0x400, 0x45E), (0x622, 0x626), (0x958, 0x95F), (0x9DC, 0x9DF), (0xCC0, 0xCCB),
            (0xF43, 0xF69), (0x1E00, 0x1EFF), (0x1F00, 0x1FFD), (0x2126, 0x212B), (0x226E, 0x2289), (0x2ADC, 0x2ADC), (0x304C, 0x3094),
            (0xAC00, 0xAC40), (0x1100, 0x1112), (0x1161, 0x1175), (0x11A7, 0x11C2), (0xF900, 0xFAD9), (0xFB1D, 0xFB4E), (0x1109A, 0x110AB),
            (0x1112E, 0x1112F), (0x1134B, 0x1134C), (0x114BB, 0x114BE), (0x115BA, 0x115BB), (0x11938, 0x11938), (0x105C9, 0x105E4),
            (0x11383, 0x11391), (0x16121, 0x16128), (0x16D68, 0x16D6A), (0x1D15E, 0x1D164), (0x2F800, 0x2FA1D)]
DIGITS = [(0x30, 0x39), (0x30, 0x39), (0xB2, 0xB3), (0xBC, 0xBE), (0x660, 0x669), (0x6F0, 0x6F9), (0x7C0, 0x7C9), (0x966, 0x96F), (0x9E6, 0x9EF),
          (0xE50, 0xE59), (0x1040, 0x1049), (0x2070, 0x2079), (0x2150, 0x218B), (0x2460, 0x249B), (0x3007, 0x3007), (0x3021, 0x3029),
          (0x3220, 0x3229), (0xA620, 0xA629), (0xFF10, 0xFF19), (0x10107, 0x10133), (0x11066, 0x1106F), (0x11F50, 0x11F59),
          (0x1D7CE, 0x1D7FF), (0x1E4F0, 0x1E4F9), (0x1F100, 0x1F10C), (0x1FBF0, 0x1FBF9), (0x16D70, 0x16D79), (0x1CCF0, 0x1CCF9)]
SPACES = [" "] * 12 + ["\n"] * 5 + ["\t"] * 3 + ["\r\n"] * 3 + ["\r", "\u000b", "\u000c", "\u001c", "\u001f", "\u0085", "\u00a0", "\u1680", "\u180e",
          "\u2000", "\u2003", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff"]
EMOJI = [(0x1F600, 0x1F64F), (0x1F300, 0x1F5FF), (0x1F680, 0x1F6FC), (0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF), (0x2600, 0x27BF)]
BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_pad|>", "<|fim_prefix|>", "<|repo_name|>",
          "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>", "<repo_name>", "<reponame>",
          "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<jupyter_code>", "<empty_output>"]
BROKEN = [b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xe0\x80\x80", b"\xe4\xbd", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x9f",
          b"\xf0\x9f\x91", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\xe4\xbd\xe4\xbd\xa0", b"\xf0\x9f\xf0"]


def character(chooser, ranges):
    low, high = chooser.choice(ranges)
    return chr(chooser.randint(low, high))


def word(chooser, ranges, longest=10):
    """Letters of one range, as words of one script are."""
    low, high = chooser.choice(ranges)
    return "".join(chr(chooser.randint(low, high)) for _ in range(chooser.randint(1, longest)))


def english(chooser):
    parts = []
    for _ in range(chooser.randint(5, 120)):
        parts.append(chooser.choice(WORDS))
        if chooser.random() < 0.15:
            parts[-1] += chooser.choice(CONTRACTIONS)
        if chooser.random() < 0.1:
            parts[-1] = chooser.choice([parts[-1].upper(), parts[-1].title(), f"({parts[-1]})", f'"{parts[-1]},"', parts[-1] + "..."])
    return " ".join(parts) + chooser.choice(["", ".", "?!", "\n", ".\n\n"])


def scripts(chooser):
    separators = [" ", " ", " ", "", ", ", "\u3001", "\u3002", "-", "\n"]
    return "".join(word(chooser, SCRIPTS) + chooser.choice(separators) for _ in range(chooser.randint(5, 80)))


def right_to_left(chooser):
    parts = []
    for _ in range(chooser.randint(5, 60)):
        parts.append(word(chooser, RIGHT_TO_LEFT) if chooser.random() < 0.8 else chooser.choice(WORDS + ["123", "4.5", "(", ")"]))
        parts.append(chooser.choice([" ", " ", " ", chooser.choice(BIDI), "\u060c ", "\u061f ", "\u05be", "\u0640", "\u200c", "\u200d"]))
    return "".join(parts)


def emoji(chooser):
    people, hair = "\U0001f468\U0001f469\U0001f9d1\U0001f466\U0001f467", "\U0001f9b0\U0001f4bb\u2695\ufe0f\U0001f692\u2764\ufe0f"

    def one():
        kind = chooser.randrange(8)
        if kind == 0:
            return "\u200d".join(chooser.choice(people) + chooser.choice(["", chr(chooser.randint(0x1F3FB, 0x1F3FF))])
                                 for _ in range(chooser.randint(2, 4)))
        if kind == 1:
            return character(chooser, EMOJI) + chr(chooser.randint(0x1F3FB, 0x1F3FF)) + chooser.choice(["", "\u200d" + chooser.choice(hair)])
        if kind == 2:
            return "".join(chr(chooser.randint(0x1F1E6, 0x1F1FF)) for _ in range(chooser.randint(1, 5)))
        if kind == 3:
            return chooser.choice("0123456789#*") + "\ufe0f\u20e3"
        if kind == 4:
            return "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in chooser.choice(["gbeng", "gbsct", "usca"])) + "\U000e007f"
        return character(chooser, EMOJI) + chooser.choice(["", "", "\ufe0f", "\ufe0e", "\u200d"])

    return "".join(one() + chooser.choice(["", "", " ", "\n", chooser.choice(WORDS)]) for _ in range(chooser.randint(3, 60)))


def marks(chooser):
    parts = []
    for _ in range(chooser.randint(4, 60)):
        parts.append(character(chooser, chooser.choice([SCRIPTS, COMPOSED, COMPOSED])) if chooser.random() < 0.9 else "")
        parts += [character(chooser, MARKS if chooser.random() < 0.9 else COMPOSED) for _ in range(chooser.choice([0, 1, 1, 2, 2, 3, 5]))]
        parts.append(chooser.choice(["", "", " ", ">", "=", "<", "\u034f"]))
    return "".join(parts)


def jamo(chooser):
    ranges = [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A7, 0x11C3), (0xAC00, 0xAC60), (0x3131, 0x318E), (0x115F, 0x1160), (0xA960, 0xA97C)]
    return "".join(character(chooser, ranges) for _ in range(chooser.randint(5, 60)))


def long_word(chooser):
    length = int(10 ** chooser.uniform(2, 4.3))
    kind = chooser.randrange(6)
    if kind == 0:
        return chooser.choice("aA0-_=.\u4e00\u0301\u200d") * length
    if kind == 1:
        return "".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=length))
    if kind == 2:
        return "".join(chooser.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=length))
    if kind == 3:
        return "".join(chr(chooser.randint(0x4E00, 0x9FA5)) for _ in range(length // 3))
    if kind == 4:
        return "".join(chooser.choices(WORDS, k=length // 5))
    return "".join(chooser.choices("0123456789", k=length))


def white_space(chooser):
    parts = []
    for _ in range(chooser.randint(3, 50)):
        parts.append(chooser.choice(WORDS + ["{", "}", "//", "1", "\u4f60", "."]) if chooser.random() < 0.8 else "")
        kind = chooser.randrange(4)
        parts.append(chooser.choice(SPACES) * int(10 ** chooser.uniform(0, 2)) if kind else
                     "".join(chooser.choices(SPACES, k=chooser.randint(1, 12))))
    return "".join(parts)


def digits(chooser):
    return "".join(word(chooser, DIGITS, 8) + chooser.choice(["", " ", ".", ",", "e-", "x", "\u00d7", ":", "\n", "%"]) for _ in range(chooser.randint(4, 50)))


def controls(chooser):
    ranges = [(0, 0x1F), (0x7F, 0x9F), (0, 0x1F), (0x61, 0x7A), (0xFFF9, 0xFFFF), (0xE000, 0xE010), (0xFDD0, 0xFDEF), (0x10FFFE, 0x10FFFF), (0xAD, 0xAD)]
    return "".join(character(chooser, ranges) for _ in range(chooser.randint(3, 80)))


def special_tokens(chooser):
    parts = []
    for _ in range(chooser.randint(2, 30)):
        token = chooser.choice(TOKENS)
        cut = chooser.randrange(len(token))
        parts.append(chooser.choice([token, token, token[:cut], token[cut:], token.upper(), token * 2, "<" + token, token + "\u0338"]))
        parts.append(chooser.choice(["", "", " ", "  ", "\n", chooser.choice(WORDS), "\u0301", "user\n"]))
    return "".join(parts)


def any_character(chooser):
    def one():
        code = chooser.choice([chooser.randrange(0x3000), chooser.randrange(0x10000), chooser.randrange(0x20000), chooser.randrange(0x110000)])
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)

    return "".join(one() + chooser.choice(["", "", " ", "a"]) for _ in range(chooser.randint(5, 120)))


def code(chooser):
    lines = []
    for _ in range(chooser.randint(3, 30)):
        name = "_".join(chooser.choices(WORDS[:80], k=chooser.randint(1, 3)))
        indent = chooser.choice(["    ", "\t", "  "]) * chooser.randint(0, 5)
        lines.append(indent + chooser.choice([f"if ({name} != 0x{chooser.randrange(1 << 32):x}) {{", f"return {name}[{chooser.randrange(99)}];  // {chooser.choice(WORDS)}",
                                              f'let {name}: [String: Int?] = ["{name}": nil]', f"def {name}(self, *args, **kwargs):", "}", "", f"#define {name.upper()} \\",
                                              f"printf(\"%d\\n\", {name}->{name}++);", f"<div class='{name}'>&nbsp;</div>", f"$${name} \\in \\mathbb{{R}}^{{n}}$$"]))
    return chooser.choice(["\n", "\n", "\r\n"]).join(lines) + "\n"


def broken(chooser):
    """Valid text with ill-formed bytes between characters and, by cutting, inside them."""
    source = bytearray(chooser.choice([english, scripts, emoji, right_to_left])(chooser).encode())
    for _ in range(chooser.randint(1, 12)):
        place = chooser.randrange(len(source) + 1)
        kind = chooser.randrange(3)
        if kind == 0:
            source[place:place] = chooser.choice(BROKEN)
        elif kind == 1:
            del source[place:place + 1]
        else:
            source[place:place + 1] = bytes([chooser.randrange(256)])
    return bytes(source)


KINDS = [english, scripts, right_to_left, emoji, marks, jamo, long_word, white_space, digits, controls, special_tokens, any_character, code, broken]


def every_character():
    """Documents with each character up to U+1FFFF, the tags of plane 14 and a sample of the rest, in three surroundings."""
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000
             and (code < 0x20000 or 0xE0000 <= code < 0xE1000 or code % 64 in (0, 63))]
    for start in range(0, len(codes), 64):
        yield "".join(f"x{chr(code)} {chr(code)}x e{chr(code)}\u0301\u0316'{chr(code)}1\n" for code in codes[start:start + 64]).encode()


def generated_documents(seed, size):
    """Documents of every kind in turn until `size` bytes are reached; first the fixed ones."""
    chooser = random.Random(seed)
    total = 0
    fixed = [b"", b"a" * 200_000, b" " * 200_000, "\u4e00".encode() * 60_000, b"ab" * 50_000 + b" ", b"\n" * 100_000, b"0" * 50_000]
    for document in fixed + list(every_character()):
        if total + len(document) <= size:
            total += len(document)
            yield document
    turn = 0
    while total < size:
        made = KINDS[turn % len(KINDS)](chooser)
        turn += 1
        document = (made if isinstance(made, bytes) else made.encode())[:size - total]
        total += len(document)
        yield document


def contents(path):
    """The unpacked contents of one path of the command line, in order of their names."""
    if path.is_dir():
        for child in sorted(child for child in path.rglob("*") if child.is_file() and not child.is_symlink()):
            yield from contents(child)
    elif ".tar" in path.suffixes or path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            for member in sorted((member for member in archive if member.isfile()), key=lambda member: member.name):
                yield archive.extractfile(member).read()
    else:
        yield UNPACKERS.get(path.suffix, bytes)(path.read_bytes())


def pieces(path):
    """The documents of one path: its files in pieces, without the binary ones."""
    for content in contents(path):
        if b"\0" not in content:
            yield from (content[start:start + CHUNK] for start in range(0, len(content), CHUNK))


def file_documents(paths, size):
    """Documents of the paths, which take turns, until `size` bytes are reached or all are used."""
    sources, total = [pieces(path) for path in paths], 0
    while sources:
        for source in list(sources):
            document = next(source, None)
            if document is None:
                sources.remove(source)
            elif total < size:
                total += len(document)
                yield document
            else:
                return


def read_corpus(path):
    """The documents of a corpus file as bytes."""
    content, position = path.read_bytes(), 0
    while position < len(content):
        (length,) = struct.unpack_from("<I", content, position)
        yield content[position + 4:position + 4 + length]
        position += 4 + length


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--bytes", type=int, default=50_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generated", type=float, default=0.4)
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()

    documents = list(file_documents(arguments.files, int(arguments.bytes * (1 - arguments.generated))))
    from_files = sum(map(len, documents))
    documents += generated_documents(arguments.seed, arguments.bytes - from_files)
    random.Random(arguments.seed).shuffle(documents)
    digest = hashlib.sha256()
    with arguments.output.open("wb") as output:
        for document in documents:
            record = struct.pack("<I", len(document)) + document
            digest.update(record)
            output.write(record)
    total = sum(map(len, documents))
    print(f"{len(documents)} documents, {total} bytes, {from_files} of them from files; SHA-256 {digest.hexdigest()}")


if __name__ == "__main__":
    main()
