"""Characters that Oniguruma counts to a Unicode property and PCRE2 does not, as the Swift source writes them.

What it proves: which characters Sources/EagleText/Pattern/UnicodeAdditions.swift has to add so that `\\p{...}` in a
tokenizer's pattern cuts as it does in Hugging Face's tokenizers, and that PCRE2 has none that Oniguruma has not.

Every character is put through a Split with the property (tokenizers) and through libpcre2-8 (ctypes). A row says how many
characters of PCRE2 would have to be taken away: those properties cannot be written as a class and are refused.
The Punctuation and Digits pre-tokenizers have tables of their own, which are printed as PUNCTUATION (all of it: it is of
an older Unicode version) and DIGITS.

Versions used: tokenizers 0.23.3, PCRE2 10.42, Python 3.11.
Usage: python unicode_additions.py [PROPERTY ...]
"""

import argparse
import ctypes

from tokenizers import Regex
from tokenizers.pre_tokenizers import Digits, Punctuation, Split

SCRIPTS = "Han Hiragana Katakana Hangul Latin Cyrillic Greek Arabic Hebrew Thai".split()
PROPERTIES = ("L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp Cc Cf Co").split()
CHARACTERS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
TEXT = "".join(map(chr, CHARACTERS))


def pieces(pre_tokenizer):
    return {ord(character) for piece, _ in pre_tokenizer.pre_tokenize_str(TEXT) for character in piece}


def by_oniguruma(pattern):
    return pieces(Split(Regex(pattern), "removed", invert=True))


def by_function(pre_tokenizer):
    """Characters that stand alone: pre-tokenizers that isolate what a function of theirs holds of."""
    held = set()
    for block in range(0, len(TEXT), 4096):
        # Letters around each character, so that only an isolated one is split off.
        text = "".join("a" + character + "a" for character in TEXT[block:block + 4096])
        held |= {ord(piece) for piece, _ in pre_tokenizer.pre_tokenize_str(text) if len(piece) == 1 and piece != "a"}
    return held


def by_pcre2(pattern):
    library = ctypes.CDLL("libpcre2-8.so.0")
    library.pcre2_compile_8.restype = ctypes.c_void_p
    library.pcre2_match_data_create_8.restype = ctypes.c_void_p
    library.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(ctypes.c_size_t)
    status, place = ctypes.c_int(), ctypes.c_size_t()
    utf, ucp = 0x00080000, 0x00020000
    source = pattern.encode()
    code = library.pcre2_compile_8(source, ctypes.c_size_t(len(source)), ctypes.c_uint32(utf | ucp),
                                   ctypes.byref(status), ctypes.byref(place), None)
    assert code, f"{pattern}: {status.value} at {place.value}"
    data = ctypes.c_void_p(library.pcre2_match_data_create_8(1, None))
    found = set()
    for number in CHARACTERS:
        text = chr(number).encode()
        if library.pcre2_match_8(ctypes.c_void_p(code), text, ctypes.c_size_t(len(text)), ctypes.c_size_t(0),
                                 ctypes.c_uint32(0), data, None) > 0:
            found.add(number)
    return found


def ranges(codes):
    codes, found = sorted(codes), []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return ", ".join(f"0x{low:X}...0x{high:X}" for low, high in found)


def report(name, theirs, ours):
    print(f"{name}: {len(theirs)} characters, to add: [{ranges(theirs - ours)}]; too many: [{ranges(ours - theirs)}]")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("properties", nargs="*", default=[*PROPERTIES, *SCRIPTS, "PUNCTUATION", "DIGITS"])
    for name in parser.parse_args().properties:
        if name == "PUNCTUATION":
            report(name, by_function(Punctuation("isolated")), set())
        elif name == "DIGITS":
            report(name, by_function(Digits(individual_digits=True)), by_pcre2(r"\p{N}"))
        else:
            # PCRE2 uses script extensions unless specified otherwise.
            report(name, by_oniguruma(rf"\p{{{name}}}"), by_pcre2(rf"\p{{{'sc:' * (name in SCRIPTS)}{name}}}"))


if __name__ == "__main__":
    main()
