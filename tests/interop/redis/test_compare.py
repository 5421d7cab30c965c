"""The same bytes to redis-server 7.0 and to Parley: the answers are the same, byte for byte.

What must differ is made equal first: ids, addresses, ages, the version, texts of HELP. What differs by
choice is not asked here but in test_differences.py, and told in docs/reference/redis.md.
"""

import itertools
import re

from harness import Failure, Raw, Server
from users import hashed
from peers import RedisServer

# One reactor: what one connection has done is then seen by the next one, as in redis-server.
CONFIG = {"threads": 1}

numbers = itertools.count(1)


def _command(*words):
    data = b"*%d\r\n" % len(words)
    for word in words:
        word = word.encode() if isinstance(word, str) else word
        data += b"$%d\r\n%s\r\n" % (len(word), word)
    return data


def _normal(data):
    data = re.sub(rb"\$7\r\nversion\r\n\$\d+\r\n[\d.]+\r\n", b"(version)", data)
    data = re.sub(rb"\$2\r\nid\r\n:\d+\r\n", b"(id)", data)

    def client(match):
        kept = (b"name", b"flags", b"db", b"sub", b"psub", b"ssub", b"multi", b"cmd", b"user",
                b"redir", b"resp")
        fields = dict(field.split(b"=", 1) for field in match.group(2).split())
        return b"client " + b" ".join(b"%s=%s" % (key, fields[key]) for key in kept) + b"\n"

    data = re.sub(rb"([$=]\d+\r\n(?:txt:)?)?(id=\d+ [^\n]*)\n", client, data)
    return data


class _Pair:
    """A connection to each server; what is sent to both is answered the same by both."""

    def __init__(self, *servers):
        self.raws = [Raw(server.address("redis") if server.port("redis") else None)
                     for server in servers]

    def ask(self, data, *, shuffled=False, closes=False, silent=False):
        """Everything that comes up to the answer to a PING of our own, or to the end."""
        data = data.encode() if isinstance(data, str) else data
        if silent:
            for raw in self.raws:
                raw.send(data)
            return None
        mark = b"mark%d" % next(numbers)
        answers = []
        for raw in self.raws:
            raw.send(data)
            if closes:
                answer = raw.read_all()
            else:
                raw.send(_command("PING", mark))
                answer = raw.until(mark + b"\r\n")
            answer = _normal(answer)
            answers.append(sorted(answer.split(b"\r\n")) if shuffled else answer)
        if answers[0] != answers[1]:
            raise Failure(f"to {data[:300]!r}\nredis: {answers[0]!r}\nparley: {answers[1]!r}")
        return answers[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for raw in self.raws:
            raw.close()


class _Redis(RedisServer):
    def port(self, name="main"):
        return super().port("main")

    def address(self, name="main"):
        return super().address("main")


def _compare(server, *steps, **options):
    """Each step on one connection to each server."""
    with _Redis() as redis, _Pair(redis, server) as pair:
        for step in steps:
            pair.ask(step, **options)


def _each(server, *steps, **options):
    """Each step on a connection of its own."""
    with _Redis() as redis:
        for step in steps:
            with _Pair(redis, server) as pair:
                pair.ask(step, **options)


def simple_commands_are_answered_the_same(server):
    _compare(server, "PING\r\n", "ping hello\r\n", "ECHO x\r\n", "ECHO\r\n", "PING a b\r\n",
             "SELECT 0\r\n", "SELECT 16\r\n", "SELECT x\r\n", "SELECT\r\n", "SELECT -1\r\n",
             _command("ECHO", b"\0\xff\r\n"), _command("echo", ""), "CLIENT GETNAME\r\n")


def unknown_commands_are_told_the_same(server):
    _compare(server, "FOO a b c\r\n", "foo\r\n", "BAR \"a b\" ''\r\n",
             _command("foo", "a\r\nb", "x" * 200, "y"), _command("x" * 300, "y" * 20, "z" * 20),
             _command("foo", *["12345678901234567890"] * 10), _command("", "a"), '""\r\n',
             _command("a\nb", "c"), _command("foo", b"a\0b", b"c"), _command(b"f\0o", b"c"),
             _command(b"caf\xc3\xa9", b"\xff"))


def inline_requests_are_split_the_same(server):
    _compare(server, "\r\n\r\nPING\r\n", "PING\nPING\n", "   \r\nPING\r\n", "PING \"a b\"\r\n",
             "PING 'a\\'b'\r\n", 'PING "\\x41\\n\\q\\t"\r\n', 'ECHO x"y z"\r\n', "ECHO ''\r\n",
             "\tECHO\ta\r\n", 'ECHO "\\xZ1"\r\n', "*0\r\n", "*-1\r\n", "*-10\r\nPING\r\n",
             "PING a\r\r\n", "ECHO 'a\\nb'\r\n")


def malformed_requests_end_the_connection_in_the_same_words(server):
    _each(server, "*x\r\n", "*2\r\n+a\r\n", "*1\r\n$x\r\n", "*1\r\n$-1\r\n", "*1\r\n$600000000\r\n",
          "*2147483648\r\n", "*" + "1" * 70000, "*1\r\n$" + "1" * 70000, "x" * 70000,
          'PING "a\r\n', 'PING "a"b\r\n', "PING 'a\r\n", "*1\r\n\r\n", "*1 \r\n", "*+1\r\n",
          "*01\r\n", "*-0\r\n", "*\r\n", "*1\r\n$04\r\nPING\r\n", "*1\r\n$\r\n", "*1\r\n*1\r\n",
          "*1\r\n$99999999999999999999\r\n", "*99999999999999999999\r\n", "*1\r\n:1\r\n",
          "PUBLISH a 1\r\n*x\r\nPING\r\n", "*1\r\n\n\r\n", closes=True)


def other_protocols_requests_end_the_connection_without_a_word(server):
    _each(server, "POST / HTTP/1.1\r\nx: y\r\n", "Host: a\r\nPING\r\n", "pOsT\r\n",
          _command("post"), _command("HOST:", "x"), closes=True)


def quit_is_answered_the_same(server):
    _each(server, "QUIT\r\n", "QUIT now\r\n", "PING\r\nQUIT\r\nPING\r\n",
          "MULTI\r\nPING\r\nQUIT\r\n", "SUBSCRIBE a\r\nQUIT\r\n", "PUBLISH a 1\r\nQUIT\r\n",
          closes=True)


def trailing_bytes_of_a_bulk_string_are_skipped_the_same(server):
    _compare(server, "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", "*1\rx$4\ryPING\r\n")


def subscribe_and_its_kin_count_the_same(server):
    _compare(server, "SUBSCRIBE a a b\r\n", "SUBSCRIBE\r\n", "PSUBSCRIBE x* x* y?\r\n",
             "PSUBSCRIBE\r\n", "SSUBSCRIBE q q\r\n", "UNSUBSCRIBE zz\r\n", "UNSUBSCRIBE a a\r\n",
             "PUNSUBSCRIBE a*\r\n", "PUNSUBSCRIBE y?\r\n", "UNSUBSCRIBE\r\n", "UNSUBSCRIBE\r\n",
             "PUNSUBSCRIBE\r\n", "PUNSUBSCRIBE\r\n", "SUNSUBSCRIBE x\r\n", "SUNSUBSCRIBE\r\n",
             "SUNSUBSCRIBE\r\n", 'SUBSCRIBE ""\r\n', 'UNSUBSCRIBE ""\r\n', "UNSUBSCRIBE\r\n",
             _command("SUBSCRIBE", b"\0\r\n\xff"))
    _compare(server, "SUBSCRIBE a b c d\r\n", "UNSUBSCRIBE\r\n", "PSUBSCRIBE a b c\r\n",
             "PUNSUBSCRIBE\r\n", "SSUBSCRIBE a b c\r\n", "SUNSUBSCRIBE\r\n", shuffled=True)


def subscribe_and_its_kin_count_the_same_in_resp3(server):
    _compare(server, "HELLO 3\r\n", "SUBSCRIBE a b\r\n", "PSUBSCRIBE x*\r\n", "SSUBSCRIBE q\r\n",
             "PING\r\n", "UNSUBSCRIBE a\r\n", "UNSUBSCRIBE\r\n", "UNSUBSCRIBE\r\n",
             "PUNSUBSCRIBE\r\n", "PUNSUBSCRIBE\r\n", "SUNSUBSCRIBE\r\n", "SUNSUBSCRIBE\r\n")


def a_subscriber_in_resp2_may_do_the_same(server):
    _compare(server, "SUBSCRIBE a\r\n", "PING\r\n", "PING x\r\n", "ECHO x\r\n", "foo\r\n",
             "PUBLISH a b\r\n", "PUBLISH a\r\n", "HELLO 3\r\n", "AUTH x\r\n", "MULTI\r\n",
             "CLIENT ID\r\n", "CLIENT FOO\r\n", "COMMAND\r\n", "SELECT 0\r\n", "RESET\r\n",
             "ECHO x\r\n")


def publish_counts_and_delivers_the_same(server):
    with _Redis() as redis, _Pair(redis, server) as a, _Pair(redis, server) as b, \
            _Pair(redis, server) as c:
        a.ask("SUBSCRIBE news other\r\n")
        b.ask("HELLO 3\r\nPSUBSCRIBE n* [m-o]ews\r\nSUBSCRIBE news\r\n")
        for step in ("PUBLISH news 1\r\n", "PUBLISH nobody 2\r\n", "PUBLISH none 3\r\n",
                     "PUBLISH other 4\r\nPUBLISH news 5\r\nPING\r\nPUBLISH x 6\r\n",
                     'PUBLISH news ""\r\n', _command("PUBLISH", "news", b"\0\xff\r\n" * 1000)):
            c.ask(step)
            a.ask("")
            b.ask("", shuffled=True)
        a.ask("UNSUBSCRIBE news\r\n")
        c.ask("PUBLISH news 7\r\n")
        a.ask("")
        b.ask("", shuffled=True)


def globs_match_the_same(server):
    globs = ["h?llo", "h*llo", "h[ae]llo", "h[^e]llo", "h[a-b]llo", "h\\*llo", "*", "h[", "h[a",
             "h\\", "[z-a]x", "[^]x", "a[]]", "**llo", "h[\\]]llo", "\\h*", "[a-]", "?", "h[^a-z]*"]
    names = ["hello", "hallo", "hllo", "heello", "h*llo", "hbllo", "h[", "h[a", "h\\", "yx", "ax",
             "", "h]llo", "-", "a", "]", "a]", "h]", "h-llo", "hello.world"]
    with _Redis() as redis, _Pair(redis, server) as c:
        for glob in globs:
            with _Pair(redis, server) as a:
                a.ask(_command("PSUBSCRIBE", glob))
                c.ask(b"".join(_command("PUBLISH", name, "x") for name in names))
                a.ask("")


def shard_channels_count_and_deliver_the_same(server):
    with _Redis() as redis, _Pair(redis, server) as a, _Pair(redis, server) as c:
        a.ask("SSUBSCRIBE s1 s2\r\n")
        c.ask("SPUBLISH s1 x\r\nSPUBLISH s3 y\r\nSPUBLISH s2\r\n")
        a.ask("")
        c.ask("PUBSUB SHARDNUMSUB s1 s3\r\nPUBSUB SHARDCHANNELS s1\r\nPUBSUB SHARDCHANNELS x*\r\n")
        a.ask("SUNSUBSCRIBE s1\r\n")
        c.ask("SPUBLISH s1 x\r\nPUBSUB SHARDCHANNELS\r\n")


def who_subscribes_and_publishes_in_resp3_sees_the_same_order(server):
    _compare(server, "HELLO 3\r\n", "SUBSCRIBE a\r\n", "PUBLISH a 1\r\n", "PSUBSCRIBE a*\r\n",
             "PUBLISH a 2\r\n", "UNSUBSCRIBE a\r\nPUBLISH a 3\r\n", "PUNSUBSCRIBE\r\n",
             "SSUBSCRIBE z\r\n", "SPUBLISH z 3\r\n", "PUBLISH b 1\r\n", "HELLO 2\r\n",
             "SPUBLISH z 4\r\n")


def transactions_go_the_same_way(server):
    _compare(server, "MULTI\r\nMULTI\r\nPUBLISH a b\r\nPING\r\nWATCH a\r\nEXEC\r\n",
             "EXEC\r\n", "DISCARD\r\n", "MULTI\r\nFOO\r\nPUBLISH\r\nEXEC\r\n",
             "MULTI\r\nDISCARD\r\n", "MULTI\r\nEXEC\r\n", "WATCH a\r\n", "UNWATCH\r\n", "WATCH\r\n",
             "MULTI x\r\n", "MULTI\r\nCLIENT FOO\r\nEXEC\r\n", "MULTI\r\nCLIENT\r\nEXEC\r\n",
             "MULTI\r\nSUBSCRIBE x\r\nEXEC\r\n", "UNSUBSCRIBE\r\n", "MULTI\r\nRESET\r\nEXEC\r\n",
             "MULTI\r\nUNWATCH\r\nSELECT 99\r\nECHO a\r\nCLIENT GETNAME\r\nEXEC\r\n",
             "HELLO 3\r\n", "MULTI\r\nPUBLISH a b\r\nCLIENT GETNAME\r\nEXEC\r\n")


def hello_is_answered_the_same(server):
    _compare(server, "HELLO\r\n", "HELLO 4\r\n", "HELLO 1\r\n", "HELLO x\r\n", "HELLO 3 FOO\r\n",
             "HELLO 3 SETNAME a\r\n", "CLIENT GETNAME\r\n", "HELLO\r\n", "HELLO 3 AUTH a\r\n", "HELLO 3 SETNAME\r\n", 'HELLO 3 SETNAME "a b"\r\n',
             "CLIENT GETNAME\r\n", "HELLO 2 SETNAME b SETNAME c\r\n", "CLIENT GETNAME\r\n",
             "HELLO 2 setname d\r\n", "RESET\r\n", "CLIENT GETNAME\r\n")


def client_commands_are_answered_the_same(server):
    _compare(server, "CLIENT\r\n", "CLIENT FOO\r\n", "CLIENT ID x\r\n", 'CLIENT SETNAME "a b"\r\n',
             "CLIENT SETNAME x\r\n", "CLIENT GETNAME\r\n", "CLIENT INFO\r\n",
             'CLIENT SETNAME ""\r\n', "CLIENT GETNAME\r\n", "CLIENT SETNAME\r\n",
             "CLIENT LIST TYPE foo\r\n", "CLIENT LIST TYPE pubsub\r\n", "CLIENT LIST ID 99998\r\n",
             "CLIENT LIST ID x\r\n", "CLIENT LIST FOO\r\n", "CLIENT LIST TYPE\r\n",
             "CLIENT LIST ID\r\n", "CLIENT LIST TYPE normal x\r\n", "CLIENT LIST TYPE master\r\n",
             "CLIENT KILL 1.2.3.4:5\r\n", "CLIENT KILL ID 99999\r\n", "CLIENT KILL ID x\r\n",
             "CLIENT KILL ID 0\r\n", "CLIENT KILL FOO x\r\n", "CLIENT KILL TYPE foo\r\n",
             "CLIENT KILL TYPE pubsub\r\n", "CLIENT KILL SKIPME maybe\r\n", "CLIENT KILL\r\n",
             "CLIENT KILL SKIPME yes ID 99999\r\n", "CLIENT KILL ID 99 ADDR 1:2 LADDR 1:2\r\n",
             "CLIENT KILL ID 1 TYPE\r\n", "CLIENT NO-EVICT ON\r\n", "CLIENT INFO\r\n",
             "CLIENT NO-EVICT off\r\n", "CLIENT NO-EVICT x\r\n", "CLIENT UNBLOCK 1\r\n",
             "CLIENT UNBLOCK x\r\n", "CLIENT UNBLOCK 1 FOO\r\n", "CLIENT UNBLOCK 1 ERROR\r\n",
             "CLIENT PAUSE x\r\n", "CLIENT PAUSE -1\r\n", "CLIENT UNPAUSE\r\n",
             "CLIENT GETREDIR\r\n", "CLIENT TRACKINGINFO\r\n", "HELLO 3\r\n",
             "CLIENT TRACKINGINFO\r\n", "CLIENT INFO\r\n", "SUBSCRIBE a\r\nPSUBSCRIBE b\r\n",
             "CLIENT INFO\r\n", "CLIENT GETNAME\r\n")


def killed_clients_are_counted_and_closed_the_same(server):
    with _Redis() as redis, _Pair(redis, server) as c:
        with _Pair(redis, server) as a:
            a.ask("SUBSCRIBE a\r\n")
            c.ask("CLIENT KILL TYPE pubsub\r\n")
            a.ask("", closes=True)
        c.ask("CLIENT KILL TYPE normal SKIPME no\r\n", closes=True)


def replies_are_turned_off_the_same(server):
    _compare(server, "CLIENT REPLY FOO\r\n", "CLIENT REPLY\r\n", "CLIENT REPLY ON\r\n",
             "CLIENT REPLY SKIP\r\nPING\r\nPING\r\n", "CLIENT REPLY SKIP\r\nFOO\r\nFOO\r\n",
             "CLIENT REPLY OFF\r\nPING\r\nFOO\r\nPUBLISH a b\r\nCLIENT REPLY ON\r\n",
             "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\n",
             "CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY ON\r\n",
             "CLIENT REPLY OFF\r\nMULTI\r\nPING\r\nEXEC\r\nCLIENT REPLY ON\r\n",
             "HELLO 3\r\n", "CLIENT REPLY OFF\r\nSUBSCRIBE a\r\nPUBLISH a 1\r\n"
             "CLIENT REPLY ON\r\n", "CLIENT REPLY SKIP\r\nPUBLISH a 2\r\nPUBLISH a 3\r\n",
             "CLIENT REPLY SKIP\r\nUNSUBSCRIBE\r\n")


def pubsub_is_answered_the_same(server):
    with _Redis() as redis, _Pair(redis, server) as a, _Pair(redis, server) as c:
        for step in ("PUBSUB\r\n", "PUBSUB FOO\r\n", "PUBSUB CHANNELS\r\n",
                     "PUBSUB CHANNELS a b\r\n", "PUBSUB NUMSUB\r\n", "PUBSUB NUMSUB a b\r\n",
                     "PUBSUB NUMPAT\r\n", "PUBSUB NUMPAT x\r\n", "PUBSUB SHARDCHANNELS\r\n",
                     "PUBSUB SHARDNUMSUB\r\n", "PUBSUB SHARDNUMSUB a\r\n",
                     "PUBSUB SHARDCHANNELS a b\r\n"):
            c.ask(step)
        a.ask("SUBSCRIBE a\r\nPSUBSCRIBE a* b* a*\r\n")
        c.ask("PUBSUB NUMSUB a b a\r\nPUBSUB CHANNELS\r\nPUBSUB CHANNELS b*\r\nPUBSUB NUMPAT\r\n")
        a.ask("SUBSCRIBE aa ab b\r\n")
        c.ask("PUBSUB CHANNELS a*\r\n", shuffled=True)
        c.ask("PUBSUB CHANNELS\r\n", shuffled=True)
        a.ask("RESET\r\n")
        c.ask("PUBSUB NUMPAT\r\nPUBSUB CHANNELS\r\n")


def commands_are_told_of_the_same(server):
    _compare(server, "COMMAND FOO\r\n", "COMMAND INFO foo\r\n", "COMMAND INFO foo publish\r\n",
             "COMMAND INFO client|id\r\n", "COMMAND INFO spublish ssubscribe sunsubscribe\r\n",
             "COMMAND INFO subscribe psubscribe unsubscribe punsubscribe\r\n",
             "COMMAND INFO multi exec discard watch unwatch\r\n",
             "COMMAND INFO auth hello echo quit reset select\r\n", "COMMAND INFO client|kill\r\n",
             "COMMAND DOCS foo\r\n", "COMMAND LIST x\r\n", "COMMAND LIST FILTERBY MODULE x\r\n",
             "COMMAND LIST FILTERBY FOO x\r\n", "COMMAND LIST FILTERBY ACLCAT zzz\r\n",
             "COMMAND GETKEYS PUBLISH a b\r\n", "COMMAND GETKEYS foo bar\r\n",
             "COMMAND GETKEYS foo\r\n", "COMMAND GETKEYS\r\n", "COMMAND GETKEYS WATCH a b\r\n",
             "COMMAND GETKEYSANDFLAGS WATCH a b\r\n", "COMMAND GETKEYSANDFLAGS SPUBLISH a b\r\n",
             "HELLO 3\r\n", "COMMAND INFO publish foo ssubscribe\r\n",
             "COMMAND GETKEYSANDFLAGS WATCH a\r\n")
    _compare(server, "COMMAND LIST FILTERBY ACLCAT pubsub\r\n", shuffled=True)


def pipelines_are_answered_in_the_same_order(server):
    steps = ["PING 1\r\nPUBLISH a 1\r\nECHO 2\r\nSUBSCRIBE a\r\nPING 3\r\nUNSUBSCRIBE a\r\nECHO 4\r\n"
             "PUBLISH a 2\r\nFOO\r\nMULTI\r\nPUBLISH a 3\r\nEXEC\r\nPUBLISH a\r\nECHO 5\r\n",
             "PUBLISH a x\r\n" * 500 + "ECHO end\r\n", "RESET\r\nPING\r\n" * 5]
    _compare(server, *steps)


ACL = """
requirepass secret
user dev on >pw resetchannels &dev.* &ok ~* +@all
"""


def logins_and_rights_are_told_the_same():
    roles = {"all": {"publish": [">"], "subscribe": [">"]},
             "dev": {"publish": ["dev.>", "ok"], "subscribe": ["dev.>", "ok"]}}
    users = f"default all {hashed('secret')}\ndev dev {hashed('pw')}\n"
    with _Redis(ACL) as redis, Server(threads=1, roles=roles, auth={"users": "users.txt"},
                                      files={"users.txt": users}) as server:
        # PING is no mark before the login.
        for step in ("PING\r\n", "FOO\r\n", "PUBLISH a b\r\n", "SUBSCRIBE a\r\n", "HELLO\r\n",
                     "HELLO 3\r\n", "AUTH wrong\r\n", "HELLO 3 AUTH default wrong\r\n",
                     "HELLO 3 AUTH default\r\n", "AUTH\r\n", "AUTH a b c\r\n", "HELLO 4\r\n",
                     "COMMAND\r\n", "MULTI\r\n", "CLIENT ID\r\n", "RESET\r\n", "*10\r\n*x\r\n",
                     "*11\r\n", "*2\r\n$16385\r\n", "*1\r\n$-2\r\n"):
            with _Pair(redis, server) as pair:
                pair.ask(step + "QUIT\r\n", closes=True)
        with _Pair(redis, server) as pair:
            for step in ("AUTH secret\r\n", "AUTH wrong\r\n", "RESET\r\nAUTH default secret\r\n",
                         "HELLO 3 AUTH default secret SETNAME me\r\n", "CLIENT GETNAME\r\n",
                         "SUBSCRIBE dev.b\r\n", "AUTH dev pw\r\n", "PUBLISH dev.b 1\r\n",
                         "PUBLISH a 1\r\n", "SUBSCRIBE x\r\n", "SUBSCRIBE ok x\r\n",
                         "PSUBSCRIBE *\r\n", "PSUBSCRIBE dev.*\r\n", "SPUBLISH x 1\r\n",
                         "SSUBSCRIBE x\r\n", "MULTI\r\nPUBLISH x 1\r\nEXEC\r\n", "CLIENT INFO\r\n",
                         "PUBLISH dev.x 1\r\nPUBLISH x 1\r\nPING\r\n",
                         "CLIENT REPLY OFF\r\nPUBLISH x 1\r\nSUBSCRIBE x\r\nCLIENT REPLY ON\r\n",
                         "CLIENT REPLY SKIP\r\nAUTH dev pw\r\nPING\r\n"):
                pair.ask(step)
