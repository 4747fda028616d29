"""Uses the chat page in a real browser: asks, reads what is shown, and takes a picture.

    python chat_page.py --target models/SmolLM2-135M-Instruct --draft checkpoints/quickstart/export --output docs/images/chat.png
"""

import argparse
import json
import re
import sys
import tempfile
import time
import urllib.request

from browser import Browser, check, save
from served import ROOT, Served, arguments

sys.path.insert(0, str(ROOT / "Tools/fixtures"))
from make_tool_model import write_model  # noqa: E402

QUESTIONS = ["What is a river? Answer in two sentences.", "And why does it matter for a city?"]
KEY = "a key of the test"


def ask(page, question):
    count = page.value("document.querySelectorAll('article.assistant').length")
    page.type(question)
    page.press_enter()
    page.wait(f"document.querySelectorAll('article.assistant').length === {count + 1}")
    page.wait("document.querySelector('article.assistant:last-of-type small') !== null")
    return page.value("""(() => {
      const last = document.querySelector('article.assistant:last-of-type');
      return {text: last.querySelector(':scope > span').textContent, note: last.querySelector('small').textContent,
              error: last.querySelector('small').className, marks: last.querySelectorAll('mark').length};
    })()""")


def talk(page, url, speculative):
    page.call("Page.navigate", url=url + "/")
    page.wait("document.readyState === 'complete'")
    answer = ask(page, "Hello?")
    check(answer["error"] == "error" and "API key" in answer["note"], f"without the key: {answer['note']}")
    page.value(f"sessionStorage.setItem('key', {json.dumps(KEY)}); location.reload()")
    page.wait("document.getElementById('model') && document.getElementById('model').textContent !== 'eagle-run'")
    page.value("document.getElementById('limit').value = 120")
    for question in QUESTIONS:
        answer = ask(page, question)
        check(answer["error"] == "" and len(answer["text"]) > 20, f"an answer: {answer['text'][:60]!r}")
        check(re.fullmatch(r"\d+ tokens · \d+\.\d tokens/s · acc_length \d\.\d\d", answer["note"]), answer["note"])
        if speculative:
            check(answer["marks"] > 0, f"{answer['marks']} stretches of text are marked as the draft's")


def reason(page, output, program):
    """A model that marks its reasoning and calls tools: reasoning stands folded away before the answer."""
    with tempfile.TemporaryDirectory() as folder:
        options = argparse.Namespace(program=program, target=folder + "/thinker", draft=None)
        write_model(options.target)
        with Served(options) as served:
            page.call("Page.navigate", url=served.url + "/")
            page.wait("document.getElementById('model') && document.getElementById('model').textContent === 'thinker'")
            answer = ask(page, "Hello?")
            save(page.look(dark=False, height=420), output.replace(".png", "-reasoning.png"))
            check_reasoning(page, answer)
            call_tools(page, output)


def check_reasoning(page, answer):
    check(answer["text"] == "I have no tools." and answer["error"] == "", "the answer is without its reasoning")
    details = page.value("""(() => {
      const details = document.querySelector('article.assistant:last-of-type details');
      return {text: details.querySelector('span').textContent, open: details.open,
              isFirst: details.nextElementSibling.textContent === 'I have no tools.'};
    })()""")
    check(details == {"text": "The user wants numbers.", "open": False, "isFirst": True},
          f"the reasoning is folded away before it: {details['text']!r}")
    check(page.value("messages.map(message => message.content).join('|')") == "Hello?|I have no tools.",
          "and is not sent with the next question")


def call_tools(page, output):
    """The model calls two tools; the page asks for their results and lets it go on."""
    parameters = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in ("add", "multiply")]
    page.value("document.getElementById('reset').click()")
    page.value(f"document.getElementById('tools').value = {json.dumps(json.dumps(tools))}")
    ask(page, "What are the sum and the product of 2 and 3?")
    calls = "Array.from(document.querySelectorAll('.call'), box => box.innerText.split('\\n').slice(0, 2).join(' '))"
    check(page.value(calls) == [f'Calls {name} {{"a":2,"b":3}}' for name in ("add", "multiply")],
          f"the calls are shown: {page.value(calls)}")
    page.type("Never mind.")
    page.press_enter()
    check(page.value("messages.length") == 2, "a message waits until the calls have their results")
    page.value("document.getElementById('text').value = ''")
    give = """(number, text) => {
      const box = document.querySelectorAll('.call')[number];
      box.querySelector('input').value = text;
      box.requestSubmit();
    }"""
    page.value(f"({give})(0, '5')")
    save(page.look(dark=False, height=520), output.replace(".png", "-tools.png"))
    page.value(f"({give})(1, '6')")
    page.wait("document.querySelectorAll('article.assistant small').length === 2")
    answer = page.value("document.querySelector('article.assistant:last-of-type > span').textContent")
    check(answer == "The sum is 5 and the product is 6.", f"the model goes on from the results: {answer!r}")
    check(page.value("messages.map(message => message.role).join()") == "user,assistant,tool,tool,assistant",
          "the conversation holds calls and results")
    page.value("document.getElementById('reset').click(); document.getElementById('tools').value = '[{'")
    answer = ask(page, "Hello?")
    check(answer["error"] == "error" and "Tools are not JSON" in answer["note"], f"damaged tools: {answer['note']}")


def stop(page, served):
    page.type("Write a long story about a lighthouse.")
    page.value("document.getElementById('limit').value = 2000")
    page.press_enter()
    page.wait("document.querySelector('article.assistant:last-of-type span').textContent.length > 40")
    check(page.value("document.getElementById('send').textContent") == "Stop", "the button stops while text comes")
    page.value("document.getElementById('send').click()")
    page.wait("document.getElementById('send').textContent === 'Send'")
    request = urllib.request.Request(served.url + "/metrics", headers={"Authorization": f"Bearer {KEY}"})
    end = time.time() + 60
    while "eagle_running_requests 0" not in urllib.request.urlopen(request).read().decode():
        if time.time() > end:
            raise SystemExit("the text runs on after Stop")
        time.sleep(0.1)
    check(True, "Stop ends the text on the server too")
    page.value("document.getElementById('reset').click()")
    check(page.value("document.querySelectorAll('article').length") == 0, "a new chat is empty")
    page.type("Write a long story about a lighthouse.")
    page.press_enter()
    page.wait("document.querySelector('article.assistant:last-of-type span').textContent.length > 40")
    page.value("document.getElementById('reset').click()")
    page.value("document.getElementById('limit').value = 20")
    answer = ask(page, "Hello?")
    check(answer["error"] == "", "a new chat during an answer takes nothing of it over")
    check(page.value("messages.map(message => message.role).join()") == "user,assistant", "and has its own messages alone")


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="PNG of the page. Ones with -reasoning and -tools in their names show an answer "
                        "with folded reasoning and calls of tools; --all adds one with -dark and one with -phone")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    with Served(options, key=KEY) as served, Browser() as page:
        talk(page, served.url, options.draft is not None)
        save(page.look(dark=False), options.output)
        if options.all:
            save(page.look(dark=True), options.output.replace(".png", "-dark.png"))
            save(page.look(dark=False, width=390, height=780), options.output.replace(".png", "-phone.png"))
        stop(page, served)
        reason(page, options.output, options.program)
        refused = [m for m in page.messages if "401" not in json.dumps(m)]
        check(not refused, f"the browser has nothing to complain about {refused or ''}")


if __name__ == "__main__":
    main()
