"""Many clients against eagle-run serve, half of which leave early. Ends with an error where something is not as it should be.

    python load_test.py --target models/SmolLM2-135M-Instruct --draft checkpoints/quickstart/export --seconds 600

Shown: no answer but 200 and 429; greedy texts of first turns equal to those of eagle-run generate; no growth of the server's
memory from the first half of the time to the second; nothing runs or waits in the end. Needs Python alone.
"""

import collections
import http.client
import json
import os
import random
import statistics
import subprocess
import threading
import time

from served import Served, arguments

TOPICS = ["rain", "gravity", "bread", "a prime number", "a bridge", "music", "the moon", "salt", "a map", "trade", "glass", "ice"]
LONG = "Here is a list of words: " + " ".join(f"{word} {number}" for number in range(60) for word in TOPICS[:8])


def questions():
    """First turns: short ones, and some that are read in several pieces."""
    short = [f"Explain in a few sentences what {a} has to do with {b}." for a in TOPICS for b in TOPICS if a < b]
    return short[:40] + [f"{LONG}. What has {topic} to do with it?" for topic in TOPICS[:4]]


def expected_texts(options, tokens):
    texts = {}
    for question in questions():
        command = [options.program, "generate", "--target", options.target, "--prompt", question, "--max-tokens", str(tokens), "--json"]
        texts[question] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["text"]
    return texts


class Load:
    def __init__(self, served, options, texts):
        self.served, self.options, self.texts = served, options, texts
        self.counts = collections.Counter()
        self.problems = []
        self.lock = threading.Lock()
        self.end = time.time() + options.seconds

    def count(self, what, problem=None):
        with self.lock:
            self.counts[what] += 1
            if problem:
                self.problems.append(problem)

    def client(self, number):
        choice = random.Random(number)
        leaves = number % 2 == 1
        while time.time() < self.end:
            try:
                self.ask(choice, leaves)
            except (OSError, http.client.HTTPException) as error:
                self.count("broken connection", f"client {number}: {error!r}")
            time.sleep(choice.random() * 0.2)

    def ask(self, choice, leaves):
        question = choice.choice(list(self.texts))
        messages = [{"role": "user", "content": question}]
        tokens, body = self.options.tokens, {}
        kind = choice.choice(["first turn", "first turn", "second turn", "sampled"])
        if kind == "second turn":
            messages += [{"role": "assistant", "content": self.texts[question]}, {"role": "user", "content": "Say more."}]
        body = {"messages": messages, "max_tokens": tokens, "temperature": 0.8 if kind == "sampled" else 0, "stream": choice.random() < 0.7}
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=600)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            if leaves and choice.random() < 0.3:
                time.sleep(choice.random())
                return self.count("left before the answer")
            answer = connection.getresponse()
            if answer.status == 429:
                answer.read()
                self.count("429")
                return time.sleep(0.5 + choice.random())
            if answer.status != 200:
                return self.count(str(answer.status), f"{answer.status}: {answer.read()[:200]}")
            if leaves and body["stream"]:
                for _ in range(choice.randrange(1, 20)):
                    answer.readline()
                return self.count("left within the answer")
            self.compare(kind, question, self.text(answer, body["stream"]))
        finally:
            connection.close()

    def text(self, answer, is_stream):
        if not is_stream:
            return json.loads(answer.read())["choices"][0]["message"]["content"]
        text, done = "", False
        for line in answer:
            if line.startswith(b"data: [DONE]"):
                done = True
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                if "error" in event:
                    self.count("error event", str(event))
                text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
        if not done:
            self.count("cut stream", "a stream ended without [DONE]")
        return text

    def compare(self, kind, question, text):
        self.count(f"answered, {kind}")
        if kind == "first turn" and text != self.texts[question]:
            self.count("other text", f"{question[:60]}: {text!r} in place of {self.texts[question]!r}")


def resident(process):
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def metric(served, name):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name + " ")))


def watch(load, served):
    """Resident memory of each minute: its median."""
    minutes, sizes, start = [], [], time.time()
    while time.time() < load.end:
        time.sleep(1)
        sizes.append(resident(served.process))
        if time.time() - start >= 60 * (len(minutes) + 1):
            minutes.append(statistics.median(sizes))
            print(f"minute {len(minutes)}: {minutes[-1] / 1e6:.0f} MB, {dict(load.counts)}", flush=True)
            sizes = []
    return minutes


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--cache-memory", default="1GB")
    options = parser.parse_args()
    texts = expected_texts(options, options.tokens)
    with Served(options, "--cache-memory", options.cache_memory, "--stop-seconds", "5") as served:
        load = Load(served, options, texts)
        threads = [threading.Thread(target=load.client, args=(number,)) for number in range(options.clients)]
        for thread in threads:
            thread.start()
        minutes = watch(load, served)
        for thread in threads:
            thread.join()
        time.sleep(2)
        left = metric(served, "eagle_running_requests") + metric(served, "eagle_queue_depth")
    print(f"{options.clients} clients, {options.seconds:.0f} s:", dict(load.counts))
    if minutes:
        print("resident MB by minute:", [round(size / 1e6) for size in minutes])
    # Caches take what the running sequences need, within their budget: the later half must need no more than the first.
    half = len(minutes) // 2
    if half > 1 and max(minutes[half:]) > 1.05 * max(minutes[:half]):
        load.problems.append(f"memory grew from {max(minutes[:half]) / 1e6:.0f} to {max(minutes[half:]) / 1e6:.0f} MB")
    if left:
        load.problems.append(f"{left:.0f} requests run or wait though all clients have gone")
    if served.status != 0:
        load.problems.append(f"the server ended with status {served.status}")
    for problem in load.problems[:20]:
        print("not as it should be:", problem)
    raise SystemExit(1 if load.problems else 0)


if __name__ == "__main__":
    main()
