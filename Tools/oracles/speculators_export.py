"""Logits of an exported head by speculators' own model, against the plain forward pass of draft_step.py.

What it proves: that another program reads the export as EagleTrain means it. The names, shapes and types of its tensors
are those of the EAGLE-3 layout; speculators' converter accepts the folder; its draft model, on the converted weights and
on captured states, gives the logits of the step formula at the top of draft_step.py.

Step k is compared at the rows whose token of that step exists (rows 0 .. T-2-k of a conversation of T tokens).
speculators computes in float32, the reference in float64. An error is the largest difference of two logits; relative
means divided by the largest logit of that conversation and step. Exits 1 if the layout differs, if the model does not
hold the target's embedding in the end, or if a relative error reaches --tolerance.

The export has no embedding, and speculators means to take the target's then, but its loader does not reliably do so:
"embedding_as_loaded" says whether it did. The script asks for it again in speculators' own way (see `load_converted`).

Versions used: speculators 0.9.0, transformers 5.15.1, torch 2.15, safetensors 0.8, h5py 3.16.
Usage: python speculators_export.py --export DIR --target DIR --store DIR --output FILE.json
           [--conversations 4] [--steps 3] [--tolerance 1e-4]
"""

import argparse
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from speculators.convert.eagle.eagle3_converter import Eagle3Converter
from speculators.models.eagle3 import Eagle3DraftModel, Eagle3SpeculatorConfig
from speculators.models.eagle3.data import shift_batch

from capture_store import read_conversations
from draft_step import draft_forward, read_shape, read_target, read_weights

PACKAGES = ("speculators", "transformers", "torch", "safetensors")


# ---------------------------------------------------------------- the layout of the folder

def expected_layout(config):
    """Name -> (shape, type) of every tensor. H hidden, M MLP, V target vocabulary, D draft vocabulary."""
    H, M, V, D = (config[name] for name in ("hidden_size", "intermediate_size", "vocab_size", "draft_vocab_size"))
    queries, keys = (config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
    weights = {
        "fc": [H, 3 * H], "norm": [H], "lm_head": [D, H],
        "midlayer.input_layernorm": [H], "midlayer.hidden_norm": [H], "midlayer.post_attention_layernorm": [H],
        "midlayer.self_attn.q_proj": [queries, 2 * H], "midlayer.self_attn.k_proj": [keys, 2 * H],
        "midlayer.self_attn.v_proj": [keys, 2 * H], "midlayer.self_attn.o_proj": [H, queries],
        "midlayer.mlp.gate_proj": [M, H], "midlayer.mlp.up_proj": [M, H], "midlayer.mlp.down_proj": [H, M],
    }
    layout = {f"{name}.weight": (shape, "BF16") for name, shape in weights.items()}
    return layout | {"t2d": ([V], "BOOL"), "d2t": ([D], "I64")}


def found_layout(path):
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}, file.metadata()


def layout_differences(folder):
    """Lines that say what is missing, unexpected or of another shape or type; empty if all is as it should be."""
    config = json.loads((folder / "config.json").read_text())
    expected, (found, metadata) = expected_layout(config), found_layout(folder / "model.safetensors")
    lines = [f"{name}: {found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
             for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]
    if (metadata or {}).get("format") != "pt":
        lines.append(f"metadata: {metadata}, expected format pt")
    return lines


# ---------------------------------------------------------------- speculators

def load_converted(export, target, folder):
    """speculators' draft model in float32 on the weights of the export, converted into `folder`.

    It fills its embedding with NaN and takes the target's where it still finds NaN after loading. But transformers
    builds models on the meta device, where a fill is lost, and gives a tensor that the file lacks fresh, unset memory:
    mostly zeros, no NaN, so nothing is taken. Hence the explicit overwrite.
    """
    layers = json.loads((export / "config.json").read_text())["eagle_config"]["eagle_aux_hidden_state_layer_ids"]
    Eagle3Converter().convert(export, folder, str(target), eagle_aux_hidden_state_layer_ids=layers)
    config = Eagle3SpeculatorConfig.from_pretrained(folder)
    config.transformer_layer_config._attn_implementation = "eager"  # its default, flex attention, is for GPUs
    model = Eagle3DraftModel.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    as_loaded = model.embed_tokens.weight.detach().clone()
    model._load_verifier_weights(overwrite_embed_tokens=True)
    return model, as_loaded


def shifted(conversation):
    """The batch as speculators' trainer shifts it: row p holds token p+1, the states of position p, and position p+1.

    `forward` itself shifts nothing at its first step; at each later step it moves the tokens left by one more (zeros at
    the end) and adds 1 to all positions. So its row p at step k takes token p+1+k, as ours does, at position p+1+k, one
    more than ours: rotary attention sees differences of positions only, which are equal.
    """
    rows = len(conversation.ids)
    return shift_batch({
        "input_ids": torch.as_tensor(conversation.ids),
        "hidden_states": torch.as_tensor(conversation.aux),
        "verifier_last_hidden_states": torch.as_tensor(conversation.last),
        "loss_mask": torch.as_tensor(conversation.mask),
        "lengths": torch.tensor([rows]),
        "position_ids": torch.arange(rows),
    })


@torch.no_grad()
def speculators_logits(model, conversation, steps):
    """[T-1, D] for each step. `forward` returns token ids alone, so the logits are taken from its LM head."""
    logits, batch = [], shifted(conversation)
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: logits.append(output[0]))
    row_inputs = {name: batch[name][None] for name in ("hidden_states", "input_ids", "position_ids")}
    model(**row_inputs, document_ids=torch.zeros_like(row_inputs["input_ids"]), ttt_steps=steps)
    hook.remove()
    return logits


# ---------------------------------------------------------------- the comparison

@torch.no_grad()
def reference_logits(weights, shape, target, conversation, steps):
    """[T, D] for each step, float64."""
    ids, aux = torch.as_tensor(conversation.ids), torch.as_tensor(conversation.aux).double()
    return [state @ weights["lm_head.weight"].T for state in draft_forward(weights, shape, target, ids, aux, steps)]


def compare_logits(theirs, ours, step):
    """Figures of one conversation and step; the last rows have no token of their own and are left out."""
    rows = len(ours) - 1 - step
    ours, difference = ours[:rows], (theirs[:rows].double() - ours[:rows]).abs().max().item()
    largest = ours.abs().max().item()
    same = (theirs[:rows].argmax(-1) == ours.argmax(-1)).sum().item()
    return {"rows": rows, "same_best": same, "largest_logit": largest, "absolute": difference,
            "relative": difference / largest}


def worst_of(figures):
    """Rows added up, errors and logits by their largest. A value that is no number counts as the largest."""
    total = {name: sum(figure[name] for figure in figures) for name in ("rows", "same_best")}
    for name in ("largest_logit", "absolute", "relative"):
        total[name] = torch.tensor([figure[name] for figure in figures]).max().item()
    return total


def compare(model, target, arguments):
    """Figures per step, over all conversations."""
    weights, _ = read_weights(arguments.export / "model.safetensors", torch.float64)
    shape = read_shape(arguments.target, arguments.export / "config.json")
    by_step = [[] for _ in range(arguments.steps)]
    for conversation in read_conversations(arguments.store, arguments.conversations):
        theirs = speculators_logits(model, conversation, arguments.steps)
        ours = reference_logits(weights, shape, target, conversation, arguments.steps)
        for step, pair in enumerate(zip(theirs, ours, strict=True)):
            by_step[step].append(compare_logits(*pair, step))
    return [worst_of(figures) for figures in by_step]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="folder that EagleTrain exported")
    parser.add_argument("--target", type=Path, required=True, help="target folder")
    parser.add_argument("--store", type=Path, required=True, help="capture store")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--conversations", type=int, default=4, help="first N conversations of the store")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the relative error")
    arguments = parser.parse_args()

    differences, target = layout_differences(arguments.export), read_target(arguments.target, torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        model, as_loaded = load_converted(arguments.export, arguments.target, folder)
        steps = compare(model, target, arguments)
    same_embedding = torch.equal(model.embed_tokens.weight.double(), target.embedding)
    agrees = not differences and same_embedding and all(step["relative"] < arguments.tolerance for step in steps)
    origin = {"script": "speculators_export.py"} | {name: importlib.metadata.version(name) for name in PACKAGES}
    content = {"origin": origin, "layout_differences": differences, "same_embedding": same_embedding,
               "embedding_as_loaded": torch.equal(as_loaded.double(), target.embedding),
               "conversations": arguments.conversations, "steps": steps, "agrees": agrees}
    arguments.output.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content))
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
