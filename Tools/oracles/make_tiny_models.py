"""Writes tiny random Llama, Qwen2 and Qwen3 folders with the states that transformers computes for them.

What it proves: EagleTrain's reader and forward pass of each architecture (1, 2, 4 and 8 kv heads, biases, q/k norms,
head_dim that is not hidden / heads, tied and untied heads, rope theta, fp32, bf16 and fp16 files, single and sharded)
against transformers.

Hidden 32, 4 layers, 4 or 8 heads, MLP 48, vocab 64. Weights N(0, 0.3), norms 1 + N(0, 0.2), biases N(0, 0.3), all exact
in the file's type (float32 files: in bfloat16); computed in float32. tiny-llama has transformers 5's config keys
(rope_parameters, dtype), the others have the keys of published configs (rope_theta, torch_dtype).
Each folder: config.json, model.safetensors, expected.json {"origin", "layers" [0, 1, 2], "ids" [12],
"hidden_states" [3][12][32], "final_norm" [12][32], "logits_rows" [9, 10, 11], "logits" [3][64], "greedy" [12],
"greedy_margins" [12]}; floats rounded to 9 significant digits (exact float32).

Versions used: transformers 5.23, torch 2.15.
Usage: python make_tiny_models.py --output DIR [--seed N]
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from target_reference import greedy

COMMON = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, hidden_act="silu", bos_token_id=1, eos_token_id=2)
LAYERS, TOKENS, LOGIT_ROWS, GREEDY = (0, 1, 2), 12, (9, 10, 11), 12
# what transformers adds to every config
NOISE = {"_name_or_path", "chunk_size_feed_forward", "id2label", "is_encoder_decoder", "label2id", "output_attentions",
         "output_hidden_states", "pretraining_tp", "return_dict"}


def theta(value):
    return {"rope_theta": value, "rope_type": "default"}


def heads(count, kv, dim, tied):
    return COMMON | dict(num_attention_heads=count, num_key_value_heads=kv, head_dim=dim, tie_word_embeddings=tied)


# config, type of the file, number of shards
MODELS = {
    "tiny-llama": (LlamaConfig(**heads(4, 2, 8, False), rms_norm_eps=1e-5, rope_parameters=theta(50000.0)),
                   torch.float32, 1),
    "tiny-llama-shards": (LlamaConfig(**heads(8, 1, 8, True), rms_norm_eps=1e-5, rope_parameters=theta(10000.0)),
                          torch.float16, 3),
    "tiny-qwen2": (Qwen2Config(**COMMON, rms_norm_eps=1e-6, rope_parameters=theta(1000000.0),
                               tie_word_embeddings=False), torch.bfloat16, 1),
    "tiny-qwen2-tied": (Qwen2Config(**(COMMON | dict(num_key_value_heads=4)), rms_norm_eps=1e-6,
                                    rope_parameters=theta(1000000.0), tie_word_embeddings=True), torch.bfloat16, 1),
    "tiny-qwen3": (Qwen3Config(**heads(4, 2, 16, True), rms_norm_eps=1e-6, rope_parameters=theta(5000000.0)),
                   torch.bfloat16, 1),
    "tiny-qwen3-untied": (Qwen3Config(**heads(8, 8, 16, False), rms_norm_eps=1e-6, rope_parameters=theta(5000000.0)),
                          torch.bfloat16, 1),
}


def random_model(config, dtype, generator):
    exact = torch.bfloat16 if dtype == torch.float32 else dtype
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    for name, parameter in model.named_parameters():
        norm = name.endswith("norm.weight")
        values = torch.randn(parameter.shape, generator=generator) * (0.2 if norm else 0.3) + (1 if norm else 0)
        parameter.data.copy_(values.to(exact).float())
    return model


def published_keys(config):
    """The keys that the models' own config files use, where transformers 5 writes others."""
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype")
    return config


def save_shards(folder, tensors, shards):
    """As save_pretrained does it: model-0000i-of-0000n.safetensors and an index."""
    names, places = list(tensors), {}
    for index in range(shards):
        file = f"model-{index + 1:05}-of-{shards:05}.safetensors"
        part = names[index::shards]
        save_file({name: tensors[name] for name in part}, str(folder / file), metadata={"format": "pt"})
        places |= {name: file for name in part}
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    record = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(record, indent=2) + "\n")


def write_model(folder, model, dtype, shards):
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict() | {"architectures": [type(model).__name__], "dtype": str(dtype).split(".")[1]}
    kept = {key: value for key, value in config.items() if key not in NOISE and value is not None}
    if dtype != torch.float32:
        kept = published_keys(kept)
    (folder / "config.json").write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    tensors = {name: parameter.data.to(dtype) for name, parameter in model.named_parameters()}  # a tied head once
    if shards > 1:
        save_shards(folder, tensors, shards)
    else:
        save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors makes the file private


def rounded(tensor):
    return [rounded(row) if row.dim() else float(f"{row.item():.9g}") for row in tensor]


@torch.no_grad()
def expected(model, ids, origin):
    result = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    tokens, margins = greedy(model, ids, GREEDY, stops=set())
    return {"origin": origin, "layers": LAYERS, "ids": ids,
            "hidden_states": [rounded(result.hidden_states[layer + 1][0]) for layer in LAYERS],
            "final_norm": rounded(result.hidden_states[-1][0]),
            "logits_rows": LOGIT_ROWS, "logits": rounded(result.logits[0, list(LOGIT_ROWS)]),
            "greedy": tokens, "greedy_margins": margins}


def is_telling(record):
    """Greedy tokens that neither repeat, nor hang on a near tie, nor end the text."""
    tokens = record["greedy"]
    return min(record["greedy_margins"]) > 0.1 and len(set(tokens)) >= 6 and COMMON["eos_token_id"] not in tokens


def make(folder, config, dtype, shards, first_seed):
    for seed in range(first_seed, first_seed + 500):
        generator = torch.Generator().manual_seed(seed)
        model = random_model(config, dtype, generator)
        ids = torch.randint(0, config.vocab_size, (TOKENS,), generator=generator).tolist()
        origin = {"script": "make_tiny_models.py", "seed": seed, "dtype": "float32", "torch": torch.__version__,
                  "transformers": transformers.__version__}
        record = expected(model, ids, origin)
        if is_telling(record):
            break
    write_model(folder, model, dtype, shards)
    read_back = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert expected(read_back, ids, origin) == record, f"{folder} does not read back"
    (folder / "expected.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")
    print(f"{folder.name}: seed {seed}, greedy {record['greedy']}, smallest margin {min(record['greedy_margins'])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="first seed to try")
    arguments = parser.parse_args()
    for name, (config, dtype, shards) in MODELS.items():
        make(arguments.output / name, config, dtype, shards, arguments.seed)


if __name__ == "__main__":
    main()
