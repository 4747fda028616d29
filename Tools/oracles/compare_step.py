"""Compares a training step of EagleTrain with draft_step.py's.

What it proves: equal loss, metrics and gradients for the same weights and the same batch.
Both folders hold step.json ("loss", "loss_per_step", "accuracy", "acceptance", "rows") and gradients.safetensors.
Exits 1 if a row count differs, a loss differs by more than --loss-tolerance (relative) or a gradient by more than
--gradient-tolerance (norm of the difference / norm of the reference).

Versions used: torch 2.15, safetensors 0.8.
Usage: python compare_step.py --reference DIR --candidate DIR [--loss-tolerance 1e-5] [--gradient-tolerance 1e-4]
"""

import argparse
import json
import sys
from pathlib import Path

from safetensors.torch import load_file


def relative(candidate, reference):
    return abs(candidate - reference) / max(abs(reference), 1e-30)


def compare_losses(candidate, reference, tolerance):
    pairs = [("loss", candidate["loss"], reference["loss"])]
    steps = zip(candidate["loss_per_step"], reference["loss_per_step"], strict=True)
    pairs += [(f"loss_per_step[{k}]", ours, theirs) for k, (ours, theirs) in enumerate(steps)]
    failures = []
    for name, ours, theirs in pairs:
        error = 0.0 if ours == theirs else relative(ours, theirs)
        print(f"{name:<20} {ours:.9g} {theirs:.9g} relative error {error:.2e}")
        if not error <= tolerance:
            failures.append(name)
    return failures


def compare_metrics(candidate, reference):
    """Row counts must be equal; accuracy and acceptance are printed (a near tie may flip one row)."""
    for name in ("accuracy", "acceptance"):
        largest = max(abs(a - b) for a, b in zip(candidate[name], reference[name], strict=True))
        print(f"{name:<20} largest difference {largest:.2e}")
    same = candidate["rows"] == reference["rows"]
    print(f"{'rows':<20} {candidate['rows']} {'equal' if same else reference['rows']}")
    return [] if same else ["rows"]


def compare_gradients(candidate, reference, tolerance):
    failures = [f"missing {name}" for name in sorted(reference.keys() - candidate.keys())]
    failures += [f"unexpected {name}" for name in sorted(candidate.keys() - reference.keys())]
    for name in sorted(reference.keys() & candidate.keys()):
        ours, theirs = candidate[name].double(), reference[name].double()
        if ours.shape != theirs.shape:
            failures.append(f"shape of {name}: {list(ours.shape)}, expected {list(theirs.shape)}")
            continue
        error = ((ours - theirs).norm() / theirs.norm().clamp(min=1e-30)).item()
        print(f"{name:<50} norm {theirs.norm():.6g} relative error {error:.2e}")
        if not error <= tolerance:
            failures.append(name)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="output of draft_step.py")
    parser.add_argument("--candidate", type=Path, required=True, help="EagleTrain's dump")
    parser.add_argument("--loss-tolerance", type=float, default=1e-5)
    parser.add_argument("--gradient-tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()

    def step(folder):
        return json.loads((folder / "step.json").read_text())

    def gradients(folder):
        return load_file(str(folder / "gradients.safetensors"))

    candidate, reference = step(arguments.candidate), step(arguments.reference)
    failures = compare_losses(candidate, reference, arguments.loss_tolerance)
    failures += compare_metrics(candidate, reference)
    failures += compare_gradients(gradients(arguments.candidate), gradients(arguments.reference),
                                  arguments.gradient_tolerance)
    print("FAILED: " + ", ".join(failures) if failures else "agrees")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
