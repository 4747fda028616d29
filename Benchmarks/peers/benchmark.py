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
from dataclasses import dataclass, field
from importlib.metadata import version

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """Sizes of a target model; the embedding and the LM head are one tied tensor [vocabulary, hidden]."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    draft_vocabulary: int  # the default D
    eps: float
    rope_theta: float
    max_positions: int
    more: dict = field(default_factory=dict)  # further keys of the target's config

    @property
    def captured_layers(self):
        """0-based layers whose outputs a capture keeps: low, mid, high."""
        return [1, self.layers // 2 - 1, self.layers - 4]


SHAPES = {
    "smollm2-135m": Shape(hidden=576, layers=30, heads=9, kv_heads=3, head_dim=64, mlp=1536, vocabulary=49152,
                          draft_vocabulary=16384, eps=1e-5, rope_theta=1e5, max_positions=8192),
    "qwen3-4b": Shape(hidden=2560, layers=36, heads=32, kv_heads=8, head_dim=128, mlp=9728, vocabulary=151936,
                      draft_vocabulary=32000, eps=1e-6, rope_theta=5e6, max_positions=262144),
    "llama-3.2-1b": Shape(hidden=2048, layers=16, heads=32, kv_heads=8, head_dim=64, mlp=8192, vocabulary=128256,
                          draft_vocabulary=32000, eps=1e-5, rope_theta=5e5, max_positions=131072,
                          more={"rope_parameters": {
                              "rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}),
    "qwen3-0.6b": Shape(hidden=1024, layers=28, heads=16, kv_heads=8, head_dim=128, mlp=3072, vocabulary=151936,
                        draft_vocabulary=32000, eps=1e-6, rope_theta=1e6, max_positions=40960),
    "qwen3-moe": Shape(hidden=2048, layers=8, heads=32, kv_heads=4, head_dim=128, mlp=6144, vocabulary=151936,
                       draft_vocabulary=32000, eps=1e-6, rope_theta=1e6, max_positions=40960,
                       more={"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
                             "norm_topk_prob": True}),
}


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
