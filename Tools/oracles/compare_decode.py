"""Compares EagleTrain's speculative decoding with openvino_decode.py's: token ids and acceptance lengths.

What it proves: that the same head gives the same greedy text and the same number of target passes in another engine.

Runs `eagle-run generate --json` on each prompt of the reference, with its draft length and token limit. The program
prints its new ids and the length of its prompt; that its rendered ids are the template's is tokenizer_reference.py's
matter. Target passes follow from acc_length = (new tokens - 1) / target passes.
A near tie of logits may go another way in another engine: differing tokens are printed with the reference's margin
there. A draft that chooses differently at a tie changes a pass count but never the text.

Prints one JSON line. Exits 1 if a text or a prompt's length differs, or if the acceptance lengths over all prompts
differ by more than --tolerance (relative).

Standard library only.
Usage: python compare_decode.py --reference FILE.json --program PATH --target DIR --draft DIR [--tolerance 0.01]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def run(arguments, reference, message):
    command = [arguments.program, "generate", "--target", arguments.target, "--draft", arguments.draft,
               "--max-tokens", reference["max_tokens"], "--draft-length", reference["draft_length"],
               "--prompt", message, "--precision", "fp32", "--json"]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def target_passes(answer):
    """The program reports the quotient; the number of passes is a whole number."""
    return round((answer["new_tokens"] - 1) / answer["acc_length"])


def first_difference(ours, theirs):
    pairs = enumerate(zip(ours, theirs))
    return next((place for place, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


def compare(answer, prompt):
    """Figures of one prompt."""
    same = answer["tokens"] == prompt["greedy"]
    figures = {"name": prompt["name"], "same_tokens": same,
               "same_prompt_length": answer["prompt_tokens"] == len(prompt["ids"]),
               "decoded_tokens": answer["new_tokens"] - 1, "target_passes": target_passes(answer),
               "reference_passes": prompt["target_passes"]}
    if not same:
        place = first_difference(answer["tokens"], prompt["greedy"])
        margins = prompt.get("margins", [])
        figures |= {"first_difference": place, "margin": margins[place] if place < len(margins) else None}
    return figures


def acceptance_length(figures):
    return sum(f["decoded_tokens"] for f in figures) / max(1, sum(f["target_passes"] for f in figures))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="output of openvino_decode.py")
    parser.add_argument("--program", type=Path, required=True, help="eagle-run")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--draft", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=0.01, help="of the acceptance length")
    arguments = parser.parse_args()

    reference = json.loads(arguments.reference.read_text(encoding="utf-8"))
    figures = [compare(run(arguments, reference, prompt["message"]), prompt) for prompt in reference["prompts"]]
    ours, theirs = acceptance_length(figures), reference["acc_length"]
    same = all(f["same_tokens"] and f["same_prompt_length"] for f in figures)
    agrees = same and abs(ours - theirs) <= arguments.tolerance * theirs
    print(json.dumps({
        "prompts": len(figures), "same_tokens": sum(f["same_tokens"] for f in figures),
        "same_prompt_length": sum(f["same_prompt_length"] for f in figures),
        "same_passes": sum(f["target_passes"] == f["reference_passes"] for f in figures),
        "acc_length": ours, "reference_acc_length": theirs, "agrees": agrees,
        "different": [f for f in figures if not f["same_tokens"] or f["target_passes"] != f["reference_passes"]]}))
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
