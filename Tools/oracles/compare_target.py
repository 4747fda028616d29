"""Compares captured states, and optionally greedy tokens, of EagleTrain with target_reference.py's.

What it proves: the target forward pass is right (float32 dump: about 1e-5) and the capture store holds the right
rows (bfloat16: 2^-9 per element, so about 2e-3 by norm).

Candidate: a capture store (conversations are matched to prompts by a common prefix of token ids; attention is causal,
so states of the common prefix must agree) or a float32 safetensors dump with prompt{i}.ids, prompt{i}.aux [T, 3H] and
prompt{i}.last [T, H]. Errors are the norm of the difference / norm of the reference, over all rows and the largest
of a single row, for low, mid, high and last. Exits 1 above --tolerance (by rows: ten times that) or if nothing matched.
With --tokens and --reference-tokens (JSON of target_reference.py) greedy tokens are compared too; the first
difference is printed with the reference's margin there.

Versions used: torch 2.15, safetensors 0.8, h5py 3.16.
Usage: python compare_target.py --reference REF.safetensors (--store DIR | --dump FILE.safetensors)
           [--tolerance 4e-3] [--reference-tokens REF.json --tokens OURS.json]
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from capture_store import read_conversations

PARTS = ("low", "mid", "high", "last")


def dump_records(path):
    """(ids, aux, last) of each prompt."""
    tensors, records = load_file(path), []
    while f"prompt{len(records)}.ids" in tensors:
        records.append([tensors[f"prompt{len(records)}.{part}"] for part in ("ids", "aux", "last")])
    return records


def store_records(path):
    return [[torch.as_tensor(x) for x in (c.ids, c.aux, c.last)] for c in read_conversations(path)]


def common_rows(ours, theirs):
    """Length of the shorter if one is a prefix of the other, else 0."""
    rows = min(len(ours), len(theirs))
    return rows if torch.equal(ours[:rows].long(), theirs[:rows].long()) else 0


def split(aux, last, rows):
    return dict(zip(PARTS, [*aux[:rows].double().chunk(3, -1), last[:rows].double()]))


def errors(ours, theirs):
    difference = (ours - theirs).norm(dim=-1)
    return (difference.norm() / theirs.norm()).item(), (difference / theirs.norm(dim=-1)).max().item()


def compare_states(candidates, references, tolerance):
    worst, matched, compared_rows = {part: (0.0, 0.0) for part in PARTS}, 0, 0
    for ids, aux, last in references:
        match = max(candidates, key=lambda candidate: common_rows(candidate[0], ids), default=None)
        rows = common_rows(match[0], ids) if match else 0
        if rows == 0:
            continue
        matched, compared_rows = matched + 1, compared_rows + rows
        ours, theirs = split(match[1], match[2], rows), split(aux, last, rows)
        for part in PARTS:
            worst[part] = tuple(map(max, worst[part], errors(ours[part], theirs[part])))
    print(f"{matched} of {len(references)} prompts matched, {compared_rows} rows")
    for part, (whole, row) in worst.items():
        print(f"{part:<5} largest relative error of a prompt {whole:.3e}, of a row {row:.3e}")
    bad = [part for part, (whole, row) in worst.items() if not (whole <= tolerance and row <= 10 * tolerance)]
    return bad if matched else ["no prompt matched"]


def compare_tokens(candidate_path, reference_path):
    ours, theirs = (json.loads(Path(path).read_text(encoding="utf-8"))["prompts"]
                    for path in (candidate_path, reference_path))
    by_ids = {tuple(prompt["ids"]): prompt["greedy"] for prompt in ours}
    failures = []
    for number, prompt in enumerate(theirs):
        tokens = by_ids.get(tuple(prompt["ids"]))
        if tokens == prompt["greedy"]:
            continue
        failures.append(f"greedy tokens of prompt {number}")
        if tokens is None:
            print(f"prompt {number}: not in {candidate_path}")
            continue
        pairs = zip(tokens, prompt["greedy"])
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(tokens), len(prompt["greedy"])))
        margin = prompt["margins"][place] if place < len(prompt["margins"]) else None
        print(f"prompt {number}: first difference at token {place}, reference margin {margin}")
    print(f"{len(theirs) - len(failures)} of {len(theirs)} prompts have equal greedy tokens")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="states of target_reference.py")
    candidate = parser.add_mutually_exclusive_group()
    candidate.add_argument("--store", type=Path)
    candidate.add_argument("--dump", type=Path)
    parser.add_argument("--tolerance", type=float, default=4e-3)
    parser.add_argument("--reference-tokens", type=Path)
    parser.add_argument("--tokens", type=Path)
    arguments = parser.parse_args()

    failures, compared = [], False
    if arguments.reference and (arguments.store or arguments.dump):
        compared = True
        candidates = dump_records(arguments.dump) if arguments.dump else store_records(arguments.store)
        failures += compare_states(candidates, dump_records(arguments.reference), arguments.tolerance)
    if arguments.tokens and arguments.reference_tokens:
        compared = True
        failures += compare_tokens(arguments.tokens, arguments.reference_tokens)
    if not compared:
        parser.error("nothing to compare")
    print("FAILED: " + ", ".join(failures) if failures else "agrees")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
