"""The same bytes to Parley and to nats-server: the same bytes come back, and the same ends.

A script is what a client says after INFO. Each ends with a PING, so that there is always something
to wait for: its PONG, or the end of the connection. What is meant to differ stands in
docs/reference/nats.md and at the end of this file.
"""

from harness import Raw, equal
from peers import NatsServer

Q = ('CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,'
     '"protocol":1}\r\n')
V = 'CONNECT {"verbose":true,"pedantic":true,"headers":true}\r\n'
PING = "PING\r\n"


def _listen(raw, pongs):
    """(everything up to that many PONGs or the end, whether it ended)."""
    heard = raw.buffer
    raw.buffer = b""
    while heard.count(b"PONG\r\n") < pongs:
        if not raw._more():
            return heard, True
        heard, raw.buffer = heard + raw.buffer, b""
    return heard, False


def _talk(address, pieces):
    with Raw(address) as raw:
        raw.until("\r\n")
        for piece in pieces:
            try:
                raw.send(piece)
            except OSError:
                break
        return _listen(raw, "".join(pieces).lower().count("ping\r\n"))


def _compare(server, scripts):
    with NatsServer() as peer:
        for script in scripts:
            pieces = [script + PING] if isinstance(script, str) else [*script, PING]
            theirs = _talk(peer.address(), pieces)
            ours = _talk(server.address("nats"), pieces)
            equal(ours, theirs, f"after {''.join(pieces)[:300]!r}")


def subscriptions_and_messages(server):
    _compare(server, [
        "SUB foo 1\r\nPUB foo 2\r\nhi\r\n",
        "CONNECT {}\r\nSUB foo 1\r\nPUB foo 2\r\nhi\r\n",
        Q + "SUB foo 1\r\nPUB foo 2\r\nhi\r\n",
        Q + "SUB foo 1\r\nPUB foo 0\r\n\r\nPUB foo r 0\r\n\r\n",
        Q + "SUB foo 1\r\nPUB foo a.reply 2\r\nhi\r\n",
        Q + "SUB foo 123456789012345\r\nPUB foo 1\r\nx\r\n",
        Q + "SUB foo a-text-as-sid\r\nPUB foo 1\r\nx\r\n",
        V + "SUB foo 1\r\nSUB bar 1\r\nPUB bar 1\r\nx\r\nPUB foo 1\r\ny\r\n",
        Q + "SUB foo 1\r\nPUB foo 1\r\nx\r\nPING\r\nPUB foo 1\r\ny\r\n",
    ])


def wildcards(server):
    _compare(server, [
        Q + "SUB a.*.c 1\r\nPUB a.b.c 1\r\nx\r\nPUB a.b 1\r\nx\r\nPUB a.b.d 1\r\nx\r\n",
        Q + "SUB a.> 2\r\nPUB a.b.c.d r.x 1\r\ny\r\nPUB a 1\r\nz\r\nPUB a.b 0\r\n\r\n",
        Q + "SUB a*b 5\r\nPUB a*b 1\r\nx\r\nPUB axb 1\r\ny\r\n",
        Q + "SUB >>> 5\r\nPUB >>> 1\r\nx\r\n",
        Q + "SUB * 1\r\nPUB a 1\r\nx\r\nPUB a.b 1\r\nx\r\n",
        V + "SUB foo..bar 1\r\nSUB >.a 2\r\nSUB . 3\r\nSUB a. 4\r\nSUB .a 5\r\n",
    ])


def unsubscribing(server):
    _compare(server, [
        Q + "SUB foo 1\r\nPUB foo 1\r\na\r\nUNSUB 1\r\nPUB foo 1\r\nb\r\n",
        Q + "SUB foo 1\r\nPUB foo 1\r\na\r\nUNSUB 1 2\r\nPUB foo 1\r\nb\r\nPUB foo 1\r\nc\r\n",
        Q + "SUB foo 1\r\nPUB foo 1\r\na\r\nPUB foo 1\r\nb\r\nUNSUB 1 2\r\nPUB foo 1\r\nc\r\n",
        Q + "SUB foo 1\r\nPUB foo 1\r\na\r\nPUB foo 1\r\nb\r\nUNSUB 1 1\r\nPUB foo 1\r\nc\r\n",
        Q + "SUB foo 1\r\nUNSUB 1 0\r\nPUB foo 1\r\nc\r\n",
        Q + "SUB foo 1\r\nUNSUB 1 x\r\nPUB foo 1\r\nc\r\n",
        Q + "SUB foo 1\r\nUNSUB 1 -1\r\nPUB foo 1\r\nc\r\n",
        Q + "SUB foo 1\r\nUNSUB 1\r\nSUB foo 1\r\nPUB foo 1\r\nc\r\n",
        V + "UNSUB 9\r\nUNSUB 9 3\r\n",
        Q + "UNSUB\r\n",
        Q + "UNSUB 1 2 3\r\n",
    ])


def queue_groups(server):
    _compare(server, [
        # Each has a subject of its own: the members of the one before may go a moment later.
        Q + "SUB q1 g 1\r\nPUB q1 1\r\nx\r\n",
        Q + "SUB q2 g 1\r\nUNSUB 1\r\nSUB q2 g 3\r\nPUB q2 1\r\ny\r\n",
        Q + "SUB q3 g 1\r\nUNSUB 1 1\r\nPUB q3 1\r\ny\r\nPING\r\nPUB q3 1\r\nz\r\n",
    ])


def spaces_case_and_line_ends(server):
    _compare(server, [
        Q + "sub\tfoo \t1\r\npub  foo\t 2\nhi\r\nping\r\n",
        Q + "Sub foo 1 \r\nPuB foo 2 \r\nhi\r\nunsub\t1\t\r\npInG\r\n",
        Q + "SUB foo \r1\r\nPUB foo 1\r\nx\r\n",
        Q + "SUB foo 1\nPUB foo 1\nx\r\n",
        Q + "PINGabc\r\n+OK\r\n",
        Q + "PONG\r\nINFO {}\r\n",
        ["CONNECT {\"verbose\"", ":false}\r", "\nSU", "B foo 1\r", "\nPUB foo 3\r\nab", "c\r", "\n"],
        [*(Q + "SUB foo 1\r\nPUB foo 5\r\nhello\r\n")],
    ])


def headers(server):
    def hpub(block, payload, reply=""):
        return f"HPUB foo {reply}{len(block)} {len(block) + len(payload)}\r\n{block}{payload}\r\n"

    _compare(server, [
        Q + "SUB foo 1\r\n" + hpub("NATS/1.0\r\nA: b\r\n\r\n", "hi"),
        Q + "SUB foo 1\r\n" + hpub("NATS/1.0\r\nAb: b\r\nAb: c\r\nZ: \r\n\r\n", "hi", "rep "),
        Q + "SUB foo 1\r\n" + hpub("NATS/1.0\r\n\r\n", ""),
        Q + "SUB foo 1\r\n" + hpub("NATS/1.0 503\r\n\r\n", ""),
        Q + "SUB foo 1\r\n" + hpub("NATS/1.0 408 Request Timeout\r\nX: 1\r\n\r\n", "p"),
        Q + "SUB foo 1\r\n" + hpub("NATS/1.0\r\nContent-Type: text/plain\r\nX: 1%0D\r\n\r\n", "p"),
        Q + "SUB foo 1\r\nHPUB foo 0 2\r\nhi\r\n",
        Q + "HPUB foo 16 12\r\n",
        Q + "HPUB foo 12\r\n",
        'CONNECT {"verbose":false}\r\nHPUB foo 12 12\r\nNATS/1.0\r\n\r\n\r\n',
    ])


def nobody_answers(server):
    _compare(server, [
        Q + "SUB _INBOX.a.* 4\r\nPUB no.one _INBOX.a.b 0\r\n\r\n",
        Q + "SUB _INBOX.a.* 4\r\nUNSUB 4 1\r\nPUB no.one _INBOX.a.b 0\r\n\r\nPING\r\n"
            "PUB no.one _INBOX.a.b 0\r\n\r\n",
        Q + "PUB no.one _INBOX.a.b 0\r\n\r\n",
        Q + "SUB r q 4\r\nPUB no.one r 0\r\n\r\n",
        'CONNECT {"verbose":false,"headers":true}\r\nSUB _INBOX.a.* 4\r\n'
        "PUB no.one _INBOX.a.b 0\r\n\r\n",
    ])


def what_connect_says(server):
    _compare(server, [
        'CONNECT {"verbose":false,"echo":false}\r\nSUB foo 1\r\nPUB foo 1\r\nx\r\n',
        'CONNECT {"verbose":null,"VERBOSE":false,"foo":[1,{"a":2}]}\r\n',
        "CONNECT{}\r\n",
        Q + 'CONNECT {"verbose":true}\r\nPING\r\nSUB a 1\r\n',
        'CONNECT {"protocol":2}\r\n',
        'CONNECT {"protocol":-1}\r\n',
        'CONNECT {"no_responders":true}\r\n',
        'CONNECT {"account":"x"}\r\n',
        "CONNECT {x\r\n",
        'CONNECT {"verbose":1}\r\n',
        'CONNECT {"user":1}\r\n',
        "CONNECT []\r\n",
        "CONNECT\r\n",
    ])


def errors(server):
    _compare(server, [
        Q + "FOO\r\n",
        Q + "PX",
        Q + "\r\n",
        Q + "MSG foo 1 2\r\n",
        Q + "M",
        Q + "-ERR 'x'\r\n",
        Q + "SUB foo\r\n",
        Q + "SUB foo a b c\r\n",
        Q + "SUB\r\n",
        Q + "PUB foo\r\n",
        Q + "PUB foo a b 3\r\n",
        Q + "PUB foo x\r\n",
        Q + "PUB foo -1\r\n",
        Q + "PUB foo 99999999999\r\n",
        Q + "PUB foo 1048577\r\n",
        Q + "PUB foo 2\r\nhixx\r\n",
        Q + "PUB foo 2\r\nhi\rx",
        Q + "SUB " + "a" * 5000 + " 1\r\n",
        Q + "SUB " + "a" * 9000,
        V + "SUB foo 1\r\nPUB foo 2\r\nhi\r\nFOO\r\n",
        V + "PUB foo.* 1\r\nx\r\nPUB foo..a 1\r\nx\r\n",
        V + "SUB ok 1\r\nSUB .. 2\r\nPUB ok 1\r\na\r\nPUB a..b 1\r\na\r\nSUB ok2 3\r\n",
    ])


def a_login_that_is_needed(server):
    """Here the other server is the one that knows nobody, since every answer is a refusal."""
    scripts = [
        "", "SUB foo 1\r\n", "FOO\r\n", "CONNECT {}\r\n", 'CONNECT {"user":"x","pass":"y"}\r\n',
        'CONNECT {"auth_token":"x"}\r\n', 'CONNECT {"user":"u"}\r\nSUB a 1\r\n',
    ]
    with NatsServer("authorization { user: u, password: secret }") as peer:
        for script in scripts:
            theirs = _talk(peer.address(), [script + PING])
            ours = _talk(server.address("closed"), [script + PING])
            equal(ours, theirs, f"after {script!r}")


def names_that_are_no_names_reach_nobody(server):
    """Differs: nats-server takes them silently, and a pattern hears them."""
    with Raw(server, "nats") as raw:
        raw.until()
        raw.send(Q + "SUB > 1\r\nPUB foo.* 1\r\nx\r\nPUB a..b 1\r\nx\r\nPUB a r.> 1\r\nx\r\nPING\r\n")
        raw.expect("-ERR 'Permissions Violation for Publish to \"foo.*\"'\r\n"
                   "-ERR 'Permissions Violation for Publish to \"a..b\"'\r\n"
                   "-ERR 'Permissions Violation for Publish with Reply of \"r.>\"'\r\nPONG\r\n")


def sizes_are_written_without_leading_zeros(server):
    """Differs: nats-server repeats what its publisher wrote."""
    with Raw(server, "nats") as raw:
        raw.until()
        raw.send(Q + "SUB foo 1\r\nPUB foo 0002\r\nhi\r\n").expect("MSG foo 1 2\r\nhi\r\n")


def tls_begins_after_info(server):
    with Raw(server, "natss") as raw:
        assert b'"tls_required":true' in raw.until()
        raw.start_tls()
        raw.send(Q + "SUB foo 1\r\nPUB foo 2\r\nhi\r\nPING\r\n").expect("MSG foo 1 2\r\nhi\r\nPONG\r\n")
    with Raw(server, "natss") as raw:
        raw.until()
        raw.send(Q).expect("-ERR 'Secure Connection - TLS Required'\r\n").expect_close()


def _config():
    from harness import default_config
    config = default_config()
    config["listeners"].append({
        "name": "closed", "address": "127.0.0.1", "port": 0, "protocols": ["nats"],
        "anonymous": False})
    return config


CONFIG = {"config": _config()}
