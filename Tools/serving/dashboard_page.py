"""Watches a training run in a real browser: numbers, updates without reload, a restart, the token, and takes a picture.

    python dashboard_page.py --output docs/images/dashboard.png
"""

import argparse
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from browser import Browser, check, save

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Columns of the table "from metrics.jsonl".
COLUMNS = ["step", "epoch", "loss", "lr", "grad_norm", "tokens_per_second"]
ROWS = """[...document.querySelectorAll('table')].filter(t => t.textContent.includes('gradient norm')).flatMap(t =>
  [...t.querySelectorAll('tbody tr')].map(r => [...r.querySelectorAll('data')].map(d => Number(d.getAttribute('value')))))"""


class Training:
    """A short run of the quickstart's recipe with a dashboard; started again it goes on."""

    def __init__(self, program, output):
        self.output = pathlib.Path(output)
        self.command = [
            program, "run", "recipes/quickstart.yaml", "--set", "data.train=[data/eaglechat-sample.jsonl]",
            "--set", "train.epochs=12", "--set", "evaluate.limit=1", "--set", "evaluate.max_new_tokens=32",
            "--set", "train.checkpoint_every=10", "--set", f"output={output}"]

    def start(self, address):
        self.process = subprocess.Popen(
            [*self.command, f"--dashboard={address}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"dashboard: (http://\S+)", line)
            if found:
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return found[1]
        raise SystemExit("the run did not start a dashboard")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def metrics(self):
        try:
            return [json.loads(line) for line in (self.output / "metrics.jsonl").read_text().splitlines()]
        except FileNotFoundError:
            return []


def newest_step(page):
    rows = page.value(ROWS)
    return int(rows[-1][0]) if rows else -1


def compare(page, run):
    """Every number of the page's table of steps stands in metrics.jsonl."""
    rows = page.value(ROWS)
    lines = {line["step"]: line for line in run.metrics()}
    for row in rows:
        expected = [lines[int(row[0])][name] for name in COLUMNS]
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(row, expected)):
            raise SystemExit(f"the page shows {row}, the file has {expected}")
    check(len(rows) > 1, f"{len(rows)} steps on the page have the numbers of metrics.jsonl, the newest is {int(rows[-1][0])}")


def wait_for_step(page, after, seconds=180):
    end = time.time() + seconds
    while newest_step(page) <= after:
        if time.time() > end:
            raise SystemExit(f"no step after {after} came to the page")
        time.sleep(0.2)


def watch(page, run, picture):
    url = run.start("127.0.0.1:0")
    page.call("Page.navigate", url=url)
    page.wait("document.readyState === 'complete'")
    page.value("window.marker = 'never loaded again'")
    wait_for_step(page, 3)
    compare(page, run)
    step = newest_step(page)
    wait_for_step(page, step)
    check(page.value("window.marker") == "never loaded again", f"steps after {step} came without a reload")
    check(run.stop() == 130, "the run has stopped")
    page.wait("document.getElementById('live').textContent.includes('does not answer')")
    check(True, "the page says that the run does not answer")
    step = newest_step(page)
    port = re.search(r":(\d+)/", url)[1]
    run.start(f"127.0.0.1:{port}")
    page.wait("document.getElementById('live').textContent.startsWith('live,')")
    wait_for_step(page, step)
    compare(page, run)
    check(page.value("window.marker") == "never loaded again", f"the page goes on after step {step} with the run started again")
    wait_for_step(page, 150)
    save(page.look(dark=False, width=1000, height=760), picture)
    check(not page.messages or all("net::ERR" in json.dumps(m) for m in page.messages),
          "the browser complains about nothing but the time without a run")
    check(run.process.wait(timeout=600) == 0, "the run has ended")


def token(run):
    url = re.sub("//[^/]+:", "//127.0.0.1:", run.start("0.0.0.0:0"))  # the machine's name may not resolve
    check(re.search(r"\?token=[0-9a-f]{32}$", url) is not None, "a page for others has a token")
    check(urllib.request.urlopen(url).status == 200, "with the token the page comes")
    for wrong in [url.split("?")[0], url[:-1] + ("0" if url[-1] != "0" else "1"), url.split("?")[0] + "events"]:
        try:
            urllib.request.urlopen(wrong)
            raise SystemExit(f"{wrong} was answered")
        except urllib.error.HTTPError as error:
            check(error.code == 403, "without it the answer is 403")
    run.process.kill()
    run.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="PNG of the page")
    parser.add_argument("--program", default=str(ROOT / ".build/release/eagle-train"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with Browser() as page:
            watch(page, Training(options.program, f"{folder}/run"), options.output)
        token(Training(options.program, f"{folder}/other"))


if __name__ == "__main__":
    main()
