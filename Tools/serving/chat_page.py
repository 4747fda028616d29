"""Uses the chat page in a real browser: asks, reads what is shown, and takes a picture.

Drives headless Chromium (Debian's package `chromium`) over its DevTools port.

    python chat_page.py --target models/SmolLM2-135M-Instruct --draft checkpoints/quickstart/export --output docs/images/chat.png
"""

import json
import base64
import io
import re
import subprocess
import tempfile
import time
import urllib.request

import websocket
from PIL import Image

from served import Served, arguments

QUESTIONS = ["What is a river? Answer in two sentences.", "And why does it matter for a city?"]
KEY = "a key of the test"


class Browser:
    """One page of a headless Chromium."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             "--remote-allow-origins=*", f"--user-data-dir={self.folder.name}", "about:blank"],
            stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"ws://127\.0\.0\.1:(\d+)/", line)
            if found:
                break
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/json"))
        page = next(page for page in pages if page["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60)
        self.number = 0
        self.messages = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            # What the page complains about.
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.messages.append(answer["params"])

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise SystemExit(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, seconds=120):
        end = time.time() + seconds
        while not self.value(expression):
            if time.time() > end:
                raise SystemExit(f"never true: {expression}")
            time.sleep(0.05)

    def look(self, *, dark, width=900, height=680, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def type(self, text):
        self.value("document.getElementById('text').focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                      **({"text": "\r"} if kind == "keyDown" else {}))


def save(png, path):
    """A palette keeps the picture of a page small."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def check(condition, what):
    if not condition:
        raise SystemExit(f"not as it should be: {what}")
    print("ok:", what)


def ask(page, question):
    count = page.value("document.querySelectorAll('article.assistant').length")
    page.type(question)
    page.press_enter()
    page.wait(f"document.querySelectorAll('article.assistant').length === {count + 1}")
    page.wait("document.querySelector('article.assistant:last-of-type small') !== null")
    return page.value("""(() => {
      const last = document.querySelector('article.assistant:last-of-type');
      return {text: last.querySelector('span').textContent, note: last.querySelector('small').textContent,
              error: last.querySelector('small').className, marks: last.querySelectorAll('mark').length};
    })()""")


def talk(page, url, speculative):
    page.call("Page.navigate", url=url + "/")
    page.wait("document.readyState === 'complete'")
    answer = ask(page, "Hello?")
    check(answer["error"] == "error" and "API key" in answer["note"], f"without the key: {answer['note']}")
    page.value(f"sessionStorage.setItem('key', {json.dumps(KEY)}); location.reload()")
    page.wait("document.getElementById('model').textContent !== 'eagle-run'")
    page.value("document.getElementById('limit').value = 120")
    for question in QUESTIONS:
        answer = ask(page, question)
        check(answer["error"] == "" and len(answer["text"]) > 20, f"an answer: {answer['text'][:60]!r}")
        check(re.fullmatch(r"\d+ tokens · \d+\.\d tokens/s · acc_length \d\.\d\d", answer["note"]), answer["note"])
        if speculative:
            check(answer["marks"] > 0, f"{answer['marks']} stretches of text are marked as the draft's")


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


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="PNG of the page; one with -dark and one with -phone in its name lie beside "
                        "it with --all")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    with Served(options, key=KEY) as served, Browser() as page:
        talk(page, served.url, options.draft is not None)
        save(page.look(dark=False), options.output)
        if options.all:
            save(page.look(dark=True), options.output.replace(".png", "-dark.png"))
            save(page.look(dark=False, width=390, height=780), options.output.replace(".png", "-phone.png"))
        stop(page, served)
        refused = [m for m in page.messages if "401" not in json.dumps(m)]
        check(not refused, f"the browser has nothing to complain about {refused or ''}")


if __name__ == "__main__":
    main()
