"""Hidden states and greedy tokens of a target model, by transformers in float32.

What it proves: with compare_target.py, that EagleTrain's target forward pass, capture and greedy decoding agree with
the reference implementation (bfloat16 weights widened to float32, eager attention).

Input: prompts (JSON lines with "turns": [first user message, ...] or "prompt"; only the first turn is used), rendered
by the tokenizer's chat template with the assistant header at the end, or with --raw as they are, which base models
without a template take; or the conversations of a capture store.
Layers are 0-based ids whose OUTPUT is recorded, hidden_states[layer + 1]; default 1, L/2 - 1, L - 4.

Writes PREFIX.safetensors: prompt{i}.ids int32 [T], prompt{i}.aux float32 [T, 3H], prompt{i}.last float32 [T, H] (after
the final norm); and PREFIX.json {"origin", "layers", "prompts": [{"name", "ids", "text", "greedy", "margins"}]}.
With --spread the JSON also has "bfloat16_spread": the relative differences between transformers' own bfloat16 states and
its float32 states, root mean square over the rows of a prompt and the worst prompt's, for the three layers and the final
state: what bfloat16 arithmetic may cost. Each row counts alike, since the first token's state can be twenty times as large as
all others together, and its error is then that of one rounded number.
"greedy" stops after an end-of-sequence token unless --ignore-eos; "margins" are the gaps between the best and the
second logit, so that a difference at a near tie can be told from an error. Greedy decoding is skipped for a store.
With --logits PREFIX.safetensors also has prompt{i}.logits float32 [tokens, V], from which each greedy token was taken.

Versions used: transformers 5.23, torch 2.15, safetensors 0.8.
Usage: python target_reference.py --model DIR (--prompts FILE.jsonl | --store DIR) --output PREFIX
           [--count 20] [--tokens 64] [--layers 1 14 26] [--ignore-eos] [--greedy-only] [--spread] [--raw] [--logits]
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from capture_store import read_conversations


def load_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def bfloat16_spread(folder, states, count, layers):
    """Relative differences of the captured layers and the final state, the worst of all prompts."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").eval()
    worst = [0.0] * (len(layers) + 1)
    for number in range(count):
        aux, last = captured_states(model, states[f"prompt{number}.ids"].tolist(), layers)
        exact = [*states[f"prompt{number}.aux"].chunk(len(layers), -1), states[f"prompt{number}.last"]]
        for slot, (ours, reference) in enumerate(zip([*aux.chunk(len(layers), -1), last], exact)):
            errors = (ours.float() - reference).norm(dim=-1) / reference.norm(dim=-1)
            worst[slot] = max(worst[slot], errors.square().mean().sqrt().item())
    return worst


def default_layers(count):
    return [1, count // 2 - 1, count - 4]


def read_prompts(path, count):
    """(name, user message) of the first lines."""
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.strip()][:count]
    return [(str(line.get("id", line.get("question_id", number))), line["turns"][0] if "turns" in line else line["prompt"])
            for number, line in enumerate(lines)]


def render(tokenizer, message, is_raw):
    if is_raw:
        return tokenizer(message)["input_ids"]
    messages = [{"role": "user", "content": message}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]


@torch.no_grad()
def captured_states(model, ids, layers):
    """aux [T, 3H] and the state after the final norm [T, H]."""
    result = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    last = result.hidden_states[-1][0]
    torch.testing.assert_close(model.lm_head(last), result.logits[0])  # the last one is after the final norm
    return torch.cat([result.hidden_states[layer + 1][0] for layer in layers], -1), last


@torch.no_grad()
def greedy(model, ids, count, stops):
    """Tokens, the gap between the best and the second logit of each, and the logits [tokens, V]."""
    tokens, margins, logits, cache = [], [], [], None
    step = torch.tensor([ids])
    while len(tokens) < count:
        result = model(step, past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        logits.append(result.logits[0, -1])
        best = logits[-1].topk(2)
        tokens.append(best.indices[0].item())
        margins.append(round((best.values[0] - best.values[1]).item(), 6))
        if tokens[-1] in stops:
            break
        step = best.indices[:1][None]
    return tokens, margins, torch.stack(logits)


def stop_ids(model):
    ids = model.generation_config.eos_token_id
    ids = model.config.eos_token_id if ids is None else ids
    return set(ids if isinstance(ids, list) else [ids])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompts", type=Path)
    source.add_argument("--store", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="prefix of the two files")
    parser.add_argument("--count", type=int, default=20, help="prompts or conversations")
    parser.add_argument("--tokens", type=int, default=64, help="greedy tokens per prompt")
    parser.add_argument("--layers", type=int, nargs=3)
    parser.add_argument("--ignore-eos", action="store_true")
    parser.add_argument("--spread", action="store_true", help="also compare with transformers in bfloat16")
    parser.add_argument("--raw", action="store_true", help="prompts without a chat template")
    parser.add_argument("--logits", action="store_true", help="also write the logits of greedy tokens")
    parser.add_argument("--greedy-only", action="store_true", help="write no states")
    arguments = parser.parse_args()

    model, tokenizer = load_model(arguments.model), AutoTokenizer.from_pretrained(arguments.model)
    layers = arguments.layers or default_layers(model.config.num_hidden_layers)
    if arguments.store:
        inputs = [(f"conversation {i}", c.ids.tolist())
                  for i, c in enumerate(read_conversations(arguments.store, arguments.count))]
    else:
        inputs = [(name, render(tokenizer, message, arguments.raw))
                  for name, message in read_prompts(arguments.prompts, arguments.count)]
    stops = set() if arguments.ignore_eos else stop_ids(model)

    states, prompts = {}, []
    for number, (name, ids) in enumerate(inputs):
        record = {"name": name, "ids": ids}
        if not arguments.greedy_only:
            aux, last = captured_states(model, ids, layers)
            states |= {f"prompt{number}.ids": torch.tensor(ids, dtype=torch.int32),
                       f"prompt{number}.aux": aux.contiguous(), f"prompt{number}.last": last.contiguous()}
        if arguments.prompts:
            tokens, margins, logits = greedy(model, ids, arguments.tokens, stops)
            if arguments.logits:
                states[f"prompt{number}.logits"] = logits.contiguous()
            record |= {"text": tokenizer.decode(tokens), "greedy": tokens, "margins": margins}
        prompts.append(record)
        print(f"{number} {name}: {len(ids)} tokens, {record.get('text', '')[:60]!r}", flush=True)

    origin = {"script": "target_reference.py", "torch": torch.__version__, "transformers": transformers.__version__,
              "dtype": "float32", "stops": sorted(stops)}
    content = {"origin": origin, "layers": layers, "prompts": prompts}
    if arguments.spread:
        content["bfloat16_spread"] = bfloat16_spread(arguments.model, states, len(inputs), layers)
        print("bfloat16 spread", content["bfloat16_spread"])
    Path(f"{arguments.output}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    if states:
        save_file(states, f"{arguments.output}.safetensors")
        Path(f"{arguments.output}.safetensors").chmod(0o644)  # safetensors makes the file private


if __name__ == "__main__":
    main()
