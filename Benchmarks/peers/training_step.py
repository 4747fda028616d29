"""One optimiser step of an EAGLE-3 draft head, as an eager PyTorch program does it.

The peer that EagleTrain's training step is timed against. It is written the usual way: every row of a conversation is
computed at every one of the K training-time-test steps, attention uses a dense mask and a cache of each step's keys and
values, the loss is masked afterwards, and autograd differentiates. Weights, states and tokens are random, seeded.

T tokens of one conversation, H hidden size, V target vocabulary, D draft vocabulary, K training-time-test length.

  step k at row p, with g_0 = fc(aux[p]):
    h       = concat(input_layernorm(embed(token[p+1+k])), hidden_norm(g_k))
    a       = g_k + o_proj(attention(q, k, v of h))        RoPE position p + k
    g_{k+1} = a + mlp(post_attention_layernorm(a))
    logits  = lm_head(norm(g_{k+1}))
  attention of row p at step k: step-0 keys of rows <= p, and of each step 1..k the key of row p itself.
  Row p counts at step k if tokens p+1 .. p+2+k all lie in the assistant span; teacher: t = W z[p+1+k].
  Loss target: softmax of t over the draft vocabulary; no loss where the argmax over V is not in the draft vocabulary.
  loss_k = sum / N_k, N_k all rows of the batch that count at step k; loss = sum_k 0.8^k loss_k.

A timed step is all of it: teacher, forward and backward of each conversation, clipping, AdamW, new gradients.
bf16: frozen tensors are bfloat16, the draft keeps fp32 masters and runs under torch.autocast.
"loss" in the JSON is that of the last step. peak_rss includes making the weights.

Usage: python training_step.py [--shape smollm2-135m|qwen3-4b] [--tokens 512] [--conversations C]
           [--assistant-share 0.5] [--ttt-length 7] [--draft-vocabulary D] [--precision fp32|bf16]
           [--threads N] [--repeat 3] [--json]
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from benchmark import DTYPES, SHAPES, make_parser, median_seconds, parse, positive, report, share

DRAFT_ROPE_THETA = 10000.0
STEP_DECAY = 0.8
LEARNING_RATE = 1e-4
CLIP_NORM = 0.5
SEED = 0


@dataclass
class Target:
    """The frozen tensors that training needs."""

    tied: torch.Tensor  # [V, H], embedding and LM head W
    used: torch.Tensor  # int64 [D], target ids of the draft vocabulary, ascending
    member: torch.Tensor  # bool [V]


@dataclass
class Conversation:
    """One conversation's tokens and captured states."""

    ids: torch.Tensor  # int64 [T]
    loss_mask: torch.Tensor  # bool [T], the assistant span
    aux: torch.Tensor  # [T, 3H] low, mid, high
    last: torch.Tensor  # [T, H] z, after the final norm


# ---------------------------------------------------------------- the draft model

def linear(inputs, outputs):
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, computed in fp32."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


class RotaryTable:
    """cos and sin of each position's angles, "rotate half" over the full head dimension."""

    def __init__(self, positions, head_dim, dtype):
        inverse = DRAFT_ROPE_THETA ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angle = torch.outer(torch.arange(positions, dtype=torch.float32), inverse).repeat(1, 2)  # [positions, d]
        self.cos, self.sin = angle.cos().to(dtype), angle.sin().to(dtype)

    def rotate(self, x, first):
        """x [heads, T, d] whose row 0 stands at position `first`."""
        rows = slice(first, first + x.shape[1])
        low, high = x.chunk(2, -1)
        return x * self.cos[rows] + torch.cat((-high, low), -1) * self.sin[rows]


class Attention(nn.Module):
    """Grouped-query attention of one step over the causal prefix and the row's own chain."""

    def __init__(self, shape):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.q_proj = linear(2 * shape.hidden, shape.heads * shape.head_dim)
        self.k_proj = linear(2 * shape.hidden, shape.kv_heads * shape.head_dim)
        self.v_proj = linear(2 * shape.hidden, shape.kv_heads * shape.head_dim)
        self.o_proj = linear(shape.heads * shape.head_dim, shape.hidden)

    def forward(self, x, mask, rotary, cache):
        """x [T, 2H]; cache holds keys and values [heads, T, d] of steps 0..k-1, step k's are appended."""
        step, group = len(cache), self.heads // self.kv_heads
        query = rotary.rotate(self.split(self.q_proj(x), self.heads), step)
        key = rotary.rotate(self.split(self.k_proj(x), self.kv_heads), step)
        value = self.split(self.v_proj(x), self.kv_heads)
        cache.append((key.repeat_interleave(group, 0), value.repeat_interleave(group, 0)))
        mixed = self.attend(query, cache, mask)
        return self.o_proj(mixed.transpose(0, 1).reshape(len(x), -1))

    def split(self, x, heads):
        return x.view(len(x), heads, self.head_dim).transpose(0, 1)

    def attend(self, query, cache, mask):
        """One joint softmax over T prefix keys and one key of each later step -> [heads, T, d]."""
        (keys, values), chain = cache[0], cache[1:]
        rows, scale = query.shape[1], self.head_dim ** -0.5
        prefix = query @ keys.transpose(1, 2) * scale + mask
        own = [(query * key).sum(-1, keepdim=True) * scale for key, _ in chain]
        weights = torch.softmax(torch.cat((prefix, *own), -1), -1, dtype=torch.float32).to(query.dtype)
        mixed = weights[..., :rows] @ values
        for step, (_, value) in enumerate(chain):
            mixed = mixed + weights[..., rows + step, None] * value
        return mixed


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, shape):
        super().__init__()
        self.gate_proj = linear(shape.hidden, shape.mlp)
        self.up_proj = linear(shape.hidden, shape.mlp)
        self.down_proj = linear(shape.mlp, shape.hidden)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Midlayer(nn.Module):
    """The draft's only decoder layer; the residual is the un-normed state."""

    def __init__(self, shape):
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.eps)
        self.hidden_norm = RMSNorm(shape.hidden, shape.eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.eps)
        self.mlp = MLP(shape)

    def forward(self, embedded, state, mask, rotary, cache):
        """embedded and state [T, H] -> the next state [T, H]."""
        both = torch.cat((self.input_layernorm(embedded), self.hidden_norm(state)), -1)
        state = state + self.self_attn(both, mask, rotary, cache)
        return state + self.mlp(self.post_attention_layernorm(state))


class Draft(nn.Module):
    """The EAGLE-3 draft head with the tensor names of its export."""

    def __init__(self, shape, draft_vocabulary):
        super().__init__()
        self.fc = linear(3 * shape.hidden, shape.hidden)
        self.midlayer = Midlayer(shape)
        self.norm = RMSNorm(shape.hidden, shape.eps)
        self.lm_head = linear(shape.hidden, draft_vocabulary)

    @torch.no_grad()
    def initialize(self, generator):
        """Linear weights N(0, 0.02); norm weights stay 1."""
        for parameter in self.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.02, generator=generator)
        return self


# ---------------------------------------------------------------- rows, teacher, loss

def padded(x, rows):
    """x with `rows` rows of zeros after its last, so that it can be read shifted."""
    return torch.cat((x, x.new_zeros(rows, *x.shape[1:])))


def counted_rows(loss_mask, steps):
    """bool [K, T]: row p counts at step k if tokens p+1 .. p+2+k all lie in one run of the mask."""
    rows, mask = len(loss_mask), padded(loss_mask, steps + 1)
    counted, result = mask[1:1 + rows], []
    for step in range(steps):
        counted = counted & mask[step + 2:step + 2 + rows]
        result.append(counted)
    return torch.stack(result)


@torch.no_grad()
def teacher(target, conversation):
    """Loss targets [T, D] and whether the row's argmax is in the draft vocabulary, bool [T]."""
    logits = F.linear(conversation.last, target.tied)  # [T, V]
    goal = torch.softmax(logits[:, target.used].float(), -1)
    return goal, target.member[logits.argmax(-1)]


def causal_mask(rows, dtype):
    """[T, T]: 0 where the key's row <= the query's row, else -inf."""
    return torch.full((rows, rows), float("-inf"), dtype=dtype).triu(1)


def conversation_losses(draft, target, conversation, counted):
    """The summed loss of each step, [K], all rows computed and then masked."""
    rows, steps, dtype = len(conversation.ids), len(counted), conversation.aux.dtype
    goal, contributes = (padded(x, steps) for x in teacher(target, conversation))
    embedded = F.embedding(padded(conversation.ids, steps), target.tied)
    mask = causal_mask(rows, dtype)
    rotary = RotaryTable(rows + steps, draft.midlayer.self_attn.head_dim, dtype)
    state, cache, losses = draft.fc(conversation.aux), [], []
    for step in range(steps):
        shifted = slice(step + 1, step + 1 + rows)
        state = draft.midlayer(embedded[shifted], state, mask, rotary, cache)
        logits = draft.lm_head(draft.norm(state))
        cross_entropy = -(goal[shifted] * torch.log_softmax(logits.float(), -1)).sum(-1)
        losses.append((cross_entropy * (counted[step] & contributes[shifted])).sum())
    return torch.stack(losses)


def training_step(draft, target, conversations, optimizer, steps, precision):
    """One optimiser step, gradients accumulated over the conversations; returns the loss of the batch."""
    counted = [counted_rows(conversation.loss_mask, steps) for conversation in conversations]
    rows = sum(mask.sum(-1) for mask in counted).clamp(min=1)  # N_k of the batch
    weight = STEP_DECAY ** torch.arange(steps) / rows
    total = 0.0
    for conversation, mask in zip(conversations, counted):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = (weight * conversation_losses(draft, target, conversation, mask)).sum()
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_(draft.parameters(), CLIP_NORM)
    optimizer.step()
    optimizer.zero_grad()
    return total


# ---------------------------------------------------------------- random data

def make_target(shape, draft_vocabulary, dtype, generator):
    tied = torch.empty(shape.vocabulary, shape.hidden, dtype=dtype).normal_(0, 0.02, generator=generator)
    used = torch.randperm(shape.vocabulary, generator=generator)[:draft_vocabulary].sort().values
    member = torch.zeros(shape.vocabulary, dtype=torch.bool).index_fill_(0, used, True)
    return Target(tied, used, member)


def make_conversation(shape, tokens, assistant_share, dtype, generator):
    """Random tokens and states; the last share of the tokens is one assistant span."""
    return Conversation(
        ids=torch.randint(shape.vocabulary, (tokens,), generator=generator),
        loss_mask=torch.arange(tokens) >= tokens - round(tokens * assistant_share),
        aux=torch.randn(tokens, 3 * shape.hidden, generator=generator).to(dtype),
        last=torch.randn(tokens, shape.hidden, generator=generator).to(dtype))


# ---------------------------------------------------------------- the program

def parse_arguments():
    parser = make_parser(__doc__)
    parser.add_argument("--assistant-share", type=share, default=0.5, help="last share of the tokens; default 0.5")
    parser.add_argument("--ttt-length", type=positive, default=7, help="K; default 7")
    parser.add_argument("--draft-vocabulary", type=positive,
                        help="D; default 16384 for smollm2-135m, 32000 for qwen3-4b")
    arguments = parse(parser)
    shape = SHAPES[arguments.shape]
    arguments.draft_vocabulary = arguments.draft_vocabulary or shape.draft_vocabulary
    if arguments.draft_vocabulary > shape.vocabulary:
        parser.error(f"--draft-vocabulary {arguments.draft_vocabulary}: the target has {shape.vocabulary} tokens")
    return arguments


def main():
    arguments = parse_arguments()
    shape, dtype = SHAPES[arguments.shape], DTYPES[arguments.precision]
    generator = torch.Generator().manual_seed(SEED)
    target = make_target(shape, arguments.draft_vocabulary, dtype, generator)
    draft = Draft(shape, arguments.draft_vocabulary).initialize(generator)
    conversations = [make_conversation(shape, arguments.tokens, arguments.assistant_share, dtype, generator)
                     for _ in range(arguments.conversations)]
    optimizer = torch.optim.AdamW(draft.parameters(), lr=LEARNING_RATE, weight_decay=0)

    losses = []
    seconds = median_seconds(
        lambda: losses.append(training_step(
            draft, target, conversations, optimizer, arguments.ttt_length, arguments.precision)),
        arguments.repeat)
    report("training_step", ["torch"], arguments, seconds, assistant_share=arguments.assistant_share,
           ttt_length=arguments.ttt_length, draft_vocabulary=arguments.draft_vocabulary, loss=losses[-1])


if __name__ == "__main__":
    main()
