"""Greedy speculative decoding of a target with an exported head by OpenVINO GenAI.

What it proves: with compare_decode.py, that another engine reads the export, drafts the same tokens with it and arrives
at the same text and the same acceptance length as EagleTrain.

Both folders are exported to OpenVINO's format with optimum-intel, float32 weights, and run in float32 with a float32
key-value cache: the defaults (float16 or bfloat16 arithmetic, 8-bit cache) would change greedy texts. The export of the
head has no embedding; the pipeline gives the draft the target's.

Prompts: JSON lines with "turns" or "prompt"; the first turn, rendered by the target's chat template with the assistant
header. The pipeline gets token ids, so its own tokenizer has no say.

Acceptance, per prompt, from the counters `extended_perf_metrics.main_model_metrics.raw_metrics.m_batch_sizes`: one entry
for each pass of the target, the tokens that it gave. The first entry is the prompt's pass.
  target_passes   entries after the first
  decoded_tokens  new tokens less the first entry (a last pass may give more than --max-tokens has room for)
  acc_length      decoded_tokens / target_passes
"drafted" and "accepted" are the pipeline's own get_num_draft_tokens() and get_num_accepted_tokens().
"plain" are transformers' greedy tokens in float32, "margins" its gaps between the best and the second logit; this half
is the slower one, and --skip-plain leaves it out.

Writes {"origin", "draft_length", "max_tokens", "acc_length", "target_passes", "decoded_tokens",
"prompts": [{"kind", "name", "message", "ids", "greedy", "plain", "margins", ...}]}; compare_target.py reads it too.

Versions used: openvino-genai 2026.4.1, optimum-intel 2.2.0, nncf 3.4.0, transformers 4.57.6, torch 2.15.
Usage: python openvino_decode.py --target DIR --draft DIR --prompts FILE.jsonl [FILE.jsonl ...] --output FILE.json
           [--count 4] [--max-tokens 64] [--draft-length 3] [--converted DIR] [--layers 1 14 26] [--skip-plain]
"""

import argparse
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import openvino
import openvino_genai
from optimum.exporters.openvino import main_export
from optimum.intel import OVConfig
from transformers import AutoTokenizer

from target_reference import default_layers, greedy, load_model, read_prompts, render, stop_ids

PACKAGES = ("openvino", "openvino-genai", "optimum-intel", "nncf", "transformers", "torch")
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


# ---------------------------------------------------------------- export

def export(model, folder, **options):
    if not (folder / "openvino_model.xml").exists():
        main_export(str(model), str(folder), task="text-generation-with-past", ov_config=OVConfig(dtype="fp32"), **options)


def set_layers(folder, layers):
    """Names the target layers whose output the draft gets.

    Left alone, the pipeline takes the outputs of layers 2, L/2 and L-3, one later than the layers that EAGLE-3 heads are
    trained on: those numbers count "before layer", the pipeline reads them as "after layer".
    """
    path, changed = folder / "openvino_model.xml", folder / "changed.xml"
    model = openvino.Core().read_model(path)
    model.set_rt_info(layers, "hidden_layers_list")
    openvino.save_model(model, changed, compress_to_fp16=False)
    del model  # it maps the old weights into memory
    changed.with_suffix(".bin").replace(path.with_suffix(".bin"))
    changed.replace(path)


def convert(arguments, folder):
    """(target, draft) in OpenVINO's format under `folder`."""
    target, draft = folder / "target", folder / "draft"
    count = json.loads((arguments.target / "config.json").read_text())["num_hidden_layers"]
    export(arguments.target, target, convert_tokenizer=True)
    export(arguments.draft, draft, trust_remote_code=True)  # optimum loads its own EAGLE-3 class as remote code
    set_layers(draft, arguments.layers or default_layers(count))
    return target, draft


# ---------------------------------------------------------------- decoding

def make_pipeline(target, draft):
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False  # prompts share a prefix, but every prompt must be computed as a whole
    scheduler.max_num_batched_tokens = 8192  # and in one pass
    assistant = openvino_genai.draft_model(str(draft), "CPU", **FLOAT32)
    return openvino_genai.LLMPipeline(str(target), "CPU", draft_model=assistant, scheduler_config=scheduler, **FLOAT32)


def generation_config(pipeline, arguments):
    config = pipeline.get_generation_config()  # knows the end-of-sequence ids of the target
    config.do_sample = False
    config.max_new_tokens = arguments.max_tokens
    config.num_assistant_tokens = arguments.draft_length
    return config


def decode(pipeline, config, ids):
    inputs = openvino_genai.TokenizedInputs(openvino.Tensor(np.array([ids], dtype=np.int64)),
                                            openvino.Tensor(np.ones((1, len(ids)), dtype=np.int64)))
    result = pipeline.generate(inputs, config)
    tokens, metrics = list(result.tokens[0]), result.extended_perf_metrics
    first, *passes = metrics.main_model_metrics.raw_metrics.m_batch_sizes
    return {"greedy": tokens, "pass_tokens": [first, *passes],
            "drafted": metrics.get_num_draft_tokens(), "accepted": metrics.get_num_accepted_tokens(),
            "decoded_tokens": len(tokens) - first, "target_passes": len(passes),
            "acc_length": (len(tokens) - first) / max(1, len(passes))}


def rendered_prompts(arguments):
    tokenizer = AutoTokenizer.from_pretrained(arguments.target)
    return [{"kind": path.stem, "name": name, "message": message, "ids": render(tokenizer, message)}
            for path in arguments.prompts for name, message in read_prompts(path, arguments.count)]


def add_plain(records, model, limit):
    """transformers' own greedy tokens and their margins."""
    stops = stop_ids(model)
    for record in records:
        record["plain"], record["margins"], _ = greedy(model, record["ids"], limit, stops)


def summary(records):
    decoded, passes = (sum(record[name] for record in records) for name in ("decoded_tokens", "target_passes"))
    figures = {"count": len(records), "acc_length": decoded / max(1, passes), "decoded_tokens": decoded,
               "target_passes": passes}
    if all("plain" in record for record in records):
        figures["equal_to_plain"] = sum(record["greedy"] == record["plain"] for record in records)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, required=True, help="target folder")
    parser.add_argument("--draft", type=Path, required=True, help="folder that EagleTrain exported")
    parser.add_argument("--prompts", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4, help="first N prompts of each file")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--draft-length", type=int, default=3)
    parser.add_argument("--layers", type=int, nargs=3, help="target layers; default: 1, L/2 - 1, L - 4")
    parser.add_argument("--converted", type=Path, help="keeps the converted models, or uses what is there")
    parser.add_argument("--skip-plain", action="store_true", help="no greedy tokens by transformers")
    arguments = parser.parse_args()

    records = rendered_prompts(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        pipeline = make_pipeline(*convert(arguments, arguments.converted or Path(temporary)))
        config = generation_config(pipeline, arguments)
        for record in records:
            record |= decode(pipeline, config, record["ids"])
            print(f"{record['name']}: acc_length {record['acc_length']:.2f}", file=sys.stderr, flush=True)
        del pipeline
    if not arguments.skip_plain:
        add_plain(records, load_model(arguments.target), arguments.max_tokens)

    origin = {"script": "openvino_decode.py"} | {name: importlib.metadata.version(name) for name in PACKAGES}
    figures = {"draft_length": arguments.draft_length, "max_tokens": arguments.max_tokens} | summary(records)
    content = {"origin": origin} | figures | {"prompts": records}
    arguments.output.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({"origin": origin} | figures))


if __name__ == "__main__":
    main()
