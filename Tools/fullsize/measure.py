"""Runs a command and prints what its eagle-* processes needed, as one JSON line on standard output.

start_s: until the first line on stderr; wall_s: until the end. By process the largest value of each: private_mb
(anonymous memory, which nobody shares), rss_mb, and pss_mb (mapped files divided by the number of processes that map
them). Read from /proc/PID/smaps_rollup ten times a second. The command's own output goes to stderr.

Versions used: Python 3.11, Linux. Usage: python measure.py [--label TEXT] -- COMMAND ARGUMENT...
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path


def descendants(pid):
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def memory(pid):
    """Megabytes of a process by kind; nothing when it is no eagle-* process or has ended."""
    try:
        if not Path(f"/proc/{pid}/comm").read_text().startswith("eagle-"):
            return None
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {"private_mb": kilobytes["Anonymous"] // 1024, "rss_mb": kilobytes["Rss"] // 1024,
            "pss_mb": kilobytes["Pss"] // 1024}


def watch(process, peaks):
    while process.poll() is None:
        try:
            pids = [process.pid, *descendants(process.pid)]
        except OSError:
            pids = []
        for pid in pids:
            now = memory(pid)
            if now:
                peaks[pid] = {key: max(value, peaks.get(pid, now)[key]) for key, value in now.items()}
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label", default="")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    begin, first, peaks = time.monotonic(), None, {}
    process = subprocess.Popen(arguments.command, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    watcher = threading.Thread(target=watch, args=(process, peaks))
    watcher.start()
    for line in process.stderr:
        first = first or time.monotonic()
        sys.stderr.write(line)
    status = process.wait()
    watcher.join()
    print(json.dumps({"label": arguments.label, "status": status, "start_s": round((first or begin) - begin, 2),
                      "wall_s": round(time.monotonic() - begin, 1), "processes": list(peaks.values())}))
    sys.exit(status)


if __name__ == "__main__":
    main()
