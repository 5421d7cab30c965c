"""The examples of libparley, compiled against an installed prefix as a user's programs are."""

import functools
import os
import shutil
import subprocess

from clients import Autobahn, Refused
from harness import BUILD, ROOT, SANITIZER_OPTIONS, TIMEOUT, Failure, Process, equal, holds, locked

SECONDS_MAX = 240
EXAMPLES = ROOT / "examples" / "c"


def _run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, **options)
    if done.returncode:
        raise Failure(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


@functools.cache
def _prefix():
    """Where libparley was installed to, and the environment in which pkg-config finds it."""
    root = BUILD / "prefix"
    with locked("prefix"):
        shutil.rmtree(root, ignore_errors=True)
        _run("meson", "install", "-C", ROOT / "build" / "asan", "--no-rebuild", "--destdir", root)
    found = next(root.rglob("parley.pc"))
    return root, {**os.environ, **SANITIZER_OPTIONS, "PKG_CONFIG_PATH": str(found.parent),
                  "PKG_CONFIG_SYSROOT_DIR": str(root),
                  "LD_LIBRARY_PATH": str(found.parent.parent)}


def _flags(env, kind):
    """What pkg-config says; the static library needs by name what the shared one brings."""
    if kind == "shared":
        return _run("pkg-config", "--cflags", "--libs", "parley", env=env).split()
    needed = _run("pkg-config", "--print-requires-private", "parley", env=env).split()
    return [*_run("pkg-config", "--cflags", "parley", env=env).split(),
            str(next(_prefix()[0].rglob("libparley.a"))),
            *_run("pkg-config", "--libs", *needed).split(), "-lm", "-pthread"]


@functools.cache
def _compiled(name, language="c", kind="shared"):
    _, env = _prefix()
    program = BUILD / f"example-{name}-{language}-{kind}"
    compiler = ["c++", "-x", "c++"] if language == "c++" else ["cc", "-std=c11", "-Wextra"]
    _run(*compiler, "-fsanitize=address,undefined", "-Wall", "-Werror",
         EXAMPLES / f"{name}.c", "-x", "none", "-o", program, *_flags(env, kind))
    return program, env


def _started(name):
    """A program that says where it serves, until its input ends."""
    program, env = _compiled(name)
    process = Process([program], env=env)
    return process, process.lines.next().decode()


def _end(process):
    process.process.stdin.close()
    equal(process.wait(), 0)


def every_example_is_here():
    names = sorted(path.stem for path in EXAMPLES.glob("*.c"))
    equal(names, ["authorizer", "embed", "pubsub", "rpc"])


def only_names_of_parley_are_visible():
    root, _ = _prefix()
    library = next(path for path in root.rglob("libparley.so.*") if not path.is_symlink())
    names = [line.split()[-1] for line in _run("nm", "-D", "--defined-only", library).splitlines()]
    holds(len(names) > 80, names)
    equal([name for name in names if not name.startswith("parley_")], [])


def a_publisher_and_a_subscriber_meet(server):
    for url in (server.url("ws", "shared"), f"rs://127.0.0.1:{server.port('shared')}"):
        program, env = _compiled("pubsub")
        equal(_run(program, url, env=env, timeout=TIMEOUT),
              "plant.line1.temp: 21.5\nplant.line1.temp: 22.5\nplant.line1.temp: 23.5\n")


def a_result_comes_in_parts(server):
    program, env = _compiled("rpc")
    equal(_run(program, server.url("ws", "shared"), env=env, timeout=TIMEOUT),
          "3\n2\n1\nlift off\nerror: com.example.error.not_a_number\n")


def a_static_library_does_the_same(server):
    program, env = _compiled("rpc", kind="static")
    equal(_run(program, server.url("ws", "shared"), env=env, timeout=TIMEOUT),
          "3\n2\n1\nlift off\nerror: com.example.error.not_a_number\n")
    holds("libparley" not in _run("ldd", program), "it needs no libparley.so")


def a_program_embeds_a_router_and_takes_part():
    process, url = _started("embed")
    with process:
        with Autobahn(url) as client:
            equal(process.lines.next(), b"joined: all")
            equal(client.ask("hello", "world")["args"], ["world"])
            equal(client.ask("wamp.session.count")["args"], [2])
        _end(process)


def a_program_decides_what_its_clients_may():
    process, url = _started("authorizer")
    with process:
        with Autobahn(url, "msgpack") as client:
            client.subscribe("anything")
            equal(process.lines.next(), b"subscribe anything: yes")
            client.publish("public.news", "hello")
            equal(process.lines.next(), b"publish public.news: yes")
            try:
                client.publish("secret.news", "hello")
            except Refused as refused:
                holds("not_authorized" in str(refused), refused)
            else:
                raise Failure("it was published")
            equal(process.lines.next(), b"publish secret.news: no")
        _end(process)


def a_program_in_cpp_does_the_same(server):
    program, env = _compiled("pubsub", language="c++")
    holds(_run(program, server.url("ws", "shared"), env=env, timeout=TIMEOUT).count("\n") == 3, "")
