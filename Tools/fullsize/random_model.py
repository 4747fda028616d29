"""Writes a folder with the exact config, tensor names and shapes of Qwen3-4B-Instruct-2507 and random bf16 weights.

What it is for: memory, start-up time and speed at full size, where the real weights are not at hand. Three shards and an
index, 8 GB, as the published folder has them. Matrices N(0, 0.02), norms 1. The tokenizer is copied from --tokenizer.

Versions used: Python 3.11, numpy 2.4. Usage: python random_model.py --tokenizer DIR --output DIR [--seed N]
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy

LIST = Path(__file__).resolve().parents[2] / "Sources/EaglePlan/Benchmark/shapes.json"
CONFIG = json.loads(LIST.read_text())["qwen3-4b"]["config"]
H, LAYERS, HEADS, KV, D, M, V = (CONFIG[key] for key in (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    "vocab_size"))
SHARD_BYTES = 3_990_000_000  # shard boundaries differ from the published ones by at most a tensor or two
BLOCK = 1 << 24


def tensor_shapes():
    yield "model.embed_tokens.weight", (V, H)
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        yield f"{name}.input_layernorm.weight", (H,)
        yield f"{name}.mlp.down_proj.weight", (H, M)
        yield f"{name}.mlp.gate_proj.weight", (M, H)
        yield f"{name}.mlp.up_proj.weight", (M, H)
        yield f"{name}.post_attention_layernorm.weight", (H,)
        yield f"{name}.self_attn.k_norm.weight", (D,)
        yield f"{name}.self_attn.k_proj.weight", (KV * D, H)
        yield f"{name}.self_attn.o_proj.weight", (H, HEADS * D)
        yield f"{name}.self_attn.q_norm.weight", (D,)
        yield f"{name}.self_attn.q_proj.weight", (HEADS * D, H)
        yield f"{name}.self_attn.v_proj.weight", (KV * D, H)
    yield "model.norm.weight", (H,)


def size(shape):
    return 2 * int(numpy.prod(shape))


def shards():
    """Lists of (name, shape), each under SHARD_BYTES."""
    result, used = [[]], 0
    for name, shape in tensor_shapes():
        if used + size(shape) > SHARD_BYTES:
            result.append([])
            used = 0
        result[-1].append((name, shape))
        used += size(shape)
    return result


def bfloat16_bits(values):
    """Rounded to the nearest even, as uint16."""
    bits = values.view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def write_tensor(file, shape, random):
    if len(shape) == 1:
        return file.write(bfloat16_bits(numpy.ones(shape, numpy.float32)).tobytes())
    count = int(numpy.prod(shape))
    for start in range(0, count, BLOCK):
        values = random.standard_normal(min(BLOCK, count - start), dtype=numpy.float32)
        values *= 0.02
        file.write(bfloat16_bits(values).tobytes())


def write_shard(path, tensors, random):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size(shape)]}
        offset += size(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape in tensors:
            write_tensor(file, shape, random)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with the files of a Qwen3 tokenizer")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(arguments.tokenizer / name, arguments.output / name)
    (arguments.output / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    random, parts, places = numpy.random.default_rng(arguments.seed), shards(), {}
    for index, tensors in enumerate(parts):
        file = f"model-{index + 1:05}-of-{len(parts):05}.safetensors"
        write_shard(arguments.output / file, tensors, random)
        places |= {name: file for name, _ in tensors}
    total = sum(size(shape) for tensors in parts for _, shape in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (arguments.output / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    print(json.dumps({"shards": len(parts), "tensors": len(places), "bytes": total}))


if __name__ == "__main__":
    main()
