"""Agents of LangChain and of OpenAI's Agents SDK complete tool loops with `eagle-run serve`. Ends with an error where something is not as it should be.

    python check_agents.py

The model is the one of Tools/fixtures/make_tool_model.py, whose weights are set by hand: it reasons, calls the tools
`add` and `multiply` with 2 and 3, and answers when their results are in its prompt. All else is real: the server, its
parsers, HTTP and the agents, which run the tools themselves.
"""

import argparse
import asyncio
import pathlib
import sys
import tempfile
from importlib.metadata import version

import agents
import openai
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from served import ROOT, Served

sys.path.insert(0, str(ROOT / "Tools/fixtures"))
from make_tool_model import write_model  # noqa: E402

QUESTION = "What are the sum and the product of 2 and 3?"
ANSWER = "The sum is 5 and the product is 6."
FAILED = "The tool failed."
checks = 0
ran = []


def check(condition, what):
    global checks
    if not condition:
        raise SystemExit(f"not as it should be: {what}")
    checks += 1
    print("ok:", what)


def ran_both(what):
    check(sorted(ran) == [("add", 2, 3), ("multiply", 2, 3)], f"{what} ran both tools with the model's arguments")
    ran.clear()


def add(a: int, b: int) -> str:
    """The sum of two numbers."""
    ran.append(("add", a, b))
    return str(a + b)


def multiply(a: int, b: int) -> str:
    """The product of two numbers."""
    ran.append(("multiply", a, b))
    return str(a * b)


def broken(a: int, b: int) -> str:
    """The product of two numbers."""
    ran.append(("multiply", a, b))
    return "# out of order"


def with_langchain(url, model, *, responses):
    name = f"LangChain's agent by /v1/{'responses' if responses else 'chat/completions'}"
    chat = ChatOpenAI(base_url=url + "/v1", api_key="none", model=model, max_retries=0, use_responses_api=responses)
    agent = create_agent(chat, tools=[tool(add), tool(multiply)], system_prompt="You calculate.")
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    messages = agent.invoke(question)["messages"]
    check(messages[-1].text == ANSWER, f"{name} gets the answer")
    ran_both(name)
    check([len(message.tool_calls) for message in messages if isinstance(message, AIMessage)] == [2, 0]
          and [message.content for message in messages if isinstance(message, ToolMessage)] == ["5", "6"],
          "with two calls and their results between")
    updates = [update for part in agent.stream(question, stream_mode="messages") for update in part[:1]]
    text = "".join(update.text for update in updates if not isinstance(update, ToolMessage))
    check(text == ANSWER, f"{name} gets the same as a stream, in {len(updates)} parts")
    ran_both(name)
    failing = create_agent(chat, tools=[tool(add), tool("multiply")(broken)])
    check(failing.invoke(question)["messages"][-1].text == FAILED, "what a tool returns reaches the model")
    ran_both(name)


async def with_agents(url, model, *, responses):
    kind = agents.OpenAIResponsesModel if responses else agents.OpenAIChatCompletionsModel
    name = f"the Agents SDK by /v1/{'responses' if responses else 'chat/completions'}"
    client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    agent = agents.Agent(
        name="calculator", instructions="You calculate.", model=kind(model, client),
        tools=[agents.function_tool(add), agents.function_tool(multiply)])
    result = await agents.Runner.run(agent, QUESTION)
    check(result.final_output == ANSWER, f"{name} gets the answer")
    ran_both(name)
    calls = [item for item in result.new_items if isinstance(item, agents.ToolCallItem)]
    outputs = [item.output for item in result.new_items if isinstance(item, agents.ToolCallOutputItem)]
    check(len(calls) == 2 and outputs == ["5", "6"], "with two calls and their results between")
    check(result.context_wrapper.usage.requests == 2 and result.context_wrapper.usage.output_tokens > 0,
          f"two requests, {result.context_wrapper.usage.output_tokens} tokens written")
    stream = agents.Runner.run_streamed(agent, QUESTION)
    kinds = [event.type async for event in stream.stream_events()]
    check(stream.final_output == ANSWER, f"{name} gets the same as a stream, in {len(kinds)} events")
    ran_both(name)
    # The next turn sends the whole conversation, with its calls and reasoning.
    again = await agents.Runner.run(agent, result.to_input_list() + [{"role": "user", "content": "Again."}])
    check(again.final_output == ANSWER, f"{name} goes on with its own history")
    ran.clear()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(ROOT / ".build/release/eagle-run"))
    options = parser.parse_args()
    agents.set_tracing_disabled(True)
    with tempfile.TemporaryDirectory() as folder:
        options.target, options.draft = str(pathlib.Path(folder) / "calculator"), None
        write_model(options.target)
        with Served(options) as served:
            for responses in (False, True):
                with_langchain(served.url, "calculator", responses=responses)
                asyncio.run(with_agents(served.url, "calculator", responses=responses))
        check(served.status == 0, "SIGTERM ends the server in order")
    names = ["openai", "langchain", "langchain-openai", "openai-agents"]
    print(f"{checks} checks with {', '.join(f'{name} {version(name)}' for name in names)}: all as they should be")


if __name__ == "__main__":
    main()
