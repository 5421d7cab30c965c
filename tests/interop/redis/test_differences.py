"""Where Parley answers otherwise than redis-server, as docs/reference/redis.md tells."""

import re

from clients import mosquitto_pub
from harness import Failure, Raw, Server

CONFIG = {"threads": 1}


def _ask(server, text, listener="redis"):
    with Raw(server, listener) as raw:
        raw.send(text + "QUIT\r\n" if isinstance(text, str) else text)
        answer = raw.read_all()
    return answer.removesuffix(b"+OK\r\n")


def _expect(server, text, answer):
    got = _ask(server, text)
    if got != answer:
        raise Failure(f"to {text!r}: {got!r}, expected {answer!r}")


def commands_of_the_key_space_are_unknown(server):
    for command in ("GET", "CONFIG", "ACL", "EVAL", "MONITOR", "CLUSTER", "FLUSHALL"):
        _expect(server, f"{command} x\r\n",
                f"-ERR unknown command '{command}', with args beginning with: 'x' \r\n".encode())


def there_is_one_database(server):
    _expect(server, "SELECT 1\r\n", b"-ERR DB index is out of range\r\n")


def a_shard_channel_is_the_same_subject_as_a_channel(server):
    with Raw(server, "redis") as a, Raw(server, "redis") as b, Raw(server, "redis") as c:
        a.send("SSUBSCRIBE x\r\n").until(b":1\r\n")
        b.send("SUBSCRIBE x\r\n").until(b":1\r\n")
        c.send("PUBLISH x 1\r\nSPUBLISH x 2\r\n").expect(b":2\r\n:2\r\n")
        for n in (b"1", b"2"):
            a.expect(b"*3\r\n$8\r\nsmessage\r\n$1\r\nx\r\n$1\r\n" + n + b"\r\n")
            b.expect(b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n" + n + b"\r\n")
        c.send("PUBSUB NUMSUB x\r\nPUBSUB SHARDNUMSUB x\r\n")
        c.expect(b"*2\r\n$1\r\nx\r\n:1\r\n*2\r\n$1\r\nx\r\n:1\r\n")


def subscribers_of_other_protocols_are_counted(server):
    with Raw(server, "nats") as nats, Raw(server, "redis") as c:
        nats.send("CONNECT {}\r\nSUB count.me 1\r\nSUB count.* 2\r\nPING\r\n").until("PONG\r\n")
        c.send("PUBLISH count.me x\r\nPUBSUB NUMSUB count.me\r\nPUBSUB CHANNELS count*\r\n"
               "PUBSUB NUMPAT\r\n")
        c.expect(b":2\r\n*2\r\n$8\r\ncount.me\r\n:1\r\n*1\r\n$8\r\ncount.me\r\n:1\r\n")


def a_login_is_refused_inside_of_a_transaction(server):
    _expect(server, "MULTI\r\nAUTH a b\r\nHELLO 3\r\nEXEC\r\n",
            b"+OK\r\n" + 2 * b"-ERR Command not allowed inside a transaction\r\n" +
            b"-EXECABORT Transaction discarded because of previous errors.\r\n")


def other_clients_are_not_paused(server):
    _expect(server, "CLIENT PAUSE 100\r\n", b"-ERR CLIENT PAUSE is not supported\r\n")


def newer_client_commands_are_there(server):
    _expect(server, "CLIENT SETINFO lib-name x\r\nCLIENT SETINFO LIB-VER 1\r\nCLIENT NO-TOUCH on\r\n"
                    "CLIENT SETINFO foo x\r\nCLIENT SETINFO lib-name 'a b'\r\n",
            b"+OK\r\n+OK\r\n+OK\r\n-ERR Unrecognized option 'foo'\r\n"
            b"-ERR lib-name cannot contain spaces, newlines or special characters.\r\n")


def client_list_has_the_fields_that_clients_parse(server):
    told = _ask(server, "CLIENT SETNAME me\r\nCLIENT LIST\r\n").decode()
    line = next(line for line in told.splitlines() if " name=me " in line)
    fields = dict(field.split("=", 1) for field in line.split())
    for key in ("id", "addr", "laddr", "fd", "age", "idle", "flags", "db", "sub", "psub", "multi",
                "qbuf", "omem", "events", "cmd", "user", "resp", "lib-name"):
        if key not in fields:
            raise Failure(f"no {key} in {line}")
    if fields["cmd"] != "client|list" or not re.match(r"\d+$", fields["id"]):
        raise Failure(line)


def reserved_names_cannot_be_published(server):
    _expect(server, "PUBLISH $SYS.x 1\r\n",
            b"-NOPERM this user has no permissions to access one of the channels used as "
            b"arguments\r\n")


def the_shared_port_takes_no_inline_commands(server):
    with Raw(server, "shared") as raw:
        raw.send("*1\r\n$4\r\nPING\r\nPING\r\n")
        raw.expect("+PONG\r\n-ERR Protocol error: expected '*'\r\n")
        raw.expect_close()


def retained_messages_are_replayed_where_the_configuration_says_so():
    with Server(client={"replay": "retained"}) as server:
        mosquitto_pub(server.address("mqtt"), "kept/x", "1", qos=1, retain=True)
        with Raw(server, "redis") as raw:
            raw.send("SUBSCRIBE kept.x\r\n")
            raw.expect(b"*3\r\n$9\r\nsubscribe\r\n$6\r\nkept.x\r\n:1\r\n"
                       b"*3\r\n$7\r\nmessage\r\n$6\r\nkept.x\r\n$1\r\n1\r\n")
            raw.send("PSUBSCRIBE k*\r\n")
            raw.expect(b"*3\r\n$10\r\npsubscribe\r\n$2\r\nk*\r\n:2\r\n"
                       b"*4\r\n$8\r\npmessage\r\n$2\r\nk*\r\n$6\r\nkept.x\r\n$1\r\n1\r\n")
