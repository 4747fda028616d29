"""The forward pass of a frozen target that a capture needs, by transformers.

The peer that EagleTrain's capture is timed against: transformers' own Llama or Qwen3 model of the target's exact shape
on random weights, attention by torch's scaled_dot_product_attention, one conversation at a time. Of each conversation
it makes what a capture keeps: the concatenated states of three layers, the state after the final norm, and of every
row's logits the argmax and the logsumexp. The logits are made 512 rows at a time to bound their memory.

bf16: the weights and all arithmetic of the model are bfloat16. peak_rss includes making the weights.

Usage: python target_forward.py [--shape smollm2-135m] [--tokens 512] [--conversations C]
           [--precision fp32|bf16] [--threads N] [--repeat 3] [--json]
"""

import torch
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig,
                          Qwen3MoeForCausalLM)
from transformers.initialization import no_init_weights

from benchmark import DTYPES, SHAPES, make_parser, median_seconds, parse, report

LOGIT_ROWS = 512
SEED = 0
MODELS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM),
          "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM)}


def make_config(config):
    """The target's config, as its Hugging Face folder has it."""
    keys = {key: value for key, value in config.items() if key not in ("model_type", "torch_dtype")}
    return MODELS[config["model_type"]][0](**keys, attention_dropout=0.0, initializer_range=0.02)


@torch.no_grad()
def make_model(config, dtype, generator):
    """The model with random matrices, made in its own precision; norm weights are 1."""
    model_class = MODELS[config["model_type"]][1]
    with no_init_weights():  # the usual initialisation would write every weight twice
        model = model_class._from_config(make_config(config), dtype=dtype, attn_implementation="sdpa")
    model.tie_weights()
    for parameter in model.parameters():
        if parameter.dim() >= 2:  # experts are stacked
            parameter.normal_(0, model.config.initializer_range, generator=generator)
        else:
            parameter.fill_(1)
    return model.eval()


@torch.no_grad()
def capture(model, ids, layers):
    """aux [T, 3H], last [T, H], argmax [T] and logsumexp [T] of one conversation."""
    result = model.model(ids[None], use_cache=False, output_hidden_states=True)
    aux = torch.cat([result.hidden_states[layer + 1][0] for layer in layers], -1)
    last = result.last_hidden_state[0]
    argmax, logsumexp = [], []
    for rows in last.split(LOGIT_ROWS):
        logits = model.lm_head(rows)
        argmax.append(logits.argmax(-1))
        logsumexp.append(torch.logsumexp(logits.float(), -1))
    return aux, last, torch.cat(argmax), torch.cat(logsumexp)


def main():
    arguments = parse(make_parser(__doc__))
    shape = SHAPES[arguments.shape]
    generator = torch.Generator().manual_seed(SEED)
    model = make_model(shape.config, DTYPES[arguments.precision], generator)
    conversations = [torch.randint(shape.vocabulary, (arguments.tokens,), generator=generator)
                     for _ in range(arguments.conversations)]

    def run():
        for ids in conversations:
            capture(model, ids, shape.captured_layers)

    report("target_forward", ["torch", "transformers"], arguments, median_seconds(run, arguments.repeat))


if __name__ == "__main__":
    main()
