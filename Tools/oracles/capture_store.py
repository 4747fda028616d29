"""Reads and writes a capture store (HDF5 shards) with stock h5py; shared by the scripts beside it.

What it proves: that the shards can be read by a tool other than EagleTrain.

A shard holds conversations back to back: input_ids int32 [N], loss_mask uint8 [N], offsets int64 [C+1],
aux_hidden uint16 [N, 3H] and last_hidden uint16 [N, H] (bfloat16 bit patterns), teacher_argmax int32 [N] (optional).

Versions used: h5py 3.16, numpy 2.4. Not run on its own.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np


@dataclass
class Conversation:
    """T tokens of one conversation. H hidden size."""

    ids: np.ndarray  # int64 [T]
    mask: np.ndarray  # bool [T]
    aux: np.ndarray  # float32 [T, 3H] low, mid, high
    last: np.ndarray  # float32 [T, H] after the final norm
    argmax: np.ndarray | None = None  # int64 [T]


def bfloat16_to_float32(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_to_bfloat16(values):
    """Bit patterns of values that bfloat16 represents exactly."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    if np.any(bits & 0xFFFF):
        raise ValueError("a value is not representable in bfloat16")
    return (bits >> 16).astype(np.uint16)


def shard_paths(store):
    paths = sorted(Path(store).glob("shard-*.h5"))
    if not paths:
        raise SystemExit(f"no shard-*.h5 in {store}")
    return paths


def check_attributes(path, attributes):
    def text(name):
        value = attributes[name]
        return value.decode() if isinstance(value, bytes) else str(value)

    expected = {"format": ["eagle-capture"], "version": ["1", "2"], "dtype": ["bfloat16"], "complete": ["1"]}
    for name, values in expected.items():
        if name not in attributes:
            raise SystemExit(f"{path}: attribute {name} is missing")
        if text(name) not in values:
            raise SystemExit(f"{path}: attribute {name} is {text(name)}, expected {' or '.join(values)}")
    for name in ("hidden_size", "vocab_size", "layers", "target_fingerprint"):
        if name not in attributes:
            raise SystemExit(f"{path}: attribute {name} is missing")


def read_conversations(store, limit=None):
    """The first `limit` conversations of all shards, in order."""
    conversations = []
    for path in shard_paths(store):
        with h5py.File(path, "r") as shard:
            check_attributes(path, shard.attrs)
            offsets = shard["offsets"][:]
            for start, end in zip(offsets[:-1], offsets[1:]):
                if limit is not None and len(conversations) == limit:
                    return conversations
                conversations.append(read_rows(shard, start, end))
    return conversations


def read_rows(shard, start, end):
    argmax = shard["teacher_argmax"][start:end].astype(np.int64) if "teacher_argmax" in shard else None
    return Conversation(
        ids=shard["input_ids"][start:end].astype(np.int64),
        mask=shard["loss_mask"][start:end] != 0,
        aux=bfloat16_to_float32(shard["aux_hidden"][start:end]),
        last=bfloat16_to_float32(shard["last_hidden"][start:end]),
        argmax=argmax,
    )


def write_shard(path, conversations, vocab_size, layers, fingerprint):
    lengths = [len(conversation.ids) for conversation in conversations]
    datasets = {
        "input_ids": np.concatenate([c.ids for c in conversations]).astype(np.int32),
        "loss_mask": np.concatenate([c.mask for c in conversations]).astype(np.uint8),
        "aux_hidden": float32_to_bfloat16(np.concatenate([c.aux for c in conversations])),
        "last_hidden": float32_to_bfloat16(np.concatenate([c.last for c in conversations])),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    }
    if all(c.argmax is not None for c in conversations):
        datasets["teacher_argmax"] = np.concatenate([c.argmax for c in conversations]).astype(np.int32)
    with h5py.File(path, "w") as shard:
        for name, values in datasets.items():
            shard.create_dataset(name, data=values, chunks=True, fletcher32=True)
        attributes = {"format": "eagle-capture", "version": 1, "vocab_size": vocab_size, "dtype": "bfloat16",
                      "hidden_size": conversations[0].last.shape[1], "target_fingerprint": fingerprint,
                      "layers": np.array(layers, dtype=np.int32), "complete": 1}
        for name, value in attributes.items():
            shard.attrs[name] = value
