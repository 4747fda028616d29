"""One training step of an EAGLE-3 draft head (loss, metrics, gradients) in plain PyTorch.

What it proves: that EagleTrain's training step, which computes only the rows that are trained, groups the work by
micro-batch and differentiates by hand, agrees with the plainest program: every row of every step is computed,
attention uses an explicit dense mask, and autograd differentiates.

T tokens of a conversation, H hidden size, V target vocabulary, D draft vocabulary, K training-time-test length.

  step k at row p, with g_0 = fc(aux[p]):
    h       = concat(input_layernorm(embed(token[p+1+k])), hidden_norm(g_k))
    a       = g_k + o_proj(attention(q, k, v of h))        RoPE position p + k
    g_{k+1} = a + mlp(post_attention_layernorm(a))
    logits  = lm_head(norm(g_{k+1}))
  with further layers (layers.1, layers.2, ...), x = a + mlp(...) of the layer before is no g_{k+1} yet:
    a       = x + o_proj(attention(q, k, v of input_layernorm(x))),  x = a + mlp(post_attention_layernorm(a))
  attention of row p at step k: step-0 keys of rows <= p, and of each step 1..k the key of row p itself.
  Row p is trained at step k iff tokens p+1 .. p+2+k lie in one span (a maximal run of ones in the loss mask).
  Teacher: t = W z[p+1+k]. Loss target: softmax of t over the draft vocabulary; no loss where the argmax over the
  full vocabulary is not in the draft vocabulary. loss_k = sum / N_k, N_k all trained rows of the batch.
  loss = sum_k decay^k loss_k.

Compare with float64, the default, also when EagleTrain computes in float32: torch's float32 softmax over 16384 values
is off by 5e-6 to 8e-6 where the distribution is peaked (it drops the smallest terms), and so are its losses and gradients.

Versions used: torch 2.15, safetensors 0.8, h5py 3.16, numpy 2.4.
Usage: python draft_step.py --store DIR --target DIR --weights FILE.safetensors --output DIR
           [--ttt-length 7] [--step-decay 0.8] [--conversations N] [--dtype float32|float64]
           [--draft-config FILE] [--recompute-argmax]
Writes step.json {"loss", "loss_per_step" [K], "rows" [K], "accuracy" [K], "acceptance" [K],
"simulated_acceptance_length", "contributing_rows" [K], "gradient_norm"} and gradients.safetensors.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from capture_store import read_conversations


@dataclass(frozen=True)
class Shape:
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    rope_theta: float
    # Variants of the head; others are visible in the weights (input_norm, fc_norm, q_norm, embed_tokens, no lm_head).
    rope_factor: float = 1.0  # linear scaling of positions
    window: int | None = None  # keys at positions > query position - window
    norm_output: bool = False  # the normed state feeds the next step
    norm_before_residual: bool = False  # the residual is the normed state


@dataclass(frozen=True)
class Target:
    embedding: torch.Tensor  # [V, H]
    head: torch.Tensor  # [V, H]


@dataclass(frozen=True)
class Vocabulary:
    """used[i] = i + d2t[i] is the target id of draft id i."""

    used: torch.Tensor  # int64 [D]
    member: torch.Tensor  # bool [V]


# ---------------------------------------------------------------- the draft model

def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rotate_half(x, positions, theta, factor=1.0):
    """x [T, heads, d]; the pair of element i is element i + d/2."""
    half = x.shape[-1] // 2
    positions = positions / factor
    inverse = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = (positions.double()[:, None] * inverse).to(x.dtype)[:, None, :]  # [T, 1, d/2]
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()), -1)


def prefix_mask(rows, dtype, step=0, window=None):
    """[T, T]: 0 where the key's row <= the query's row and inside the window of the query's position, else -inf."""
    allowed = torch.ones(rows, rows, dtype=torch.bool).tril()
    if window is not None:
        row = torch.arange(rows)
        allowed &= row[None, :] > row[:, None] + step - window
    return torch.zeros(rows, rows, dtype=dtype).masked_fill(~allowed, float("-inf"))


def attention(query, keys, values, shape):
    """query [T, heads, d]; keys[j], values[j] [T, kv, d] of steps 0..k -> [T, heads * d]."""
    rows, group = query.shape[0], shape.heads // shape.kv_heads
    keys = [key.repeat_interleave(group, dim=1) for key in keys]
    values = [value.repeat_interleave(group, dim=1) for value in values]
    scale = shape.head_dim ** -0.5
    mask = prefix_mask(rows, query.dtype, len(keys) - 1, shape.window)
    prefix = torch.einsum("phd,rhd->hpr", query, keys[0]) * scale + mask
    chain = [torch.einsum("phd,phd->hp", query, key)[..., None] * scale for key in keys[1:]]
    weights = torch.softmax(torch.cat([prefix, *chain], -1), -1)  # [heads, T, T + k]
    mixed = torch.einsum("hpr,rhd->phd", weights[..., :rows], values[0])
    for step, value in enumerate(values[1:]):
        mixed = mixed + weights[..., rows + step].T[..., None] * value
    return mixed.reshape(rows, -1)


def draft_forward(weights, shape, target, ids, aux, steps):
    """States after the final norm, one [T, H] per step, for all rows."""
    rows = len(ids)
    row = torch.arange(rows)
    state = features(weights, shape, aux) @ weights["fc.weight"].T
    layers = 1 + max((int(name.split(".")[1]) for name in weights if name.startswith("layers.")), default=0)
    keys, values, outputs = [[] for _ in range(layers)], [[] for _ in range(layers)], []
    embedding = weights.get("embed_tokens.weight", target.embedding)
    for step in range(steps):
        tokens = ids[(row + 1 + step).clamp(max=rows - 1)]  # past the end: never trained, value irrelevant
        for layer in range(layers):
            embedded = embedding[tokens] if layer == 0 else None
            state, key, value = draft_layer(
                weights, shape, layer, embedded, state, keys[layer], values[layer], row + step)
            keys[layer], values[layer] = [*keys[layer], key], [*values[layer], value]
        normed = rms_norm(state, weights["norm.weight"], shape.eps)
        outputs.append(normed)
        if shape.norm_output:
            state = normed
    return outputs


def features(weights, shape, aux):
    """Captured states as fc reads them: one norm over all of them, a norm of each, or none."""
    if "input_norm.weight" in weights:
        return rms_norm(aux, weights["input_norm.weight"], shape.eps)
    norms = [weights[name] for name in sorted(weights) if name.startswith("fc_norm.")]
    if not norms:
        return aux
    return torch.cat([rms_norm(x, norm, shape.eps) for x, norm in zip(aux.chunk(len(norms), -1), norms)], -1)


def draft_layer(weights, shape, layer, embedded, state, keys, values, positions):
    """A layer's output, and its keys and values of this step. The first layer reads the embedding, too."""
    prefix = "midlayer" if layer == 0 else f"layers.{layer}"

    def weight(name):
        return weights[f"{prefix}.{name}.weight"]

    def heads(x, name, count):
        return (x @ weight(f"self_attn.{name}").T).reshape(len(x), count, shape.head_dim)

    def turned(x, norm):
        if f"{prefix}.self_attn.{norm}.weight" in weights:
            x = rms_norm(x, weight(f"self_attn.{norm}"), shape.eps)
        return rotate_half(x, positions, shape.rope_theta, shape.rope_factor)

    if layer == 0:
        normed = rms_norm(state, weight("hidden_norm"), shape.eps)
        h = torch.cat((rms_norm(embedded, weight("input_layernorm"), shape.eps), normed), -1)
        residual = normed if shape.norm_before_residual else state
    else:
        h, residual = rms_norm(state, weight("input_layernorm"), shape.eps), state
    query = turned(heads(h, "q_proj", shape.heads), "q_norm")
    key = turned(heads(h, "k_proj", shape.kv_heads), "k_norm")
    value = heads(h, "v_proj", shape.kv_heads)
    mixed = attention(query, [*keys, key], [*values, value], shape)
    a = residual + mixed @ weight("self_attn.o_proj").T
    n = rms_norm(a, weight("post_attention_layernorm"), shape.eps)
    gated = F.silu(n @ weight("mlp.gate_proj").T) * (n @ weight("mlp.up_proj").T)
    return a + gated @ weight("mlp.down_proj").T, key, value


# ---------------------------------------------------------------- rows, teacher, loss

def spans(mask):
    """Maximal runs of ones as [start, end)."""
    found, start = [], None
    for position, one in enumerate([*mask, False]):
        if one and start is None:
            start = position
        if not one and start is not None:
            found.append((start, position))
            start = None
    return found


def trained_rows(mask, step):
    """Rows p whose tokens p+1 .. p+2+step lie in one span."""
    return [p for p in range(len(mask))
            if any(start <= p + 1 and p + 2 + step < end for start, end in spans(mask))]


def step_sums(logits, teacher, argmax, vocabulary):
    """Sums over rows. logits [R, D], teacher [R, V], argmax [R]."""
    goal = torch.softmax(teacher[:, vocabulary.used], -1)
    cross_entropy = -(goal * torch.log_softmax(logits, -1)).sum(-1)
    contributes = vocabulary.member[argmax]
    overlap = torch.minimum(torch.softmax(teacher, -1)[:, vocabulary.used], torch.softmax(logits, -1)).sum(-1)
    return {
        "loss": (cross_entropy * contributes).sum(),
        "correct": (vocabulary.used[logits.argmax(-1)] == argmax).sum(),
        "overlap": overlap.detach().sum(),
        "contributing": contributes.sum(),
    }


def conversation_sums(weights, shape, target, vocabulary, conversation, steps, recompute_argmax=False):
    """One dictionary of sums per step (None where no row is trained)."""
    dtype = target.head.dtype
    ids, mask = torch.as_tensor(conversation.ids), conversation.mask.tolist()
    aux, last = (torch.as_tensor(x).to(dtype) for x in (conversation.aux, conversation.last))
    outputs = draft_forward(weights, shape, target, ids, aux, steps)
    sums = []
    for step in range(steps):
        rows = torch.tensor(trained_rows(mask, step), dtype=torch.long)
        if len(rows) == 0:
            sums.append(None)
            continue
        teacher = last[rows + 1 + step] @ target.head.T
        argmax = teacher.argmax(-1)
        if conversation.argmax is not None and not recompute_argmax:
            argmax = torch.as_tensor(conversation.argmax)[rows + 1 + step]
        lm_head = weights.get("lm_head.weight", target.head[vocabulary.used])
        logits = outputs[step][rows] @ lm_head.T
        sums.append(step_sums(logits, teacher, argmax, vocabulary))
    return sums


def batch_rows(conversations, steps):
    """N_k over the whole batch."""
    return [sum(len(trained_rows(c.mask.tolist(), step)) for c in conversations) for step in range(steps)]


def training_step(weights, shape, target, vocabulary, conversations, steps, decay, recompute_argmax=False):
    """Metrics of the batch and the gradient of its loss; weights are leaves that require a gradient."""
    rows = batch_rows(conversations, steps)
    totals = {name: [0.0] * steps for name in ("loss", "correct", "overlap", "contributing")}
    for conversation in conversations:
        sums = conversation_sums(weights, shape, target, vocabulary, conversation, steps, recompute_argmax)
        loss = sum(decay ** k * s["loss"] / rows[k] for k, s in enumerate(sums) if s is not None)
        if torch.is_tensor(loss):
            loss.backward()
        for k, step in enumerate(sums):
            for name in totals:
                totals[name][k] += step[name].item() if step is not None else 0
    gradients = {name: torch.zeros_like(w) if w.grad is None else w.grad.clone() for name, w in weights.items()}
    return summarize(totals, rows, decay, gradients), gradients


def summarize(totals, rows, decay, gradients):
    def mean(name):
        return [total / max(count, 1) for total, count in zip(totals[name], rows)]

    loss, accuracy = mean("loss"), mean("correct")
    return {
        "loss": sum(decay ** k * value for k, value in enumerate(loss)),
        "loss_per_step": loss,
        "rows": rows,
        "accuracy": accuracy,
        "acceptance": mean("overlap"),
        "simulated_acceptance_length": simulated_acceptance_length(accuracy),
        "contributing_rows": [int(count) for count in totals["contributing"]],
        "gradient_norm": gradient_norm(gradients),
    }


def simulated_acceptance_length(accuracy):
    length, product = 1.0, 1.0
    for value in accuracy:
        product *= value
        length += product
    return length


def gradient_norm(gradients):
    return sum(g.double().pow(2).sum() for g in gradients.values()).sqrt().item()


# ---------------------------------------------------------------- files

def read_target(folder, dtype):
    """Embedding and LM head of a target folder, of one file or several."""
    wanted = {"model.embed_tokens.weight": None, "lm_head.weight": None}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in wanted.keys() & set(file.keys()):
                wanted[name] = file.get_tensor(name).to(dtype)
    embedding, head = wanted.values()
    if embedding is None:
        raise SystemExit(f"{folder}: no model.embed_tokens.weight")
    return Target(embedding, embedding if head is None else head)


def read_shape(target_folder, draft_config):
    """Sizes of the draft: its own config, else the target's with the draft's default rope theta."""
    config = json.loads((Path(target_folder) / "config.json").read_text())
    theta = 10000.0
    if draft_config is not None:
        config = json.loads(Path(draft_config).read_text())
        theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    return Shape(heads, config["num_key_value_heads"], head_dim, config["rms_norm_eps"], float(theta))


def read_weights(path, dtype):
    tensors = load_file(path)
    draft_to_target, member = tensors.pop("d2t").long(), tensors.pop("t2d").bool()
    used = torch.arange(len(draft_to_target)) + draft_to_target
    if not torch.equal(member.nonzero().flatten(), used):
        raise SystemExit(f"{path}: t2d and d2t disagree")
    weights = {name: tensor.to(dtype).requires_grad_() for name, tensor in tensors.items()}
    return weights, Vocabulary(used, member)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="capture store")
    parser.add_argument("--target", type=Path, required=True, help="target folder (embedding, LM head, config)")
    parser.add_argument("--weights", type=Path, required=True, help="draft weights, with t2d and d2t")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draft-config", type=Path, help="the draft's config.json; default: the target's sizes")
    parser.add_argument("--ttt-length", type=int, default=7)
    parser.add_argument("--step-decay", type=float, default=0.8)
    parser.add_argument("--conversations", type=int, help="first N conversations; default: all")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--recompute-argmax", action="store_true", help="ignore teacher_argmax of the store")
    arguments = parser.parse_args()

    dtype = getattr(torch, arguments.dtype)
    weights, vocabulary = read_weights(arguments.weights, dtype)
    summary, gradients = training_step(
        weights, read_shape(arguments.target, arguments.draft_config), read_target(arguments.target, dtype),
        vocabulary, read_conversations(arguments.store, arguments.conversations),
        arguments.ttt_length, arguments.step_decay, arguments.recompute_argmax)
    conversations = arguments.conversations or len(read_conversations(arguments.store, None))
    summary |= {
        "ttt_length": arguments.ttt_length, "step_decay": arguments.step_decay, "conversations": conversations}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "step.json").write_text(json.dumps(summary, indent=2) + "\n")
    # float32 is enough for a comparison, even if the sums were computed in float64.
    save_file({name: g.float().contiguous() for name, g in gradients.items()}, str(arguments.output / "gradients.safetensors"))
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
