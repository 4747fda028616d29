"""Speed of a served model: one request alone, and several at once, written together and in turn.

The two servers take turns, so that a slow moment of the machine falls on both; ratios are those of a round.

    python measure.py --target models/SmolLM2-135M-Instruct --draft checkpoints/quickstart/export --rounds 5
"""

import asyncio
import json
import statistics
import time

import openai

from served import Served, arguments

WORDS = ["rain", "gravity", "bread", "a prime number", "a bridge", "music", "the moon", "salt", "a map", "trade", "glass",
         "a poem", "ice", "a clock", "wool", "an echo"]


async def ask(client, word, tokens):
    answer = await client.chat.completions.create(
        model=client.served, temperature=0, max_tokens=tokens,
        messages=[{"role": "user", "content": f"Explain in a few sentences what {word} is."}])
    return answer.usage.completion_tokens


async def speed(client, words, tokens):
    """Tokens a second over all requests, prompts and waiting included."""
    begin = time.time()
    counts = await asyncio.gather(*[ask(client, word, tokens) for word in words])
    return sum(counts) / (time.time() - begin)


async def rounds(options, together, turn):
    table = {}
    for number in range(options.rounds):
        words = WORDS[number:] + WORDS[:number]
        for count in options.counts:
            for name, client in (("together", together), ("in turn", turn)):
                rate = await speed(client, words[:count], options.tokens)
                table.setdefault((count, name), []).append(rate)
    return table


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    with Served(options, "--batch", str(options.batch)) as together, Served(options, "--batch", "1") as turn:
        clients = []
        for served in (together, turn):
            client = openai.AsyncOpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0, timeout=600)
            client.served = openai.OpenAI(base_url=served.url + "/v1", api_key="none").models.list().data[0].id
            clients.append(client)
        table = asyncio.run(rounds(options, *clients))
    print("requests at once   together   in turn   ratio (median of rounds, tokens/s over all)")
    for count in options.counts:
        a, b = table[count, "together"], table[count, "in turn"]
        ratio = statistics.median(x / y for x, y in zip(a, b))
        print(f"{count:16d} {statistics.median(a):10.1f} {statistics.median(b):9.1f} {ratio:7.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({f"{count} {name}": rates for (count, name), rates in table.items()}, file, indent=1)


if __name__ == "__main__":
    main()
