"""Speed of a served model: one request alone, and several at once, batched and sequential.

Runs of the two servers are interleaved, so that a slow moment of the machine falls on both; ratios are those of a round. Beside them stand the
processor seconds of a hundred tokens, which do not depend on who else uses the machine as much as time does.

    python measure.py --target models/SmolLM2-135M-Instruct --draft checkpoints/quickstart/export --rounds 6
"""

import asyncio
import itertools
import json
import os
import statistics
import time

import openai

from served import Served, arguments

WORDS = ["rain", "gravity", "bread", "a prime number", "a bridge", "music", "the moon", "salt", "a map", "trade", "glass",
         "a poem", "ice", "a clock", "wool", "an echo"]


async def ask(client, pair, tokens):
    answer = await client.chat.completions.create(
        model=client.served, temperature=0, max_tokens=tokens,
        messages=[{"role": "user", "content": "Explain in a few sentences what {} has to do with {}.".format(*pair)}])
    return answer.usage.completion_tokens


def processor_seconds(process):
    """What a process has used so far, all its threads together."""
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def speed(client, pairs, tokens):
    """Tokens a second over all requests, prompts and waiting included, and processor seconds of a hundred tokens."""
    begin, used = time.time(), processor_seconds(client.process)
    tokens = sum(await asyncio.gather(*[ask(client, pair, tokens) for pair in pairs]))
    return tokens / (time.time() - begin), 100 * (processor_seconds(client.process) - used) / tokens


async def rounds(options, batched, sequential):
    table = {}
    # No question occurs twice, because a server with prefix caching would not compute its tokens again.
    questions = itertools.permutations(WORDS, 2)
    for number in range(options.rounds):
        for count in options.counts:
            pairs = list(itertools.islice(questions, count))
            if len(pairs) < count:
                raise SystemExit("there are not so many different questions: ask for fewer --rounds or --counts")
            # The order alternates, so that neither server is always first.
            for name, client in [("batched", batched), ("sequential", sequential)][::1 if number % 2 == 0 else -1]:
                measured = await speed(client, pairs, options.tokens)
                table.setdefault((count, name), []).append(measured)
                print(f"round {number}, {count} {name}: {measured[0]:.1f} tokens/s, {measured[1]:.1f} s", flush=True)
    return table


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    with Served(options, "--batch", str(options.batch)) as batched, Served(options, "--batch", "1") as sequential:
        clients = []
        for served in (batched, sequential):
            client = openai.AsyncOpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0, timeout=600)
            client.served = openai.OpenAI(base_url=served.url + "/v1", api_key="none").models.list().data[0].id
            client.process = served.process
            clients.append(client)
        table = asyncio.run(rounds(options, *clients))
    print("requests   tokens/s              processor seconds of 100 tokens")
    print("at once     batched    seq.  ratio   batched    seq.  ratio     (medians of rounds)")
    for count in options.counts:
        line = f"{count:7d}"
        for value in (0, 1):
            a = [measured[value] for measured in table[count, "batched"]]
            b = [measured[value] for measured in table[count, "sequential"]]
            ratio = statistics.median(x / y for x, y in zip(a, b))
            line += f" {statistics.median(a):11.1f} {statistics.median(b):8.1f} {ratio:6.2f}"
        print(line)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({f"{count} {name}": rates for (count, name), rates in table.items()}, file, indent=1)


if __name__ == "__main__":
    main()
