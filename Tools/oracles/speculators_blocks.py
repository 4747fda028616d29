"""Logits of an exported block drafter (DSpark, DFlash) by speculators' own model, against make_block_fixture.py.

What it proves: that another program reads the folder as EagleTrain means it.
  tensors  are those that speculators would save, and each is loaded unchanged
  states   the numbers of the captured layers are those of transformers' hidden_states
  logits   and confidence logits of speculators' forward pass on captured states are those of make_block_fixture.py,
           the float64 program that the training tests are checked against
  losses   from speculators' logits, on the held-out conversations, are those that EagleTrain reports for the head

--run is a run of EagleTrain in float32 that started from the head (draft.init_from): its states, and its losses before
training. speculators computes in float32, and its forward pass returns a loss alone: the logits are the arguments of
its compute_metrics. An error is the largest difference, divided by the largest value (of a conversation's logits). All
rows that propose a token are compared. The reference's LM head is the target's rows for d2t: a head with its own LM
head is not for this script. A DFlash folder in the layout of its release goes through speculators' converter. Exits 1
if tensors or layers differ, if an error of logits reaches --tolerance, or one of losses 1e-5.

Versions used: speculators 0.9.0, transformers 5.15.1, torch 2.15, h5py 3.16.
Usage: python speculators_blocks.py --export DIR --target DIR --run DIR
           [--conversations 4] [--anchors 6] [--tolerance 1e-4]
"""

import argparse
import inspect
import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

try:
    from speculators import SpeculatorModel, SpeculatorModelConfig
    from speculators.convert.entrypoints import maybe_convert_external_checkpoint
    from speculators.models.dspark import DSparkDraftModel  # noqa: F401  registers the class
except ImportError as error:
    raise SystemExit(f"speculators 0.9.0 is needed, see requirements-speculators.txt: {error}")

from capture_store import read_conversations
from draft_step import read_target

sys.path.append(str(Path(__file__).resolve().parents[1] / "fixtures"))
import make_block_fixture as fixture  # noqa: E402

STATE_TOLERANCE = 5e-2  # of states captured in bf16 against float32; with neighbouring layers it is above 0.5
LOSS_TOLERANCE = 1e-5  # as for training steps; a wrong epsilon of the norms alone causes 6e-5


@dataclass(frozen=True)
class Head:
    """A folder as its files say, without speculators. D draft vocabulary."""

    case: fixture.Case
    weights: dict  # float64
    stored: dict  # tensors as they are in the file
    ids: list  # D target ids
    layers: list  # indices into transformers' hidden_states


# ---------------------------------------------------------------- the reference

def read_head(folder, target):
    """The head, and its sizes as the globals of make_block_fixture.py."""
    config = json.loads((folder / "config.json").read_text())
    layer, release = config.get("transformer_layer_config", config), config.get("dflash_config", {})
    rotary = layer.get("rope_parameters") or layer
    if layer.get("rope_scaling") or rotary.get("rope_type", "default") != "default":
        raise SystemExit(f"{folder}: the reference has no rotary scaling")
    vars(fixture).update(
        H=layer["hidden_size"], HEADS=layer["num_attention_heads"], KV_HEADS=layer["num_key_value_heads"],
        HEAD_DIM=layer["head_dim"], EPS=layer["rms_norm_eps"], ROPE_THETA=float(rotary["rope_theta"]),
        MASK_TOKEN=(config | release)["mask_token_id"])
    layers = config.get("aux_hidden_state_layer_ids") or [output + 1 for output in release["target_layer_ids"]]
    case = fixture.Case(
        folder.name, states=len(layers), layers=layer["num_hidden_layers"], block_size=config["block_size"],
        sample_from_anchor=config["sample_from_anchor"],
        kind="dspark" if "DSpark" in config["architectures"][0] else "dflash")
    stored = load_file(folder / "model.safetensors")
    ids = torch.arange(len(target.head))
    if "d2t" in stored:
        ids = torch.arange(len(stored["d2t"])) + stored["d2t"]
    weights = {name: tensor.double() for name, tensor in stored.items() if name not in ("d2t", "t2d", "lm_head.weight")}
    return Head(case, weights, stored, ids.tolist(), layers)


def as_fixture(conversation):
    return fixture.Conversation(
        ids=conversation.ids.tolist(), mask="".join(str(int(one)) for one in conversation.mask),
        aux=torch.as_tensor(conversation.aux).double(), last=torch.as_tensor(conversation.last).double())


def chosen_anchors(case, conversation, count):
    """At most `count`, evenly spread, whose blocks lie in the text."""
    able = [p for p in fixture.eligible_anchors(conversation.mask) if p + case.block_size <= len(conversation.ids)]
    return able[::math.ceil(len(able) / count)] if able else []


@torch.no_grad()
def reference_rows(head, target, conversation, anchors):
    """Logits [A, rows, D] and confidence logits [A, rows], or None."""
    case, first = head.case, 0 if head.case.sample_from_anchor else 1
    batch = fixture.Batch([conversation], target.embedding, target.head[head.ids], slice(None))
    rows = []
    for anchor in anchors:
        states = fixture.block_states(head.weights, case, batch, conversation, anchor)
        rows += [fixture.row_logits(head.weights, batch, states[first + slot], conversation.ids[anchor + slot])
                 for slot in range(case.slots)]
    logits, confidence = zip(*rows)
    shape = (len(anchors), case.slots)
    return (torch.stack(logits).reshape(*shape, -1),
            None if confidence[0] is None else torch.stack(confidence).reshape(shape))


# ---------------------------------------------------------------- speculators

def load(folder, verifier):
    """speculators' model in float32, its embedding and missing LM head from `verifier`."""
    with tempfile.TemporaryDirectory() as converted:
        source = maybe_convert_external_checkpoint(folder, verifier=str(verifier), output_path=converted)
        config = SpeculatorModelConfig.from_pretrained(source)
        config.transformer_layer_config._attn_implementation = "eager"  # its default, flex attention, is made for GPUs
        config.speculators_config.verifier.name_or_path = str(verifier)
        return SpeculatorModel.from_pretrained(source, config=config, dtype=torch.float32).eval()


def tensor_differences(head, model):
    """Lines that say what is missing, unexpected, of another type, or not loaded as stored; empty if nothing is."""
    tensors, left_out = model.state_dict(), model._keys_to_ignore_on_save
    expected = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    lines = []
    for name in sorted(head.stored.keys() | expected.keys()):
        ours, theirs = head.stored.get(name), expected.get(name)
        if ours is None or theirs is None:
            lines.append(f"{name}: {'missing' if ours is None else 'no such tensor in speculators'}")
        elif ours.dtype != (kind := torch.bfloat16 if theirs.is_floating_point() else theirs.dtype):
            lines.append(f"{name}: {ours.dtype}, expected {kind}")
        elif not torch.equal(ours.to(theirs.dtype), theirs):
            lines.append(f"{name}: loaded with other values")
    return lines


def recorded(original):
    """In place of compute_metrics: its arguments by name are the metrics that forward returns."""
    signature = inspect.signature(original)
    return lambda *values, **options: (None, signature.bind(*values, **options).arguments)


@torch.no_grad()
def speculators_rows(model, conversation, anchors):
    """As reference_rows. The mask is 1 at the anchors alone, so these are the ones that it chooses.

    It takes none of the last B positions, hence B more, which no block sees.
    """
    def longer(rows):
        return torch.cat((rows, rows.new_zeros(model.block_size, *rows.shape[1:])))[None]

    module, ids = sys.modules[type(model).__module__], longer(torch.tensor(conversation.ids))
    mask = torch.zeros_like(ids)
    mask[0, anchors] = 1
    with mock.patch.object(module, "compute_metrics", recorded(module.compute_metrics)):
        found = model(
            hidden_states=longer(conversation.aux.float()), input_ids=ids, loss_mask=mask,
            verifier_last_hidden_states=longer(conversation.last.float()), document_ids=torch.zeros_like(ids),
            max_anchors=len(anchors))[2]
    first, shape = 0 if model.config.sample_from_anchor else 1, (len(anchors), model.block_size)
    confidence = found.get("confidence_logits")
    return (found["logits"].reshape(*shape, -1)[:, first:],
            None if confidence is None else confidence.reshape(shape)[:, first:])


# ---------------------------------------------------------------- the comparison

@torch.no_grad()
def state_error(head, target, conversation):
    """Root mean square over tokens of the relative difference of a captured state; the worst layer."""
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    states = model(torch.tensor(conversation.ids)[None], output_hidden_states=True).hidden_states
    ours = conversation.aux.reshape(len(conversation.ids), len(head.layers), -1).unbind(1)
    errors = [(states[layer][0] - own).norm(dim=-1) / own.norm(dim=-1) for layer, own in zip(head.layers, ours)]
    return torch.stack(errors).pow(2).mean(-1).sqrt().max().item()


def relative_error(theirs, ours):
    if theirs.shape != ours.shape:
        raise SystemExit(f"speculators' values are {list(theirs.shape)}, the others {list(ours.shape)}")
    return (theirs.double() - ours).abs().max() / ours.abs().max()


def compare(head, model, target, conversations, count):
    """Rows, and the largest relative error of logits and of confidence logits (None without)."""
    rows, errors = 0, {"logits": [], "confidence": []}
    for conversation in conversations:
        anchors = chosen_anchors(head.case, conversation, count)
        if not anchors:
            continue
        theirs, ours = (speculators_rows(model, conversation, anchors),
                        reference_rows(head, target, conversation, anchors))
        if (theirs[1] is None) != (ours[1] is None):
            raise SystemExit("one of speculators and the reference has no confidence head")
        rows += ours[0].shape[0] * ours[0].shape[1]
        for name, pair in zip(errors, zip(theirs, ours)):
            errors[name] += [] if pair[1] is None else [relative_error(*pair)]
    if rows == 0:
        raise SystemExit("no conversation of the store has an anchor")
    return rows, {name: torch.stack(found).max().item() for name, found in errors.items() if found}


@torch.no_grad()
def mean_losses(head, model, target, conversations):
    """The loss of each slot over all anchors of the conversations, from speculators' logits."""
    batch = fixture.Batch(conversations, target.embedding, target.head, head.ids)
    losses = [[] for _ in range(head.case.slots)]
    for conversation in conversations:
        anchors = fixture.eligible_anchors(conversation.mask)
        logits, confidence = speculators_rows(model, conversation, anchors)
        for block, anchor in enumerate(anchors):
            for slot in fixture.counted_slots(head.case, conversation.mask, anchor):
                theirs = logits[block, slot].double(), None if confidence is None else confidence[block, slot].double()
                with mock.patch.object(fixture, "row_logits", return_value=theirs):
                    row = fixture.make_row(head.weights, batch, conversation, slot, anchor + slot, None)
                losses[slot].append(fixture.row_loss(head.case, row, row.alpha))
    return torch.stack([torch.stack(found).mean() for found in losses])


def loss_error(head, model, target, run):
    """The largest relative error of the run's held-out losses before training."""
    conversations = read_conversations(run / "capture")
    held_out = json.loads((run / "prepared/manifest.json").read_text())["held_out"]
    ours = torch.tensor(json.loads((run / "evaluation.json").read_text())[0]["held_out"]["loss_by_position"])
    theirs = mean_losses(head, model, target, [as_fixture(conversations[index]) for index in held_out])
    return relative_error(theirs, ours.double()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="folder that EagleTrain exported")
    parser.add_argument("--target", type=Path, required=True, help="target folder")
    parser.add_argument("--run", type=Path, required=True, help="run in float32 that started from the head")
    parser.add_argument("--conversations", type=int, default=4, help="first N conversations of the store")
    parser.add_argument("--anchors", type=int, default=6, help="of a conversation")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of errors of logits")
    arguments = parser.parse_args()

    target = read_target(arguments.target, torch.float64)
    try:
        head = read_head(arguments.export, target)
    except KeyError as error:
        raise SystemExit(f"{arguments.export}/config.json: no key {error}")
    try:
        model = load(arguments.export, arguments.target)
    except Exception as error:
        raise SystemExit(f"{arguments.export}: speculators does not load it: {error}")
    if differences := tensor_differences(head, model):
        raise SystemExit("\n".join([f"{arguments.export}: not the tensors of {type(model).__name__}:", *differences]))
    conversations = [as_fixture(one) for one in read_conversations(arguments.run / "capture", arguments.conversations)]
    states = state_error(head, arguments.target, conversations[0])
    rows, errors = compare(head, model, target, conversations, arguments.anchors)
    losses = loss_error(head, model, target, arguments.run)
    agrees = (states < STATE_TOLERANCE and losses < LOSS_TOLERANCE
              and all(error < arguments.tolerance for error in errors.values()))
    print(json.dumps({
        "head": str(arguments.export), "class": type(model).__name__, "tensors": len(head.stored),
        "states": states, "rows": rows} | errors | {"losses": losses, "agrees": agrees}))
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
