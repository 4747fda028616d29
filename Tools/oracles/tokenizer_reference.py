"""Token ids and chat renderings by Hugging Face's tokenizers and transformers.

What it proves: EagleTrain's tokenizer and chat template give the same ids and the same text on strings chosen to be
awkward (scripts, emoji, combining marks, runs of spaces, control characters, special tokens).

--text: a .json file (list of strings) or any other file (one string a line). --conversations: a .json file, a list of
{"messages": [{"role", "content"}], "add_generation_prompt": bool}.
Writes {"origin", "texts": [{"text", "ids", "decoded"}], "conversations": [{"messages", "add_generation_prompt", "text",
"ids"}]}. Text is encoded without automatic special tokens; special tokens inside the text are recognised. "decoded"
(special tokens kept) stands only where it differs from the text: a byte that the vocabulary lacks is dropped.

Versions used: tokenizers 0.23, transformers 5.23.
Usage: python tokenizer_reference.py --model DIR --text FILE --output FILE.json [--conversations FILE.json]
"""

import argparse
import hashlib
import json
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer
from transformers import AutoTokenizer


def read_texts(path):
    content = path.read_text(encoding="utf-8")
    return json.loads(content) if path.suffix == ".json" else content.removesuffix("\n").split("\n")


def encode(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    return {"text": text, "ids": ids} | ({} if decoded == text else {"decoded": decoded})


def render(tokenizer, fast, conversation):
    messages, header = conversation["messages"], conversation.get("add_generation_prompt", False)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=header)
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=header, return_dict=True)["input_ids"]
    assert ids == fast.encode(text, add_special_tokens=False).ids, "template ids are not the ids of the rendered text"
    return {"messages": messages, "add_generation_prompt": header, "text": text, "ids": ids}


def write_lines(path, content):
    """Compact JSON with a line for each text and conversation; returns it."""
    lines = json.dumps(content, separators=(",", ":")).replace('},{"text"', '},\n{"text"').replace('},{"messages"', '},\n{"messages"')
    path.write_text(lines + "\n", encoding="ascii")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--conversations", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    tokenizer_file = arguments.model / "tokenizer.json"
    fast, tokenizer = Tokenizer.from_file(str(tokenizer_file)), AutoTokenizer.from_pretrained(arguments.model)
    conversations = json.loads(arguments.conversations.read_text(encoding="utf-8")) if arguments.conversations else []
    origin = {"script": "tokenizer_reference.py", "tokenizers": tokenizers.__version__,
              "transformers": transformers.__version__,
              "tokenizer_json_sha256": hashlib.sha256(tokenizer_file.read_bytes()).hexdigest()}
    texts = [encode(fast, text) for text in read_texts(arguments.text)]
    for entry in texts:
        assert entry["ids"] == tokenizer(entry["text"], add_special_tokens=False)["input_ids"], entry["text"]
    content = {"origin": origin, "texts": texts,
               "conversations": [render(tokenizer, fast, conversation) for conversation in conversations]}
    lines = write_lines(arguments.output, content)
    print(f"{len(texts)} texts, {sum('decoded' in entry for entry in texts)} of them not restored by decoding, "
          f"{len(conversations)} conversations, {len(lines)} bytes")


if __name__ == "__main__":
    main()
