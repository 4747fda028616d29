"""Compares a head that eagle-train exported as GGUF with the file that llama.cpp's converter makes of the same export.

    python convert_hf_to_gguf.py EXPORT --target-model-dir TARGET --outfile theirs.gguf --outtype bf16
    python compare_head_gguf.py --ours head.gguf --theirs theirs.gguf

Keys and tensors must be the same, with equal values; `--quantised` allows blocks to differ by that share of the largest
value of their tensor. Keys that only describe a file's origin are listed and not judged. Needs `gguf` and NumPy.
"""

import argparse
import sys

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

# Strings about the origin of a model, and fields that readers do not need.
DESCRIPTIVE = ("general.", "GGUF.")
OPTIONAL = {
    "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_bos_token",
}


def value(field):
    return field.contents()


def short(content):
    text = repr(content)
    return text if len(text) <= 60 else text[:57] + "..."


def compare_keys(ours, theirs):
    wrong = 0
    for key in sorted(set(ours.fields) | set(theirs.fields)):
        a, b = (value(side.fields[key]) if key in side.fields else None for side in (ours, theirs))
        if a == b:
            if ours.fields[key].types != theirs.fields[key].types:
                print(f"{key}: types {ours.fields[key].types} and {theirs.fields[key].types}")
                wrong += 1
            continue
        judged = not key.startswith(DESCRIPTIVE) and not (key in OPTIONAL and (a is None or b is None))
        print(f"{key}: ours {short(a)}, theirs {short(b)}{'' if judged else ' (not judged)'}")
        wrong += judged
    return wrong


def compare_tensors(ours, theirs, tolerance):
    a, b = ({tensor.name: tensor for tensor in side.tensors} for side in (ours, theirs))
    wrong = len(set(a) ^ set(b))
    for name in sorted(set(a) ^ set(b)):
        print(f"{name}: only in {'ours' if name in a else 'theirs'}")
    for name in sorted(set(a) & set(b)):
        x, y = a[name], b[name]
        if x.tensor_type != y.tensor_type or list(x.shape) != list(y.shape):
            print(f"{name}: {x.tensor_type.name} {list(x.shape)} and {y.tensor_type.name} {list(y.shape)}")
            wrong += 1
            continue
        if numpy.array_equal(x.data, y.data):
            continue
        u, v = (numpy.asarray(dequantize(t.data, t.tensor_type), dtype=numpy.float64) for t in (x, y))
        difference = numpy.abs(u - v).max() / max(numpy.abs(v).max(), 1e-30)
        bytes_share = (x.data != y.data).mean()
        print(f"{name}: {bytes_share:.2e} of the bytes differ, the values by at most {difference:.2e} of the largest")
        wrong += difference > tolerance
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--theirs", required=True)
    parser.add_argument("--quantised", type=float, default=0.0, metavar="SHARE")
    arguments = parser.parse_args()
    ours, theirs = GGUFReader(arguments.ours), GGUFReader(arguments.theirs)
    wrong = compare_keys(ours, theirs) + compare_tensors(ours, theirs, arguments.quantised)
    print(f"{len(ours.fields)} and {len(theirs.fields)} keys, {len(ours.tensors)} and {len(theirs.tensors)} tensors: "
          f"{wrong} differences that count")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
