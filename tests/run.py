"""Runs the parts of script/test one after the other, all of them even if one fails.

Each part says how many tests passed, failed and were skipped; a part that is one question (is it
formatted?) is one test. Output goes to build/test/<part>.log, and is shown if the part fails.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "test"
CORES = os.cpu_count() or 1

SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=0:detect_leaks=1:"
                    "detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1:exitcode=66",
}

# What ninja and meson say when all is well.
BUILD_NOISE = re.compile(r"\[\d+/\d+\] |(Compiler for|Library|Dependency|Run-time) .*: YES|ccache ")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)


class Log:
    """Where the commands of one part write to."""

    def __init__(self, part):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.path = LOGS / f"{part}.log"
        self.file = self.path.open("w+", encoding="utf-8", errors="replace")

    def run(self, *command, **environment):
        """Runs a command; is its exit code 0?"""
        self.file.write(f"$ {' '.join(map(str, command))}\n")
        self.file.flush()
        return subprocess.run(
            [str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.file,
            stderr=subprocess.STDOUT, env={**os.environ, **SANITIZERS, **environment},
            check=False).returncode == 0

    def text(self):
        self.file.flush()
        return self.path.read_text(encoding="utf-8", errors="replace")


def one(ok):
    return (1, 0, 0) if ok else (0, 1, 0)


def counted(text, ok):
    """What a runner's last line says; one failure if it died before or against saying so."""
    found = COUNTS.findall(text)
    if not found:
        return one(ok)
    passed, failed, skipped = (int(number or 0) for number in found[-1])
    return passed, max(failed, 0 if ok else 1), skipped


def meson_test(log, build, *arguments):
    ok = log.run("meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs",
                 "--num-processes", CORES, "--timeout-multiplier", "3", *arguments)
    total = [0, 0, 0]
    results = ROOT / build / "meson-logs" / "testlog.json"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    for line in lines:
        entry = json.loads(line)
        counts = counted(entry.get("stdout", ""), entry["result"] == "OK")
        total = [a + b for a, b in zip(total, counts)]
    if not ok and total[1] == 0:
        total[1] = 1
    return tuple(total)


def part_format(log, _):
    """Is what script/format would write what stands there?"""
    return one(log.run("script/format", "--check"))


def part_floors(log, _):
    """Does every file include from floors below only?"""
    return one(log.run(sys.executable, "tools/check_layers.py"))


def part_shape(log, _):
    """Files that are too long, blocks that stand there twice."""
    return one(log.run(sys.executable, "tools/check_shape.py"))


def part_shell(log, _):
    """shellcheck over our scripts."""
    scripts = [path for path in [*ROOT.glob("script/*"), *ROOT.glob("bench/*"), ROOT / ".ci/run"]
               if path.is_file() and path.read_bytes()[:10].startswith((b"#!/bin/sh", b"#!/bin/ba"))]
    return one(log.run("shellcheck", *scripts))


def part_unit(log, filters):
    """Unit and model tests and the fuzz corpora, under ASan and UBSan."""
    if not log.run("script/build", "asan"):
        return 0, 1, 0
    if not filters:
        return meson_test(log, "build/asan")
    total = [0, 0, 0]
    for program in sorted((ROOT / "build/asan/tests").glob("unit/test_*")):
        if not os.access(program, os.X_OK) or program.is_dir():
            continue
        named = any(word in program.name for word in filters)
        run = subprocess.run(
            [program, *([] if named else filters)], cwd=ROOT, env={**os.environ, **SANITIZERS},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if not run.stdout.startswith("no such test"):
            print(run.stdout, end="", file=log.file)
            total = [a + b for a, b in zip(total, counted(run.stdout, run.returncode == 0))]
    for corpus in sorted((ROOT / "tests/fuzz/corpus").glob("*")):
        if any(word in "fuzz_" + corpus.name for word in filters):
            program = ROOT / "build/asan/tests/fuzz" / f"fuzz_{corpus.name}"
            total = [a + b for a, b in zip(total, one(log.run(program, corpus)))]
    return tuple(total)


def part_threads(log, _):
    """What runs threads, under TSan."""
    if not log.run("script/build", "tsan"):
        return 0, 1, 0
    return meson_test(log, "build/tsan", "--suite", "threads")


def part_interop(log, filters):
    """Real clients through a real server with ASan; some tests take the one with TSan."""
    # `and` would leave the second build out of the log.
    built = [log.run("script/build", "asan"), log.run("script/build", "tsan")]
    if not all(built):
        return 0, 1, 0
    ok = log.run(sys.executable, "tests/interop/run.py", "--jobs", max(2, CORES), *filters)
    return counted(log.text(), ok)


def part_durability(log, _):
    """kill -9 under load, and what had been acknowledged; a few rounds of tests/durability/crash.py."""
    if not log.run("script/build", "asan"):
        return 0, 1, 0
    ok = log.run(sys.executable, "tests/durability/crash.py", "-n", "6", "--messages", "2000",
                 "--parley", "build/asan/parley")
    return counted(log.text(), ok)


def part_tidy(log, _):
    """clang-tidy over src/, as many files at a time as there are cores."""
    if not log.run("script/build", "asan"):
        return 0, 1, 0
    commands = json.loads((ROOT / "build/asan/compile_commands.json").read_text(encoding="utf-8"))
    sources = [entry for entry in commands if entry["file"].startswith("../../src/")]
    findings = []
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        for ok, output in pool.map(tidy, sources):
            found = re.findall(r"^.*?/(src/\S+: (?:error|warning): .*)$", output, re.MULTILINE)
            findings += found or ([] if ok else [output])
    # What is in a header is found once for each file that includes it.
    log.file.write("\n".join(dict.fromkeys(findings)))
    return one(not findings)


def tidy(command):
    """(fine, findings) of a source; what was fine and has not changed since is not looked at again."""
    folder = ROOT / "build" / "asan"
    words = shlex.split(command["command"])
    words = words[1:] if words[0].endswith("ccache") else words
    text = subprocess.run([*words[:words.index("-MD")], "-E", "-C", "-c", command["file"]],
                          cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False).stdout
    key = hashlib.sha256((ROOT / ".clang-tidy").read_bytes() + text).hexdigest()
    stamp = ROOT / "build" / "tidy" / key
    if text and stamp.exists():
        return True, ""
    # The command is gcc's; clang does not know all of its warnings.
    run = subprocess.run(
        ["clang-tidy", "--quiet", "-p", folder, "--extra-arg=-Wno-unknown-warning-option",
         (folder / command["file"]).resolve()], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    if run.returncode == 0:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return run.returncode == 0, run.stdout


def part_cppcheck(log, _):
    """cppcheck over src/."""
    cache = ROOT / "build" / "cppcheck"
    cache.mkdir(parents=True, exist_ok=True)
    return one(log.run(
        "cppcheck", "--enable=warning,performance,portability", "--error-exitcode=1", "--quiet",
        "--inline-suppr", "--std=c11", "--language=c", "--suppress=missingIncludeSystem",
        "--suppress=*:*.def", f"--cppcheck-build-dir={cache}", "-j", CORES, "-Isrc",
        "-D_GNU_SOURCE", '-DPARLEY_VERSION="0"', "src"))


def part_release(log, _):
    """What a user builds."""
    return one(log.run("script/build", "release") and log.run("build/release/parley", "--version"))


# The quick ones first, so that a mistake is told soon.
PARTS = {
    name.removeprefix("part_"): function
    for name, function in list(globals().items()) if name.startswith("part_")
}
ORDER = ["format", "floors", "shape", "shell", "unit", "threads", "interop", "durability", "release",
         "cppcheck", "tidy"]
FILTERED = ["unit", "interop"]


def main():
    parser = argparse.ArgumentParser(prog="script/test")
    parser.add_argument("names", nargs="*", help="parts, or words in the names of tests")
    parser.add_argument("--list", action="store_true", help="name the parts")
    arguments = parser.parse_args()
    if arguments.list:
        for name in ORDER:
            print(f"{name:10} {PARTS[name].__doc__ or ''}".rstrip())
        return 0

    chosen = [name for name in ORDER if name in arguments.names]
    filters = [name for name in arguments.names if name not in PARTS]
    if not arguments.names:
        chosen = ORDER
    elif filters and not set(chosen) & set(FILTERED):
        chosen += FILTERED

    total = [0, 0, 0]
    for name in chosen:
        print(f"{name:10} ", end="", flush=True)
        begun = time.monotonic()
        log = Log(name)
        counts = PARTS[name](log, filters if name in FILTERED else [])
        total = [a + b for a, b in zip(total, counts)]
        seconds = time.monotonic() - begun
        print("{:5} passed {:3} failed {:3} skipped {:6.1f} s".format(*counts, seconds), flush=True)
        if counts[1] or (filters and name in FILTERED):
            show(log.text())
    passed, failed, skipped = total
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


def show(text):
    """A failed part's output, the end of it if it is long; the whole stands in its log."""
    lines = [line for line in text.splitlines() if not BUILD_NOISE.match(line)]
    width = shutil.get_terminal_size((160, 24)).columns * 4
    if len(lines) > 250:
        interesting = [line for line in lines[:-200]
                       if re.search(r"\bFAIL\b|error:|warning:|ERROR|FAILED", line)]
        lines = [*interesting[:100], f"… {len(lines) - 200} lines above …", *lines[-200:]]
    for line in lines:
        print("    " + line[:width])
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
