"""Reads a run's events with TensorBoard's own reader and compares every scalar with metrics.jsonl and evaluation.json.

    pip install -r Tools/report/requirements.txt
    python Tools/report/read_events.py checkpoints/quickstart

Ends with status 1 when a number, a step or a tag differs. Events hold float32, so numbers are compared in float32.
"""

import json
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing import event_accumulator


def numbered(tag, values):
    return {f"{tag}/{position + 1}": value for position, value in enumerate(values)}


def expected_of_steps(path):
    """{tag: {step: value}} of metrics.jsonl."""
    curves = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "skipped" in entry:
            continue
        values = {tag: entry[tag] for tag in ("loss", "lr", "grad_norm", "tokens_per_second", "simulated_acceptance_length")}
        for tag in ("accuracy", "acceptance", "loss_by_position"):
            values |= numbered(tag, entry.get(tag, []))
        for tag, value in values.items():
            curves.setdefault(tag, {})[entry["step"]] = value
    return curves


def expected_of_evaluations(path):
    """{tag: {step: value}} of evaluation.json."""
    curves = {}
    for record in json.loads(path.read_text()):
        values = {f"acc_length/{name}": result["acc_length"] for name, result in record["benchmarks"].items()}
        if values:
            values["mean_acc_length"] = record["mean_acc_length"]
        if held_out := record.get("held_out"):
            values["held_out/loss"] = held_out["loss"]
            values["held_out/simulated_acceptance_length"] = held_out["simulated_acceptance_length"]
            values |= numbered("held_out/accuracy", held_out["accuracy"])
        for tag, value in values.items():
            curves.setdefault(tag, {})[record["step"]] = value
    return curves


def main(run):
    reader = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    expected = expected_of_steps(run / "metrics.jsonl") | expected_of_evaluations(run / "evaluation.json")
    faults = sorted(set(expected) ^ set(reader.Tags()["scalars"]))
    count = 0
    for tag in sorted(set(expected) - set(faults)):
        events = reader.Scalars(tag)
        steps = [event.step for event in events]
        if steps != sorted(expected[tag]):
            faults.append(f"{tag}: {len(steps)} steps in the events, {len(expected[tag])} in the file")
            continue
        for event in events:
            count += 1
            if np.float32(expected[tag][event.step]) != np.float32(event.value):
                faults.append(f"{tag}, step {event.step}: {event.value} is not {expected[tag][event.step]}")
    print(f"{len(expected)} tags, {count} numbers, {len(faults)} differ")
    for fault in faults[:20]:
        print(" ", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
