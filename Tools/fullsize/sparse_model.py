"""Writes a folder with the exact config, tensor names and shapes of a published model, and weights that are all 0.

What it is for: eagle-train plan for models of any size, whose capture and training take as long whatever the weights are.
The weights are holes of a sparse file, which take no disk. The tokenizer is copied from --tokenizer.

Versions used: Python 3.11. Usage: python sparse_model.py --model NAME --tokenizer DIR --output DIR
"""

import argparse
import json
import shutil
from pathlib import Path

LIST = Path(__file__).resolve().parents[2] / "Sources/EaglePlan/Benchmark/shapes.json"
MODELS = {name: entry["config"] for name, entry in json.loads(LIST.read_text()).items()}
MODELS["qwen3-30b-a3b"] = MODELS["qwen3-moe"] | {"num_hidden_layers": 48, "tie_word_embeddings": False,
                                                 "bos_token_id": 151643, "eos_token_id": 151645}


def tensor_shapes(c):
    h, d = c["hidden_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    yield "model.embed_tokens.weight", (c["vocab_size"], h)
    for layer in range(c["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{norm}.weight", (h,)
        if c["model_type"] != "llama":
            yield f"{name}.self_attn.q_norm.weight", (d,)
            yield f"{name}.self_attn.k_norm.weight", (d,)
        for part, shape in (("q", (q, h)), ("k", (kv, h)), ("v", (kv, h)), ("o", (h, q))):
            yield f"{name}.self_attn.{part}_proj.weight", shape
        blocks, m = [f"{name}.mlp"], c["intermediate_size"]
        if "num_experts" in c:
            blocks, m = [f"{name}.mlp.experts.{e}" for e in range(c["num_experts"])], c["moe_intermediate_size"]
            yield f"{name}.mlp.gate.weight", (c["num_experts"], h)
        for block in blocks:
            for part, shape in (("gate", (m, h)), ("up", (m, h)), ("down", (h, m))):
                yield f"{block}.{part}_proj.weight", shape
    yield "model.norm.weight", (h,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], h)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json and what lies beside it")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    header, end = {}, 0
    for name, shape in tensor_shapes(MODELS[arguments.model]):
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(arguments.output / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (arguments.output / "config.json").write_text(json.dumps(MODELS[arguments.model], indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (arguments.tokenizer / name).exists():
            shutil.copy(arguments.tokenizer / name, arguments.output / name)


if __name__ == "__main__":
    main()
