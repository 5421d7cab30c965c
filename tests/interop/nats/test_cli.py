"""The command line's client: what it prints, what it takes, and its exit codes."""

import json
import subprocess

from clients import Nats
from harness import SANITIZER_OPTIONS, TIMEOUT, Process, equal, holds, os


def _run(server, *arguments, data=b"", url=None):
    """(exit code, what it wrote, what it said)."""
    done = subprocess.run(
        [server.binary, *arguments], input=data, capture_output=True, timeout=TIMEOUT * 2,
        env={**os.environ, **SANITIZER_OPTIONS, "PARLEY_URL": url or server.url("nats", "nats")})
    return done.returncode, done.stdout, done.stderr.decode()


def _subscribed(server, *arguments):
    process = Process([server.binary, "sub", *arguments, "--server", server.url("nats", "nats")])
    return process


def _wait_subscribed(process):
    from harness import poll
    poll(lambda: "subscribed to" in process.stderr(), "for sub to say that it is subscribed")
    return process


def what_is_published_is_printed(server):
    with _wait_subscribed(_subscribed(server, "c.>", "--count", "3", "--headers")) as sub:
        equal(_run(server, "pub", "c.one", "hello world"), (0, b"", ""))
        equal(_run(server, "pub", "c.two", "-H", "K: v w", data=b"a\nb\\\0")[0], 0)
        equal(_run(server, "pub", "--stdin-lines", "c.three", data=b"last\n")[0], 0)
        equal(sub.lines.next(), b"c.one hello world")
        equal(sub.lines.next(), b"c.two a\\nb\\\\\\x00")
        equal(sub.lines.next(), b"  K: v w")
        equal(sub.lines.next(), b"c.three last")
        equal(sub.wait(), 0)


def json_holds_everything(server):
    with _wait_subscribed(_subscribed(server, "j", "--json", "--count", "2")) as sub:
        _run(server, "pub", "j", "-H", "A: 1", "--content-type", "text/plain", "-r", "r.x", "21.5")
        _run(server, "pub", "j", data=b"\xff\x00")
        equal(json.loads(sub.lines.next()), {
            "subject": "j", "payload": "21.5", "reply": "r.x",
            "headers": [["Content-Type", "text/plain"], ["A", "1"]]})
        equal(json.loads(sub.lines.next()), {"subject": "j", "payload_base64": "/wA="})


def a_request_is_answered_by_a_command(server):
    with Process([server.binary, "reply", "up.*", "--command", "tr a-z A-Z; echo $PARLEY_SUBJECT",
                  "--count", "3", "--server", server.url("nats", "nats")]) as reply:
        from harness import poll
        poll(lambda: "answering" in reply.stderr(), "for reply to be there")
        equal(_run(server, "request", "up.x", "abc", "--raw"), (0, b"ABCup.x\n\n", ""))
        equal(_run(server, "request", "up.x", "a\\b\x1b\n"), (0, b"A\\B\\x1b\nup.x\n", ""))
        with Nats(server.url("nats", "nats")) as client:
            equal(client.request("up.y", "z").data, b"Zup.y\n")
        equal(reply.wait(), 0)


def a_failing_command_says_so_in_the_answer(server):
    with Process([server.binary, "reply", "bad", "--command", "exit 3", "--count", "1", "--server",
                  server.url("nats", "nats")]) as reply:
        from harness import poll
        poll(lambda: "answering" in reply.stderr(), "for reply to be there")
        code, out, _ = _run(server, "request", "bad", "--json")
        equal(code, 0)
        equal(dict(json.loads(out)["headers"])["Nats-Service-Error-Code"], "500")


def nobody_there_is_told_at_once(server):
    equal(_run(server, "request", "no.one", "x"), (1, b"", "parley request: nobody answers at no.one\n"))


def what_goes_wrong_is_one_line_and_an_exit_code(server):
    for arguments, code in [
            (["pub"], 2), (["pub", "a.*", "x"], 2), (["pub", "a..b", "x"], 2), (["sub"], 2),
            (["pub", "--count", "x", "a", "b"], 2), (["sub", "--timeout", "soon", "a"], 2),
            (["reply", "a"], 2), (["request"], 2), (["bench", "nothing"], 2),
            (["sub", "a..b"], 1), (["sub", "q", "--count", "1", "--timeout", "50ms"], 1),
            (["pub", "--server", "ftp://x", "a", "b"], 1), (["pub", "--server", "127.0.0.1:1", "a", "b"], 1),
            (["pub", "$SYS.x", "b"], 1), (["sub", "q", "--timeout", "50ms"], 0)]:
        got, out, said = _run(server, *arguments)
        equal(got, code, f"{arguments}: {said}")
        equal(out, b"")
        if code:
            holds("parley " in said.splitlines()[-1], said)


def help_is_there_for_each_command(server):
    for command in ("pub", "sub", "request", "reply", "bench"):
        code, out, _ = _run(server, command, "--help")
        equal(code, 0)
        holds(f"Usage: parley {command}".encode() in out and b"--server" in out, out)


def tls_is_checked(server):
    where = f"tls://127.0.0.1:{server.port('natss')}"
    equal(_run(server, "pub", "a", "b", "--tls-ca", server.ca, url=where)[0], 0)
    code, _, said = _run(server, "pub", "a", "b", url=where)
    equal(code, 1)
    holds("certificate" in said, said)
    equal(_run(server, "pub", "a", "b", "--tls-insecure", url=where)[0], 0)
    code, _, said = _run(server, "pub", "a", "b", url=f"tls://127.0.0.1:{server.port('nats')}")
    equal((code, "offers no TLS" in said), (1, True))


def bench_counts_every_message(server):
    for mode in ("pubsub", "fanout", "request"):
        code, out, said = _run(server, "bench", mode, "--count", "2000", "--subscribers", "3", "--json",
                               "--quiet")
        equal(code, 0, said)
        result = json.loads(out)
        equal(result["received"], 6000 if mode == "fanout" else 2000)
        equal((result["missing"], result["disordered"]), (0, 0))
        holds(result["latency_us"]["p50"] <= result["latency_us"]["max"], out)
