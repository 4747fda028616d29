"""Converts a llama-architecture GGUF file to a Hugging Face folder.

What it proves: nothing by itself. It is a second, independent reader of the GGUF file (dequantisation by the
`gguf` package, layout rules written here), so that a folder made by EagleTrain can be compared with this one and
so that transformers can run the same model as EagleTrain.

Layout rules: llama.cpp stores the rows of q and k interleaved for its own RoPE; this is undone. Weights are rounded
to bfloat16 (nearest even), or with --exact stay float32, the very values of the blocks. The LM head is tied unless the file
holds `output.weight`.

Versions used: gguf 0.19, numpy 2.4, safetensors 0.8, torch 2.15, tokenizers 0.23.
Usage: python gguf_to_hf.py --gguf MODEL.gguf --output FOLDER [--pre smollm] [--exact]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import save_file

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # tokenizer.ggml.token_type

# GGUF name -> Hugging Face name
OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

# The file does not contain the split before BPE, only its name (`tokenizer.ggml.pre`).
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PRE_TOKENIZERS = {
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
    "gpt-2": BYTE_LEVEL,
}


class Metadata:
    """The key-value part of a GGUF file."""

    def __init__(self, reader):
        self.values = {key: field.contents() for key, field in reader.fields.items()}
        self.architecture = self.values["general.architecture"]
        if self.architecture != "llama":
            raise SystemExit(f"expected architecture llama, found {self.architecture}")

    def get(self, key, default=None):
        return self.values.get(key, default)

    def model(self, key, default=None):
        return self.values.get(f"{self.architecture}.{key}", default)


def hf_name(name):
    if name in OUTER_NAMES:
        return OUTER_NAMES[name]
    block, layer, part, suffix = name.split(".")
    assert block == "blk", name
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"


def unpermute(weight, heads):
    """Rows of one head: interleaved (a0 b0 a1 b1 ...) back to halves (a0 a1 ... b0 b1 ...)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def convert_tensors(reader, metadata, dtype):
    heads = metadata.model("attention.head_count")
    kv_heads = metadata.model("attention.head_count_kv", heads)
    tensors = {}
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if ".attn_q." in tensor.name:
            values = unpermute(values, heads)
        if ".attn_k." in tensor.name:
            values = unpermute(values, kv_heads)
        tensors[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(values)).to(dtype)
    return tensors


def shortest_float(value):
    """float32 metadata as the decimal that was meant: 9.99999974e-06 -> 1e-05."""
    return float(str(np.float32(value)))


def make_config(metadata, tied):
    hidden, heads = metadata.model("embedding_length"), metadata.model("attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
        "head_dim": metadata.model("rope.dimension_count", hidden // heads),
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": metadata.model("feed_forward_length"),
        "max_position_embeddings": metadata.model("context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": metadata.model("block_count"),
        "num_key_value_heads": metadata.model("attention.head_count_kv", heads),
        "rms_norm_eps": shortest_float(metadata.model("attention.layer_norm_rms_epsilon")),
        "rope_scaling": None,
        "rope_theta": shortest_float(metadata.model("rope.freq_base", 10000.0)),
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": len(metadata.get("tokenizer.ggml.tokens")),
    }


def added_tokens(tokens, types):
    common = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": index, "content": token, **common, "special": kind == CONTROL}
        for index, (token, kind) in enumerate(zip(tokens, types))
        if kind in (CONTROL, USER_DEFINED)
    ]


def make_tokenizer(metadata, pre_name):
    tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if len(set(tokens)) != len(tokens):
        raise SystemExit("two token ids have the same text")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(tokens, types),
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre_name],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in metadata.get("tokenizer.ggml.merges")],
        },
    }


def make_tokenizer_config(metadata):
    tokens = metadata.get("tokenizer.ggml.tokens")

    def token(key):
        index = metadata.get(f"tokenizer.ggml.{key}_token_id")
        return None if index is None else tokens[index]

    return {
        "add_prefix_space": False,
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "pad_token": token("padding"),
        "unk_token": token("unknown"),
        "chat_template": metadata.get("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.model("context_length"),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pre", choices=sorted(PRE_TOKENIZERS), help="pre-tokenizer; default: the file's own name")
    parser.add_argument("--exact", action="store_true", help="float32 weights")
    arguments = parser.parse_args()

    reader = GGUFReader(str(arguments.gguf))
    metadata = Metadata(reader)
    tensors = convert_tensors(reader, metadata, torch.float32 if arguments.exact else torch.bfloat16)
    arguments.output.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(arguments.output / "model.safetensors"), metadata={"format": "pt"})
    (arguments.output / "model.safetensors").chmod(0o644)  # safetensors makes the file private
    write_json(arguments.output / "config.json", make_config(metadata, "lm_head.weight" not in tensors))
    pre_name = arguments.pre or metadata.get("tokenizer.ggml.pre")
    write_json(arguments.output / "tokenizer.json", make_tokenizer(metadata, pre_name))
    write_json(arguments.output / "tokenizer_config.json", make_tokenizer_config(metadata))
    print(f"{len(tensors)} tensors, {len(metadata.get('tokenizer.ggml.tokens'))} tokens -> {arguments.output}")


if __name__ == "__main__":
    main()
