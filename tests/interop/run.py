"""Runs the interop tests.

    tests/interop/run.py [--jobs N] [--list] [words that names have]

Every function of tests/interop/<folder>/test_*.py whose name does not begin with _ is a test, and its
name is the sentence that it proves. One with the parameter `server` gets a Server that it shares with
the other such tests of its module (made with the module's CONFIG, if it has one: what Server takes).
A module's tests run in order, modules side by side. The last line is "N passed, N failed, N skipped".
"""

import argparse
import collections
import concurrent.futures
import contextlib
import importlib.util
import inspect
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.modules.setdefault("run", sys.modules[__name__])

from harness import Failure, Server, Skip  # noqa: E402  (after the path)

SECONDS_MAX = 120  # for a test that does not say another SECONDS_MAX in its module


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def tests_of(module, path, words):
    folder = f"{path.parent.name}/{path.stem}"
    for name, function in list(vars(module).items()):
        if (inspect.isfunction(function) and function.__module__ == module.__name__
                and not name.startswith("_")):
            if not words or any(word in f"{folder}.{name}" for word in words):
                yield name, function


def on_alarm(*_):
    raise Failure("took too long")


class Shared:
    """The module's server: started at its first use, again after a test that it did not survive."""

    def __init__(self, module):
        self.options = getattr(module, "CONFIG", {})
        self.server = None

    def get(self):
        if self.server and self.server.process.poll() is not None:
            self.stop()
        if not self.server:
            self.server = Server(**self.options).__enter__()
        return self.server

    def stop(self):
        server, self.server = self.server, None
        if server:
            server.__exit__(None, None, None)


def run_one(function, shared):
    """(result, detail) of a test."""
    try:
        if "server" in inspect.signature(function).parameters:
            server = shared.get()
            function(server)
            if server.process.poll() is not None:
                shared.stop()
        else:
            function()
        return "ok", ""
    except Skip as skip:
        return "skip", str(skip)
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)
        where = "\n".join(f"  {pathlib.Path(f.filename).name}:{f.lineno}: {f.line}" for f in trace
                          if pathlib.Path(f.filename).parent != HERE or f.name not in ("run_one",))
        text = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        if shared.server and shared.server.process.poll() is not None:
            text += f"\nparley had ended:\n{shared.server.log()}"
            with contextlib.suppress(Failure):
                shared.stop()
        return "FAIL", f"{where}\n{text}"


def run_module(path, words):
    """In a process of its own: tells each result as a line of JSON."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What a test prints is no result.
    signal.signal(signal.SIGALRM, on_alarm)
    threading.excepthook = lambda *_: None  # Readers of closed pipes.

    def tell(name, result, detail, seconds):
        out.write(json.dumps({"name": name, "result": result, "detail": detail,
                              "seconds": seconds}) + "\n")

    module = load(path)
    shared = Shared(module)
    for name, function in tests_of(module, path, words):
        begun = time.monotonic()
        signal.alarm(getattr(module, "SECONDS_MAX", SECONDS_MAX))
        result, detail = run_one(function, shared)
        signal.alarm(0)
        tell(name, result, detail, time.monotonic() - begun)
    try:
        shared.stop()
    except Failure as failure:
        tell("the_server_of_this_module_ends_well", "FAIL", str(failure), 0)
    out.flush()
    os._exit(0)  # Threads of clients may still be reading.


def start_module(path, words):
    """Runs a module in a child; yields its results."""
    child = subprocess.run([sys.executable, __file__, "--module", str(path), *words], check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, errors="replace")
    results = [json.loads(line) for line in child.stdout.splitlines()]
    if child.returncode != 0:
        results.append({"name": "(the module itself)", "result": "FAIL", "seconds": 0,
                        "detail": f"ended with {child.returncode}\n{child.stderr[-4000:]}"})
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", help="run what has one of them in its name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--module", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.module:
        run_module(arguments.module, arguments.words)

    modules = sorted(HERE.glob("*/test_*.py"))
    if arguments.words or arguments.list:
        chosen = []
        for path in modules:
            names = [name for name, _ in tests_of(load(path), path, arguments.words)]
            chosen += [path] if names else []
            if arguments.list:
                print("\n".join(f"{path.parent.name}/{path.stem}.{name}" for name in names))
        modules = chosen
        if arguments.list:
            return 0

    count = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        pending = {pool.submit(start_module, path, arguments.words): path for path in modules}
        for future in concurrent.futures.as_completed(pending):
            path = pending[future]
            print(f"{path.parent.name}/{path.stem}")
            for result in future.result():
                count[result["result"]] += 1
                print(f"  {result['result']:4} {result['name']} ({result['seconds']:.2f} s)")
                for line in result["detail"].splitlines():
                    print(f"         {line}")
            sys.stdout.flush()
    print(f"{count['ok']} passed, {count['FAIL']} failed, {count['skip']} skipped")
    return 1 if count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
