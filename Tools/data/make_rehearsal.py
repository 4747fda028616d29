#!/usr/bin/env python3
"""Makes all that a rehearsal of a large run needs: a tiny random target, many short conversations, prompts and a recipe.

Usage: make_rehearsal.py FOLDER CONVERSATIONS [SEED]

The target is a llama of 8 layers and 32 dimensions that speaks ChatML over single bytes. A conversation has 20 to 60 tokens. The time of
a run is then that of its bookkeeping. Needs Python 3.11 alone.
"""
import json
import pathlib
import random
import struct
import sys

LAYERS, HIDDEN, KEYS, MLP = 8, 32, 16, 48
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 256 + len(SPECIAL)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Tokens of the template around both messages of a conversation.
FRAME = 21
WORDS = "sun sea red box map tea six oak ice pen fog day air cat low new one ear ash bee".split()

RECIPE = """run: rehearsal
output: {folder}/out
target: {{path: {folder}/target, precision: fp32}}
data: {{train: [{folder}/conversations.jsonl], held_out: 0.001, max_length: 64}}
capture: {{mode: online}}
draft: {{vocabulary_size: 64}}
train: {{epochs: 1, ttt_length: 3, learning_rate: 1e-3, tokens_per_batch: 400, checkpoint_every: 20000}}
evaluate: {{draft_length: 3, max_new_tokens: 12, benchmarks: {{few: {folder}/prompts.jsonl}}}}
"""


def byte_tokens():
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write_tokenizer(target):
    tokens = byte_tokens() + SPECIAL
    added = [
        {"id": 256 + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, text in enumerate(SPECIAL)
    ]
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": []},
    }
    (target / "tokenizer.json").write_text(json.dumps(tokenizer))
    (target / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "eos_token": SPECIAL[2]}))


def shapes():
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", [HIDDEN]
        yield name + "post_attention_layernorm.weight", [HIDDEN]
        for matrix, rows, columns in [
            ("self_attn.q_proj", HIDDEN, HIDDEN),
            ("self_attn.k_proj", KEYS, HIDDEN),
            ("self_attn.v_proj", KEYS, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", MLP, HIDDEN),
            ("mlp.up_proj", MLP, HIDDEN),
            ("mlp.down_proj", HIDDEN, MLP),
        ]:
            yield f"{name}{matrix}.weight", [rows, columns]
    yield "model.norm.weight", [HIDDEN]
    yield "lm_head.weight", [VOCABULARY, HIDDEN]


def write_target(target, rng):
    config = {
        "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": MLP, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 512, "tie_word_embeddings": False, "eos_token_id": VOCABULARY - 1,
    }
    (target / "config.json").write_text(json.dumps(config))
    header, data = {}, bytearray()
    for name, shape in shapes():
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        values = [rng.gauss(0, 0.3) if len(shape) == 2 else 1.0 for _ in range(count)]
        begin = len(data)
        # bfloat16: the upper half of a float32, without rounding.
        data += b"".join(struct.pack("<f", value)[2:] for value in values)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def conversation(rng, number):
    question = f"{number:x}"
    length = rng.randrange(max(1, 20 - FRAME), 60 - FRAME - len(question))
    answer = rng.choice(WORDS)
    while len(answer) < length:
        answer += " " + rng.choice(WORDS)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer[:length].strip()}]
    return {"id": str(number), "conversations": messages}


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) == 4 else 1)
    target = folder / "target"
    target.mkdir(parents=True, exist_ok=True)
    write_tokenizer(target)
    write_target(target, rng)
    with open(folder / "conversations.jsonl", "w") as file:
        for number in range(count):
            file.write(json.dumps(conversation(rng, number)) + "\n")
    prompts = [{"id": "a", "turns": ["1f", "2e"]}, {"id": "b", "prompt": "3d"}]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder.resolve()))


main()
