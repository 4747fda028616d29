"""The same head in llama.cpp and here: texts, and how many tokens a target pass gives.

Starts `llama-server` with a target and a head as GGUF files (`--spec-type`) and asks it some prompts greedily. Then
`eagle-run generate` answers the same prompts with the same files; a block drafter it reads as a folder (`--own-draft`).
Give a block drafter a `--draft-length` as long as its block: for a shorter draft llama.cpp makes a shorter block, which
the head was not trained on. Prints for each prompt whether the texts are equal and both acceptance lengths, then the
acceptance lengths over all prompts and over those with equal texts.

The acceptance length is the number of tokens per target pass after the prompt: 1 + accepted drafts / rounds. The server
gives `predicted_n` tokens, of which the prompt's pass gave one, and `draft_n_accepted` accepted drafts; all other tokens
are a round each. A near tie of logits may go another way in another program, and the texts differ from there on.

Exits 1 if no text is equal, or if the acceptance lengths over equal texts differ by more than --tolerance (relative).

Standard library only.
"""

import argparse
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


class LlamaServer:
    """A server on a free port, ended with the block."""

    def __init__(self, options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.command = [
            str(options.llama / "llama-server"), "-m", str(options.target), "-md", str(options.draft),
            "--spec-type", options.spec_type, "--spec-draft-n-max", str(options.draft_length), "--spec-draft-p-min", "0",
            "--jinja", "-c", str(options.context), "-np", "1", "-t", str(options.threads), "-ctk", "f32", "-ctv", "f32",
            "-ctkd", "f32", "-ctvd", "f32", "--host", "127.0.0.1", "--port", str(self.port), *options.server_option]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health") as answer:
                    if answer.status == 200:
                        return self
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.2)
        self.__exit__()
        self.log.seek(0)
        raise SystemExit("llama-server did not start:\n" + "".join(self.log.readlines()[-30:]))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def ask(self, prompt, tokens):
        body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": tokens,
                "cache_prompt": False}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions", json.dumps(body).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            content = json.load(answer)
        timings = content["timings"]
        accepted = timings.get("draft_n_accepted", 0)
        decoded = timings["predicted_n"] - 1
        return {"text": content["choices"][0]["message"]["content"] or "", "decoded": decoded,
                "rounds": decoded - accepted, "drafted": timings.get("draft_n", 0), "accepted": accepted,
                "prompt_tokens": content["usage"]["prompt_tokens"]}


def own_answer(options, prompt):
    command = [options.program, "generate", "--target", options.own_target or options.target, "--draft",
               options.own_draft or options.draft, "--prompt", prompt, "--max-tokens", options.max_tokens,
               "--draft-length", options.draft_length, "--temperature", 0, "--precision", options.precision, "--json"]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(f"eagle-run: {result.stderr.strip()}")
    answer = json.loads(result.stdout)
    counts = answer["counts"]
    return {"text": answer["text"], "decoded": counts["decoded_tokens"], "rounds": counts["target_passes"],
            "drafted": counts["drafted_tokens"], "accepted": sum(counts["accepted"]),
            "prompt_tokens": counts["prompt_tokens"]}


def length(answers):
    return sum(a["decoded"] for a in answers) / max(1, sum(a["rounds"] for a in answers))


def read_prompts(path, limit):
    prompts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            prompts.append(row["turns"][0] if "turns" in row else row["prompt"])
    return prompts[:limit]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of llama.cpp's programs")
    parser.add_argument("--target", type=pathlib.Path, required=True, help="the target as GGUF")
    parser.add_argument("--draft", type=pathlib.Path, required=True, help="the head as GGUF")
    parser.add_argument("--spec-type", default="draft-eagle3", choices=["draft-eagle3", "draft-dspark", "draft-dflash"])
    parser.add_argument("--prompts", type=pathlib.Path, required=True, help="JSON lines with `turns` or `prompt`")
    parser.add_argument("--program", default=str(ROOT / ".build/release/eagle-run"))
    parser.add_argument("--own-target", help="another form of the target for eagle-run, such as its folder")
    parser.add_argument("--own-draft", help="another form of the head for eagle-run")
    parser.add_argument("--limit", type=int, default=20, help="most prompts")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--draft-length", type=int, default=3)
    parser.add_argument("--precision", default="fp32", help="of eagle-run")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--server-option", action="append", default=[], help="a further option of llama-server")
    parser.add_argument("--json", type=pathlib.Path, help="file for all answers")
    return parser.parse_args()


def main():
    options = parse()
    prompts = read_prompts(options.prompts, options.limit)
    with LlamaServer(options) as server:
        theirs = [server.ask(prompt, options.max_tokens) for prompt in prompts]
    ours = [own_answer(options, prompt) for prompt in prompts]
    pairs = [{"prompt": p, "llama.cpp": a, "eagle-run": b, "equal": a["text"].strip() == b["text"].strip()}
             for p, a, b in zip(prompts, theirs, ours)]
    for pair in pairs:
        a, b = pair["llama.cpp"], pair["eagle-run"]
        print(f"{'equal ' if pair['equal'] else 'differ'}  prompt {a['prompt_tokens']} and {b['prompt_tokens']} tokens, "
              f"decoded {a['decoded']} and {b['decoded']}, acceptance {length([a]):.3f} and {length([b]):.3f}  "
              f"{pair['prompt'][:40]!r}")
    equal = [pair for pair in pairs if pair["equal"]]
    for name, chosen in (("all", pairs), ("equal texts", equal)):
        a, b = (length([pair[side] for pair in chosen]) for side in ("llama.cpp", "eagle-run"))
        print(f"{name}: {len(chosen)} prompts, acceptance length {a:.3f} in llama.cpp, {b:.3f} in eagle-run")
    if options.json:
        options.json.write_text(json.dumps(pairs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(0 if equal and abs(a - b) <= options.tolerance * b else 1)


if __name__ == "__main__":
    main()
