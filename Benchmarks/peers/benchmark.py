"""What the two peer programs share: the targets' shapes, the flags, the timing and the report.

V vocabulary, D draft vocabulary, T tokens of one conversation, C conversations.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """Sizes of a target model."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    draft_vocabulary: int  # the default D
    eps: float
    config: dict  # config.json

    @property
    def captured_layers(self):
        """0-based layers whose outputs a capture keeps: low, mid, high."""
        return [1, self.layers // 2 - 1, self.layers - 4]


def read_shapes():
    """The shapes of eagle-train bench, from the file that it reads them from."""
    path = Path(__file__).resolve().parents[2] / "Sources/EaglePlan/Benchmark/shapes.json"
    return {name: shape(entry["config"], entry["draft_vocab_size"])
            for name, entry in json.loads(path.read_text()).items()}


def shape(config, draft_vocabulary):
    return Shape(hidden=config["hidden_size"], layers=config["num_hidden_layers"], heads=config["num_attention_heads"],
                 kv_heads=config["num_key_value_heads"], head_dim=config["head_dim"], mlp=config["intermediate_size"],
                 vocabulary=config["vocab_size"], draft_vocabulary=draft_vocabulary, eps=config["rms_norm_eps"],
                 config=config)


SHAPES = read_shapes()


# ---------------------------------------------------------------- flags

def positive(text):
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive integer")
    return value


def share(text):
    """A number above 0 and up to 1, for argparse."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def make_parser(description):
    """A parser with the flags that both programs have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    parser.add_argument("--tokens", type=positive, default=512, help="tokens of one conversation; default 512")
    parser.add_argument("--conversations", type=positive, help="one after another; default max(1, 2048 // tokens)")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--threads", type=positive, help="default OMP_NUM_THREADS, else all cores")
    parser.add_argument("--repeat", type=positive, default=3, help="timed runs after one warm-up run; default 3")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def parse(parser):
    """The arguments with their defaults filled in; sets torch's number of threads."""
    arguments = parser.parse_args()
    arguments.conversations = arguments.conversations or max(1, 2048 // arguments.tokens)
    arguments.threads = arguments.threads or int(os.environ.get("OMP_NUM_THREADS") or available_cores())
    torch.set_num_threads(arguments.threads)
    return arguments


def available_cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


# ---------------------------------------------------------------- timing and report

def median_seconds(run, repeat):
    """Median wall-clock seconds of `repeat` calls of run, after one call that warms up."""
    run()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_rss():
    """The largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def report(program, packages, arguments, seconds, **details):
    """Print the result as one JSON object or one readable line."""
    result = {
        "program": program,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "shape": arguments.shape,
        "tokens": arguments.tokens,
        "conversations": arguments.conversations,
        "threads": arguments.threads,
        "precision": arguments.precision,
        "repeat": arguments.repeat,
        **details,
        "seconds": seconds,
        "tokens_per_second": arguments.conversations * arguments.tokens / seconds,
        "peak_rss": peak_rss(),
    }
    print(json.dumps(result) if arguments.json else readable(result))


def readable(result):
    """The result in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return (f"{result['program']} {result['shape']} {result['precision']}: {result['seconds']:.3f} s, "
            f"{result['tokens_per_second']:.1f} tokens/s, peak {result['peak_rss'] / 1e9:.2f} GB "
            f"({result['conversations']} x {result['tokens']} tokens, {result['threads']} threads, "
            f"median of {result['repeat']}; {versions})")
