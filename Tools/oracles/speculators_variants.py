"""Logits of heads in speculators' layout by speculators' own model, against the plain forward pass of draft_step.py.

What it proves: speculators loads a folder that EagleTrain wrote in its layout, without a converter, and computes the
variant that EagleTrain means: norms before fc, the fed-back normed state, a normed residual, norms of q and k, any
number of captured layers and of decoder layers, windows, the whole vocabulary.

Each folder in --heads is one head: head-speculators/ and capture/, as VariantRunTests leaves them with
EAGLE_VARIANT_HEADS. Heads that speculators cannot hold are named and passed over: captured states of another width than
the head's (its fc is n H wide). Steps are compared as speculators_export.py does. A head with a window is compared at its
first step: here a window counts positions, in speculators all steps of a row see the keys of the first.

Versions used: speculators 0.9.0, transformers 5.15.1, torch 2.15.
Usage: python speculators_variants.py --heads DIR --target DIR [--steps 3] [--tolerance 1e-4]
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from speculators.models.eagle3 import Eagle3DraftModel, Eagle3SpeculatorConfig

from capture_store import read_conversations
from draft_step import Shape, draft_forward, read_target
from speculators_export import compare_logits, speculators_logits, worst_of


def load(folder, verifier):
    """speculators' model in float32. What the folder leaves to the target is the target's."""
    config = Eagle3SpeculatorConfig.from_pretrained(folder)
    config.transformer_layer_config._attn_implementation = "eager"
    config.speculators_config.verifier.name_or_path = str(verifier)
    model = Eagle3DraftModel.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    stored = load_file(folder / "model.safetensors")
    # Its loader does not reliably load a table that the folder leaves to the target (speculators_export.py).
    model._load_verifier_weights(overwrite_embed_tokens="embed_tokens.weight" not in stored,
                                 overwrite_lm_head="lm_head.weight" not in stored)
    return model, config, stored


def reference(config, stored, target):
    """Weights under our names, and the shape, as draft_step.py takes them."""
    weights = {name.replace("layers.0.", "midlayer."): tensor.double() for name, tensor in stored.items()
               if name not in ("d2t", "t2d")}
    layer = config.transformer_layer_config
    sliding = "sliding_attention" in (getattr(layer, "layer_types", None) or [])
    shape = Shape(
        heads=layer.num_attention_heads, kv_heads=layer.num_key_value_heads, head_dim=layer.head_dim,
        eps=layer.rms_norm_eps, rope_theta=float(layer.rope_parameters["rope_theta"]),
        window=layer.sliding_window if sliding else None, norm_output=config.norm_output,
        norm_before_residual=config.norm_before_residual)
    return weights, shape


@torch.no_grad()
def compare(folder, verifier, target, steps):
    model, config, stored = load(folder / "head-speculators", verifier)
    weights, shape = reference(config, stored, target)
    head = weights.get("lm_head.weight", target.head)
    if json.loads((folder / "head-speculators/config.json").read_text())["transformer_layer_config"].get("sliding_window"):
        assert model.sliding_window == shape.window and model.uses_sliding_window_attn, "the window is not applied"
        steps = 1
    by_step = [[] for _ in range(steps)]
    for conversation in read_conversations(folder / "capture", 4):
        theirs = speculators_logits(model, conversation, steps)
        ids, aux = torch.as_tensor(conversation.ids), torch.as_tensor(conversation.aux).double()
        ours = [state @ head.T for state in draft_forward(weights, shape, target, ids, aux, steps)]
        for step, pair in enumerate(zip(theirs, ours, strict=True)):
            by_step[step].append(compare_logits(*pair, step))
    return max(worst_of(figures)["relative"] for figures in by_step)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the largest difference over the largest logit")
    arguments = parser.parse_args()
    target, agrees = read_target(arguments.target, torch.float64), True
    for folder in sorted(path for path in arguments.heads.iterdir() if (path / "head-speculators").is_dir()):
        config = json.loads((folder / "head-speculators/config.json").read_text())
        if config.get("target_hidden_size") not in (None, config["transformer_layer_config"]["hidden_size"]):
            print(f"{folder.name:<22} speculators' fc takes states of the head's own width only")
            continue
        error = compare(folder, arguments.target, target, arguments.steps)
        agrees &= error < arguments.tolerance
        print(f"{folder.name:<22} relative error {error:.1e}")
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
