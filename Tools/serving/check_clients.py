"""A session of OpenAI's own client, of LangChain's and LiteLLM's, and of curl, with a served model. Ends with an error where something is not as it should be.

    python check_clients.py --target models/SmolLM2-135M-Instruct --draft checkpoints/quickstart/export
"""

import asyncio
import json
import subprocess
import time
import urllib.request
from importlib.metadata import version

import langchain_openai
import litellm
import openai
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from served import Served, arguments

QUESTION = "Name three rivers of Europe and say one sentence about each."
KEY = "a key of the test"
checks = 0


def check(condition, what):
    global checks
    if not condition:
        raise SystemExit(f"not as it should be: {what}")
    checks += 1
    print("ok:", what)


def refused(kind, work, what):
    try:
        work()
    except kind as error:
        check(True, f"{what}: {error}")
        return error
    raise SystemExit(f"not refused: {what}")


def plain_answer(options, prompt, tokens):
    """What eagle-run generate writes."""
    command = [options.program, "generate", "--target", options.target, "--prompt", prompt,
               "--max-tokens", str(tokens), "--json"]
    if options.draft:
        command += ["--draft", options.draft]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def chat(client, model, question=QUESTION, **more):
    more = {"temperature": 0, "max_tokens": 64, **more}
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], **more)


def whole_and_streamed(client, model, options):
    expected = plain_answer(options, QUESTION, 64)
    answer = chat(client, model)
    check(answer.choices[0].message.content == expected["text"], "the greedy answer is that of eagle-run generate")
    check(answer.usage.prompt_tokens == expected["prompt_tokens"], "prompt tokens are counted")
    check(answer.usage.completion_tokens == expected["new_tokens"], "new tokens are counted")
    check(answer.choices[0].finish_reason == expected["finish_reason"], "the reason of the end is given")
    if options.draft:
        details = answer.usage.completion_tokens_details
        check(details.accepted_prediction_tokens > 0, f"{details.accepted_prediction_tokens} drafted tokens were kept, "
              f"{details.rejected_prediction_tokens} were not")
    chunks = list(chat(client, model, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    check(text == expected["text"], f"the streamed answer is the same, in {len(chunks)} chunks")
    check(chunks[-1].usage.total_tokens == answer.usage.total_tokens, "the last chunk has the usage")
    check(chunks[-1].usage.prompt_tokens_details.cached_tokens > 0, "the second time the prompt comes from the cache")
    kept = sum(chunk.eagle.get("accepted", 0) for chunk in chunks if getattr(chunk, "eagle", None))
    check(kept == (chunks[-1].usage.completion_tokens_details.accepted_prediction_tokens),
          "the extension field marks as many drafted tokens as the usage counts")


def conversation(client, model):
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "What is the capital of France?"}]
    first = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)
    messages += [{"role": "assistant", "content": first.choices[0].message.content},
                 {"role": "user", "content": "And of Italy?"}]
    second = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)
    cached = second.usage.prompt_tokens_details.cached_tokens
    check(cached >= first.usage.prompt_tokens, f"the next turn computes {second.usage.prompt_tokens - cached} of "
          f"{second.usage.prompt_tokens} prompt tokens")


def parameters(client, model):
    whole = chat(client, model).choices[0].message.content
    stop = whole[20:27]
    cut = chat(client, model, stop=["never said", stop]).choices[0].message.content
    check(cut == whole[:whole.index(stop)], "a stop string ends the text before it")
    streamed = "".join(c.choices[0].delta.content or "" for c in chat(client, model, stop=stop, stream=True))
    check(streamed == cut, "streamed as well")
    drawn = [chat(client, model, temperature=0.9, top_p=0.95, seed=seed, extra_body={"top_k": 50}).choices[0].message.content
             for seed in (1, 1, 2)]
    check(drawn[0] == drawn[1] != drawn[2], "the same seed gives the same text, another one another")
    text = client.completions.create(model=model, prompt="The three primary colours are", max_tokens=12, temperature=0)
    check(len(text.choices[0].text) > 0 and text.usage.completion_tokens <= 12, f"a completion: {text.choices[0].text!r}")
    long = chat(client, model, max_tokens=100_000, stop=list("0123456789"))
    check(long.choices[0].finish_reason in ("stop", "length"), "a limit above the room is cut to it, ten stop strings are taken")
    check(chat(client, model, max_tokens=8, top_p=0, temperature=1).choices[0].message.content
          == chat(client, model, max_tokens=8).choices[0].message.content, "top_p 0 takes the likeliest tokens")
    biased = chat(client, model, max_tokens=8, logit_bias={"28": -100}, presence_penalty=0.5, frequency_penalty=0.5, seed=2**63 + 1)
    check(len(biased.choices[0].message.content) > 0, "penalties, a bias and a seed of 64 bits are taken")
    told = chat(client, model, max_tokens=12, logprobs=True, top_logprobs=3).choices[0]
    check("".join(token.token for token in told.logprobs.content).startswith(told.message.content)
          and all(token.logprob == token.top_logprobs[0].logprob <= 0 for token in told.logprobs.content),
          f"{len(told.logprobs.content)} log-probabilities come with the greedy tokens, which are the likeliest")
    pair = client.completions.create(model=model, prompt=["One, two,", "Red, green,"], max_tokens=4, temperature=0)
    check([choice.index for choice in pair.choices] == [0, 1], "two prompts in one request")
    emoji = "".join(c.choices[0].delta.content or "" for c in
                    chat(client, model, "Repeat: 🦅 中文 Ünïcödé 🦅", stream=True))
    check("�" not in emoji, f"no character is cut: {emoji[:40]!r}")


def errors(client, model, url):
    refused(openai.NotFoundError, lambda: chat(client, "another"), "another model")
    error = refused(openai.BadRequestError, lambda: chat(client, model, n=2), "two answers at once")
    check(error.param == "n" and error.type == "invalid_request_error", "the error names the field")
    refused(openai.BadRequestError, lambda: chat(client, model, temperature=9), "a wrong temperature")
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": QUESTION}], max_tokens=4, extra_body={"surprise": 1})
    check(raw.status_code == 200 and raw.headers.get("X-Eagle-Ignored") == "surprise", "an unknown field is named in a header")
    refused(openai.BadRequestError, lambda: chat(client, model, tools=[{"type": "function", "function": {"name": "f"}}]), "tools")
    error = refused(openai.BadRequestError, lambda: chat(client, model, "word " * 9000), "a prompt that is too long")
    check(error.code == "context_length_exceeded", "with the code of the API")
    stranger = openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, lambda: chat(stranger, model), "a wrong key")
    check([m.id for m in client.models.list()] == [model], "the models are listed")
    check(client.models.retrieve(model).object == "model", "and the model by itself")


HISTORIES = {
    "two system messages": ["system", "system", "user"],
    "a user twice": ["user", "user"],
    "the assistant first": ["assistant", "user"],
    "a system message within": ["user", "assistant", "system", "user"],
    "a last message to be continued": ["user", "assistant"],
}


def histories(client, model):
    for name, roles in HISTORIES.items():
        messages = [{"role": role, "content": f"Turn {number}."} for number, role in enumerate(roles)]
        answer = client.chat.completions.create(model=model, messages=messages, max_tokens=8, temperature=0)
        check(answer.usage.completion_tokens > 0, f"a history with {name}")
    messages = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": None, "reasoning_content": "…"},
                {"role": "user", "content": [{"type": "text", "text": "Again.", "cache_control": {"type": "ephemeral"}}]}]
    check(client.chat.completions.create(model=model, messages=messages, max_tokens=8).choices, "content null and other keys")


def with_langchain(url, model):
    chat_model = langchain_openai.ChatOpenAI(base_url=url + "/v1", api_key=KEY, model=model, temperature=0, max_tokens=32, max_retries=0)
    history = [SystemMessage("Answer briefly."), SystemMessage("In English."), HumanMessage("Hello."), AIMessage("Hello!"),
               HumanMessage("Name a river.")]
    answer = chat_model.invoke(history)
    check(answer.content and answer.usage_metadata["output_tokens"] > 0, f"LangChain gets an answer: {answer.content[:40]!r}")
    check("".join(chunk.content for chunk in chat_model.stream(history)) == answer.content, "and the same as a stream")
    batch = chat_model.batch([[HumanMessage("Name a tree.")], [HumanMessage("Name a bird.")]])
    check(len(batch) == 2 and all(text.content for text in batch), "and a batch")
    texts = langchain_openai.OpenAI(base_url=url + "/v1", api_key=KEY, model=model, temperature=0, max_tokens=8, max_retries=0)
    check(len(texts.generate(["One, two,", "Red, green,"]).generations) == 2, "and completions of two prompts in one request")


def with_litellm(url, model):
    call = {"model": "openai/" + model, "api_base": url + "/v1", "api_key": KEY, "max_tokens": 32, "temperature": 0,
            "messages": [{"role": "user", "content": QUESTION}]}
    answer = litellm.completion(**call)
    check(answer.choices[0].message.content and answer.usage.completion_tokens > 0, "LiteLLM gets an answer")
    message = answer.choices[0].message.model_dump()
    again = litellm.completion(**{**call, "messages": call["messages"] + [message, {"role": "user", "content": "More."}]})
    check(again.choices[0].message.content is not None, "and takes its message back with all its keys")
    chunks = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**call, stream=True)]
    check("".join(chunks) == answer.choices[0].message.content, "and the same as a stream")


def with_responses(client, model, options):
    expected = plain_answer(options, QUESTION, 64)
    ask = {"model": model, "input": QUESTION, "temperature": 0, "max_output_tokens": 64}
    answer = client.responses.create(**ask)
    check(answer.output_text == expected["text"], "the greedy response is that of eagle-run generate")
    check(answer.usage.output_tokens == expected["new_tokens"] and answer.usage.input_tokens == expected["prompt_tokens"],
          "its tokens are counted")
    length = expected["finish_reason"] == "length"
    check(answer.status == ("incomplete" if length else "completed")
          and (answer.incomplete_details.reason == "max_output_tokens" if length else answer.incomplete_details is None),
          f"its end is given: {answer.status}")
    events = list(client.responses.create(**ask, stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    check(text == expected["text"], f"the streamed response is the same, in {len(events)} events")
    check([event.sequence_number for event in events] == list(range(len(events))), "events are numbered")
    check(events[-1].response.output[0].content[0].text == text and events[-1].response.usage.total_tokens
          == answer.usage.total_tokens, "the last event has the whole response")
    short = {"model": model, "input": "What is the capital of France?", "temperature": 0}
    with client.responses.stream(**short) as stream:
        whole = stream.get_final_response()
    check(whole.status == "completed" and whole.output_text == client.responses.create(**short).output_text,
          f"the client's own accumulation of the events agrees: {whole.output_text[:40]!r}")
    history = [{"role": "user", "content": "Hello."}, *[item.model_dump(exclude_none=True) for item in answer.output],
               {"role": "user", "content": [{"type": "input_text", "text": "Again."}]}]
    again = client.responses.create(model=model, input=history, instructions="Answer briefly.", max_output_tokens=8)
    check(again.output_text and again.instructions == "Answer briefly.", "output items come back as input")
    error = refused(openai.BadRequestError, lambda: client.responses.create(**ask, previous_response_id="resp_1"),
                    "a response that would have been stored")
    check(error.param == "previous_response_id", "by its field")
    refused(openai.NotFoundError, lambda: client.responses.retrieve("resp_1"), "a stored response")


def curl(url, model, *, body=None, path="/v1/chat/completions"):
    command = ["curl", "-sS", "-N", "-o", "-", "-w", "\n%{http_code}", url + path, "-H", f"Authorization: Bearer {KEY}"]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text, status = output.rsplit("\n", 1)
    return int(status), text


def with_curl(url, model):
    question = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0, "max_tokens": 20}
    status, text = curl(url, model, body=question)
    check(status == 200 and json.loads(text)["choices"][0]["message"]["content"], "curl gets an answer")
    status, text = curl(url, model, body={**question, "stream": True})
    check(status == 200 and text.rstrip().endswith("data: [DONE]"), "curl gets a stream")
    check(curl(url, model, path="/nowhere")[0] == 404, "curl gets 404")
    check(curl(url, model, path="/v1/chat/completions")[0] == 405, "curl gets 405")
    status, text = curl(url, model, path="/metrics")
    check(status == 200 and "eagle_generated_tokens_total" in text, "curl gets the metrics")
    head = subprocess.run(["curl", "-sSi", "-H", "Origin: https://elsewhere.example", url + "/health"],
                          check=True, capture_output=True, text=True).stdout
    check("200" in head and "access-control" not in head.lower(), "no page from elsewhere is invited")


async def together(url, model, options):
    """Four at once give the answers of one after the other."""
    client = openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0)
    questions = [f"Explain in two sentences what {word} is." for word in ("rain", "gravity", "bread", "a prime number")]

    async def ask(question):
        answer = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=60)
        return answer.choices[0].message.content

    alone = [await ask(question) for question in questions]
    at_once = await asyncio.gather(*[ask(question) for question in questions])
    same = sum(a == b for a, b in zip(alone, at_once))
    check(same == len(questions), f"{same} of {len(questions)} answers at once are those of one after the other")


def gone(client, model, url):
    """A client that goes away ends its text."""
    stream = chat(client, model, "Write a very long story.", stream=True, max_tokens=2000)
    next(iter(stream))
    stream.close()
    request = urllib.request.Request(url + "/metrics", headers={"Authorization": f"Bearer {KEY}"})
    begin = time.time()
    while "eagle_running_requests 0" not in urllib.request.urlopen(request).read().decode():
        if time.time() - begin > 60:
            raise SystemExit("the text of a client that went away still runs")
        time.sleep(0.05)
    check(True, f"a client that went away is noticed within {time.time() - begin:.2f} s")


def main():
    options = arguments(__doc__.splitlines()[0]).parse_args()
    with Served(options, key=KEY) as served:
        client = openai.OpenAI(base_url=served.url + "/v1", api_key=KEY, max_retries=0)
        model = client.models.list().data[0].id
        whole_and_streamed(client, model, options)
        conversation(client, model)
        parameters(client, model)
        errors(client, model, served.url)
        histories(client, model)
        with_responses(client, model, options)
        with_langchain(served.url, model)
        with_litellm(served.url, model)
        with_curl(served.url, model)
        asyncio.run(together(served.url, model, options))
        gone(client, model, served.url)
    check(served.status == 0, "SIGTERM ends the server in order")
    versions = f"openai {openai.__version__}, langchain-openai {version('langchain-openai')}, litellm {version('litellm')}"
    print(f"{checks} checks with {versions}: all as they should be")


if __name__ == "__main__":
    main()
