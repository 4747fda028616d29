"""Starts eagle-run serve for the scripts beside this one."""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--target", required=True, help="folder of the model")
    parser.add_argument("--draft", help="folder of a draft head")
    parser.add_argument("--program", default=str(ROOT / ".build/release/eagle-run"))
    return parser


class Served:
    """A server on a free port, ended with the block."""

    def __init__(self, options, *flags, key=None):
        self.command = [options.program, "serve", "--target", options.target, "--port", "0", *flags]
        if options.draft:
            self.command += ["--draft", options.draft]
        self.environment = dict(os.environ, **({"EAGLE_API_KEY": key} if key else {}))
        self.lines = []

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stderr=subprocess.PIPE, text=True, env=self.environment)
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                self.url = f"http://127.0.0.1:{self.port}"
                threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()
                return self
        raise SystemExit("the server did not start: " + "".join(self.lines))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.status = self.process.wait(timeout=60)
