"""The command line over WAMP: call, register, sub and pub."""

import json
import os
import subprocess
import tempfile

from clients import Autobahn, Nats
from harness import SANITIZER_OPTIONS, TIMEOUT, Process, default_config, equal, holds, poll

CONFIG = {"listeners": [*default_config()["listeners"],
                        {"name": "unix", "unix": "wamp.sock", "protocols": ["wamp"]}]}


def _urls(server):
    return [server.url("ws", "shared"), f"rs://127.0.0.1:{server.port('shared')}",
            f"unix:{server.folder / 'wamp.sock'}"]


def _run(server, *arguments, data=b"", url=None):
    """(exit code, what it wrote, what it said)."""
    done = subprocess.run(
        [server.binary, *arguments], input=data, capture_output=True, timeout=TIMEOUT * 2,
        check=False, env={**os.environ, **SANITIZER_OPTIONS,
                          "PARLEY_URL": url or server.url("ws", "shared")})
    return done.returncode, done.stdout, done.stderr.decode()


def _started(server, *arguments, url=None):
    process = Process([server.binary, *arguments, "--server", url or server.url("ws", "shared")])
    word = "answering" if arguments[0] == "register" else "subscribed to"
    poll(lambda: word in process.stderr(), f"for {arguments[0]} to be there")
    return process


def a_procedure_is_called_with_what_the_shell_says(server):
    with Autobahn(server.url("ws", "shared")) as callee:
        callee.register("cli.echo")
        for url in _urls(server):
            equal(_run(server, "call", "--realm", "realm1", "cli.echo", "text", url=url),
                  (0, b"text\n", ""))
        equal(_run(server, "call", "cli.echo", "-5"), (0, b"-5\n", ""))
        equal(_run(server, "call", "cli.echo", '{"a": [1, 2.5]}')[1], b'{"a":[1,2.5]}\n')
        equal(_run(server, "call", "cli.echo", '"5"', "true")[1],
              b'{"args":["5",true],"kwargs":{}}\n')
        equal(_run(server, "call", "-k", "n=7", "-k", "s=x=y", "--json", "cli.echo")[1],
              b'{"args":[],"kwargs":{"n":7,"s":"x=y"}}\n')
        equal(_run(server, "call", "cli.echo"), (0, b"", ""))


def parts_of_a_result_are_printed_as_they_come(server):
    with Autobahn(server.url("ws", "shared"), "cbor") as callee:
        callee.register("cli.slow", "progress", parts=["one", 2])
        equal(_run(server, "call", "--progress", "cli.slow", "end")[1], b"one\n2\nend\n")
        equal(_run(server, "call", "cli.slow", "end")[1], b"end\n")


def what_goes_wrong_is_told_on_one_line(server):
    with Autobahn(server.url("ws", "shared")) as callee:
        callee.register("cli.bad", "error", uri="com.example.bad")
        callee.register("cli.silent", "silent")
        equal(_run(server, "call", "cli.bad", "too hot"),
              (1, b"", "parley call: com.example.bad: too hot\n"))
        code, _, said = _run(server, "call", "--timeout", "50ms", "cli.silent")
        equal(code, 1)
        holds("wamp.error.timeout" in said, said)
    equal(_run(server, "call", "nobody.there")[::2],
          (1, "parley call: wamp.error.no_such_procedure\n"))
    code, _, said = _run(server, "call", "x", url="ws://127.0.0.1:1/")
    holds(code == 1 and said.startswith("parley call: ws://127.0.0.1:1/: "), said)
    equal(_run(server, "call")[0], 2)
    equal(_run(server, "call", "-k", "novalue", "x")[0], 2)
    equal(_run(server, "register", "x")[0], 2)
    equal(_run(server, "register", "--echo", "--match", "any", "x")[0], 2)


def a_command_answers_calls_and_requests(server):
    with _started(server, "register", "cli.up", "--command", "tr a-z A-Z", "--count", "3") as callee, \
            Autobahn(server.url("ws", "shared"), "msgpack") as caller, \
            Nats(server.url("nats", "nats")) as nats:
        equal(caller.ask("cli.up", "hello")["args"], ["HELLO"])
        equal(nats.request("cli.up", "over nats").data, b"OVER NATS")
        equal(_run(server, "call", "cli.up", "again")[1], b"AGAIN\n")
        equal(callee.wait(), 0)


def a_command_that_fails_is_an_error(server):
    with _started(server, "register", "cli.fails", "--command", "exit 3"):
        equal(_run(server, "call", "cli.fails")[::2],
              (1, "parley call: wamp.error.runtime_error: the command failed\n"))


def a_file_answers_with_its_json(server):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        for value in ({"a": [1, None]}, "other"):
            file.seek(0)
            file.truncate()
            file.write(json.dumps(value))
            file.flush()
            with _started(server, "register", "cli.file", "--file", file.name, "--count", "1"):
                answer = json.loads(_run(server, "call", "--json", "cli.file")[1])
                equal(answer, {"args": [value], "kwargs": {}})


def callees_share_a_procedure_and_match_patterns(server):
    with _started(server, "register", "cli.p", "--echo", "--match", "prefix",
                  "--invoke", "roundrobin"), \
            _started(server, "register", "cli.p", "--echo", "--match", "prefix",
                     "--invoke", "roundrobin", "--force"):
        equal(_run(server, "call", "cli.p.anything", "1", "two")[1],
              b'{"args":[1,"two"],"kwargs":{}}\n')


def what_is_published_over_wamp_is_printed_by_everyone(server):
    for url in _urls(server):
        with _started(server, "sub", "cli.t.>", "--count", "3", "--realm", "realm1", url=url) as sub, \
                Nats(server.url("nats", "nats")) as nats:
            nats.subscribe("cli.t.*")
            equal(_run(server, "pub", "--realm", "realm1", "cli.t.a", "21.5", url=url), (0, b"", ""))
            equal(_run(server, "pub", "--realm", "realm1", "cli.t.b", data=b'{"x": 1}', url=url)[0], 0)
            nats.expect("cli.t.a", b"21.5")
            nats.expect("cli.t.b", b'{"x":1}')
            nats.publish("cli.t.c", "from nats")
            equal(sub.lines.next(), b"cli.t.a 21.5")
            equal(sub.lines.next(), b'cli.t.b {"x":1}')
            equal(sub.lines.next(), b"cli.t.c from nats")
            equal(sub.wait(), 0)


def a_wildcard_is_one_of_wamp(server):
    with _started(server, "sub", "cli.*.w", "--count", "1", "--json") as sub:
        _run(server, "pub", "cli.x.y", "no")
        _run(server, "pub", "cli.x.w", "yes")
        equal(json.loads(sub.lines.next()), {"subject": "cli.x.w", "payload": "yes"})


def what_wamp_has_not_is_wrong_usage(server):
    equal(_run(server, "pub", "-H", "A: 1", "cli.x", "y")[0], 2)
    equal(_run(server, "sub", "-q", "group", "cli.x")[0], 2)
    equal(_run(server, "sub", "cli.*.>")[0], 2)
