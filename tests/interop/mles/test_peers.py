"""Servers that share channels as Mles peers: with one that is like the original, and with each other."""

import contextlib
import re

from chat import BINARY, TEXT, Member, await_members
from clients import Message, MqttJs, NodeClient, decoded, encoded
from harness import Certificates, Server, equal, holds, poll
from peers import free_port
from siphash import auth

SECONDS_MAX = 240

# Waits that a person would not notice.
QUICK = {"peer_retry": "50ms", "peer_retry_max": "200ms", "peer_settle": "100ms",
         "peer_linger": "100ms"}


class _Original(NodeClient):
    """mles_server.mjs, on the same port after a restart."""

    def __init__(self, **options):
        super().__init__("mles_server.mjs")
        self.port = self.call("listen", **options)["port"]
        self.url = f"ws://127.0.0.1:{self.port}"

    @staticmethod
    def message_of(line):
        return Message(line["channel"], decoded(line["data"]), text=line["text"])

    def say(self, channel, data, text=False):
        self.call("say", channel=channel, data=encoded(data), text=text)

    def header(self, channel, uid):
        self.call("header", channel=channel, uid=uid)

    def restart(self):
        self.call("restart")
        self.call("listen", port=self.port)


def _linked(original, client=None, **mles):
    """A server with a link to it for the channel `chat`."""
    return Server(client=client or {}, mles={"peers": [original.url], "peer_channels": ["chat"],
                                             "peer_name": "us", **QUICK, **mles})


def an_original_server_sees_a_link_as_a_client_with_the_key():
    with _Original() as original, _linked(original, key="secret-key"):
        header = original.event("joined")
        equal((header["uid"], header["channel"]), ("peer-us", "chat"))
        equal(header["auth"], auth("peer-us", "chat", "secret-key"))


def frames_go_both_ways_over_a_link_as_text_and_binary():
    with _Original() as original, _linked(original) as server, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as device:
        device.subscribe("chat")
        server.wait_log("mles_peer_linked")
        original.say("chat", b"\x00\xff", text=False)
        device.expect("chat", b"\x00\xff")
        original.say("chat", "hello", text=True)
        device.expect("chat", "hello")
        device.publish("chat", b"\x01\x02")
        original.expect("chat", b"\x01\x02", text=False)
        original.expect_none()


def the_history_of_a_peer_arrives_without_its_headers():
    with _Original() as original:
        original.header("chat", "alice")
        original.say("chat", "one", text=True)
        original.header("chat", "bob")
        original.say("chat", b"two")
        with Server(mles={"peers": [original.url], **QUICK}) as _:
            pass  # a channel without members has no link
        original.expect_none()
        with _linked(original) as server, MqttJs(server.url("mqtt", "mqtt")) as device:
            server.wait_log("mles_peer_linked")
            device.subscribe("chat")
            original.say("chat", "three", text=True)
            device.expect("chat", "three")
            device.expect_none()


def a_peer_that_has_lost_its_memory_gets_the_history_back():
    with _Original() as original, _linked(original) as server, \
            MqttJs(server.url("mqtt", "mqtt")) as device:
        server.wait_log("mles_peer_linked")
        device.publish("chat", "one")
        original.expect("chat", "one")
        original.say("chat", "two", text=True)
        original.event("joined")
        original.restart()
        original.event("joined")
        original.expect("chat", "one", text=False)
        original.expect("chat", "two", text=True)
        device.publish("chat", "three")
        original.expect("chat", "three")
        original.expect_none()


def what_was_said_while_a_peer_was_away_reaches_it_later():
    with _Original() as original, _linked(original) as server, \
            MqttJs(server.url("mqtt", "mqtt")) as device:
        server.wait_log("mles_peer_linked")
        original.call("restart")
        server.wait_log("mles_peer_lost")
        device.publish("chat", "meanwhile")
        original.call("listen", port=original.port)
        original.expect("chat", "meanwhile")


def a_peer_that_closes_is_named_in_the_log_and_tried_again():
    with _Original(refuse=True) as original, _linked(original) as server:
        server.wait_log(r"mles_peer_lost peer=ws://127\.0\.0\.1:\d+ channel=\"chat\" retry=50ms "
                        r"why=\".*closed")
        server.wait_log("retry=200ms")


def a_peer_that_reads_too_slowly_gets_everything_by_another_connection():
    frames = [bytes([number]) * 200_000 for number in range(100)]
    with _Original() as original, _linked(original, client={"output": "1M"}) as server, \
            MqttJs(server.url("mqtt", "mqtt")) as device:
        server.wait_log("mles_peer_linked")
        original.call("pause")
        for frame in frames:
            device.publish("chat", frame, qos=0)
        server.wait_log("mles_peer_lost .*too slowly")
        original.call("resume")
        missing = set(frames)
        while missing:
            missing.discard(original.next().data)


def a_hundred_channels_come_back_when_their_peer_does():
    names = sorted(f"room {number}" for number in range(100))
    with _Original() as original, Server(
            mles={"peers": [original.url], "peer_channels": names, **QUICK}) as server:
        equal(sorted(original.event("joined")["channel"] for _ in names), names)
        original.restart()
        equal(sorted(original.event("joined")["channel"] for _ in names), names)
        link = b'parley_mles_peer_links{peer="%s"} 100' % original.url.encode()
        poll(lambda: link in server.get("/metrics")[1], "all to be open")



def a_link_ends_when_the_last_member_has_gone():
    with _Original() as original, Server(mles={"peers": [original.url], **QUICK}) as server:
        with Member(server, "room", "alice", listener="shared") as alice:
            equal(original.event("joined")["channel"], "room")
            bob = Member(server, "room", "bob", listener="shared")
            alice.say("hello")
            original.expect("room", "hello", text=True)
            bob.expect_header("alice").expect("hello")
            holds(b'parley_mles_peer_links{peer="%s"} 1' % original.url.encode()
                  in server.get("/metrics")[1], "the link is counted")
            bob.close()
            original.say("room", "anyone?", text=True)
            alice.expect("anyone?")
        original.event("left")
        with Member(server, "room", "carol", listener="shared"):
            original.event("joined")


# ---- Two and more of ours ----


class _Node(Server):
    """A server with a port that stays the same, and links to others by their ports."""

    def __init__(self, port, *peers, scheme="ws", history=(), tsan=False, **mles):
        listener = {"name": "mles", "address": "127.0.0.1", "port": port, "protocols": ["mles"],
                    "websocket": True, "tls": "on" if scheme == "wss" else "off"}
        files = Certificates()
        super().__init__(tsan=tsan, config={
            "threads": 2,
            "admin": {"address": "127.0.0.1", "port": 0},
            "drain": {"spread": "0s", "timeout": "2s"},
            "tls": {"certificate": str(files.certificate), "key": str(files.key)},
            "listeners": [listener],
            "history": list(history),
            "mles": {"peers": [f"{scheme}://127.0.0.1:{peer}" for peer in peers], **QUICK, **mles},
        })

    def join(self, uid, **more):
        return Member(self, "chat", uid, listener="mles", **more)

    def fall(self):
        """kill -9, and what it had in memory is gone."""
        self.kill()
        return self


def _say_and_hear(members, word):
    """Each says it as text and as binary, and all others hear it once, in any order of speakers."""
    for name, member in members.items():
        member.say(f"{word} of {name}")
        member.say(f"{word} of {name}".encode() + b"\xff")
    for name, member in members.items():
        heard = sorted(member.next() for _ in range(2 * (len(members) - 1)))
        others = [other for other in members if other != name]
        equal(heard, sorted(
            [(TEXT, f"{word} of {other}".encode()) for other in others]
            + [(BINARY, f"{word} of {other}".encode() + b"\xff") for other in others]), name)


def _two_share_everything(first, second):
    with first, second, first.join("a") as a, second.join("b") as b:
        _await_links(first, second)
        _say_and_hear({"a": a, "b": b}, "word")
        a.say("one")
        b.expect("one")
        b.say(b"two")
        a.expect(b"two")

        first.fall()
        b.say("three")
        first.start()
        with first.join("a2") as a2:
            heard = [a2.next() for _ in range(7)]
            equal(heard[4:], [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b"three")])
            a2.say("four")
            b.expect("four")

            second.fall()
            a2.say("five")
            second.start()
            with second.join("b2") as b2:
                heard = [b2.next() for _ in range(9)]
                equal(heard[4:], [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b"three"),
                                  (TEXT, b"four"), (TEXT, b"five")])
                b2.say("six")
                a2.expect("six")
                a2.say("seven")
                b2.expect("seven")


def _await_links(*servers):
    for server in servers:
        count = len(server.config["mles"]["peers"])
        poll(lambda: len(re.findall("mles_peer_linked", server.log())) >= count, "links")


def two_servers_get_their_history_back_from_each_other():
    one, two = free_port(), free_port()
    _two_share_everything(_Node(one, two), _Node(two))


def two_servers_that_name_each_other_say_nothing_twice():
    one, two = free_port(), free_port()
    _two_share_everything(_Node(one, two), _Node(two, one))


def three_servers_in_a_ring_hear_each_frame_once():
    ports = [free_port() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(_Node(port, ports[(i + 1) % 3])) for i, port in enumerate(ports)]
        members = {name: stack.enter_context(node.join(name)) for name, node in zip("abc", nodes)}
        _await_links(*nodes)
        for word in ("first", "second"):
            _say_and_hear(members, word)


def three_servers_that_all_name_all_hear_each_frame_once():
    ports = [free_port() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(_Node(port, *(p for p in ports if p != port), tsan=True))
                 for port in ports]
        members = {name: stack.enter_context(node.join(name)) for name, node in zip("abc", nodes)}
        _await_links(*nodes)
        for word in ("first", "second"):
            _say_and_hear(members, word)


def the_server_in_the_middle_names_the_channels_that_pass_through_it():
    ports = [free_port() for _ in range(3)]
    with _Node(ports[0], ports[1]) as left, _Node(ports[2]) as right, \
            _Node(ports[1], ports[2], peer_channels=["chat"]) as middle, \
            left.join("a") as a, right.join("b") as b:
        _await_links(left, middle)
        _say_and_hear({"a": a, "b": b}, "word")


def two_users_of_one_server_may_say_the_same():
    one, two = free_port(), free_port()
    with _Node(one, two) as first, _Node(two), \
            first.join("a") as a, first.join("b") as b:
        first.wait_log("mles_peer_linked")
        await_members(first, 3)
        c = first.join("c")
        await_members(first, 4)
        a.say("ok")
        b.say("ok")
        c.next(), c.next()  # two headers
        c.expect("ok").expect("ok")
        c.close()


def a_link_leaves_no_header_in_the_history():
    one, two = free_port(), free_port()
    with _Node(one, two) as first, _Node(two) as second, first.join("a") as a:
        first.wait_log("mles_peer_linked")
        a.say("hello")
        with second.join("b") as b:
            b.expect("hello")


def a_peer_with_another_key_is_named_in_the_log():
    one, two = free_port(), free_port()
    with _Node(one, two, key="one") as first, _Node(two, key="two"), first.join("a", key="one"):
        first.wait_log(rf"mles_peer_lost peer=ws://127\.0\.0\.1:{two} .*1008.*auth is missing or wrong")


def links_over_tls_check_the_certificate():
    one, two = free_port(), free_port()
    with _Node(two, scheme="wss") as second, second.join("b", tls=True) as b:
        with _Node(one, two, scheme="wss", peer_ca=second.ca) as first, \
                first.join("a", tls=True) as a:
            first.wait_log("mles_peer_linked")
            a.say("hello")
            b.expect("hello")
        with _Node(one, two, scheme="wss") as first, first.join("a", tls=True):
            first.wait_log("mles_peer_lost .*certificate")
        with _Node(one, two, scheme="wss", peer_insecure=True) as first, \
                first.join("a", tls=True) as a:
            first.wait_log("mles_peer_linked")
            a.say("again")
            b.expect("again")


def a_history_on_disk_is_not_doubled_by_a_peer_that_has_it_too():
    one, two = free_port(), free_port()
    durable = [{"subject": "chat", "limit": 200, "durable": True}]
    with _Node(one, two, history=durable) as first, _Node(two) as second, \
            first.join("a") as a, second.join("b") as b:
        first.wait_log("mles_peer_linked")
        a.say("one")
        b.expect("one").say(b"two")
        a.expect(b"two")
        first.fall()
        b.say("three")
        first.start()
        with first.join("c") as c:
            c.expect_header("a").expect("one").expect(b"two").expect("three")
            second.fall().start()
            with second.join("d") as d:
                heard = [d.next() for _ in range(3)]
                equal(heard, [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b"three")])
                d.say("four")
                c.expect("four")
                with first.join("e") as e:
                    heard = [e.next() for _ in range(6)]
                    equal([payload for _, payload in heard if b"uid" not in payload],
                          [b"one", b"two", b"three", b"four"])



def a_client_may_give_the_history_back():
    with _Node(free_port()) as node:
        with node.join("a") as a:
            a.say("one")
            await_members(node, 1)
        node.fall().start()
        with node.join("a") as a, node.join("b") as b:
            await_members(node, 2)
            a.say("one").say(b"two").say("one")
            heard = [b.next() for _ in range(3)]
            if heard[0][1] == a.header.encode():
                heard = [*heard[1:], b.next()]
            equal(heard, [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b"one")])
            with node.join("c") as c:
                heard = [c.next() for _ in range(5)]
                equal(heard[2:], [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b"one")])
