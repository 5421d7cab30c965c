"""Mles members as the ws package makes them: what they hear, what is refused, and with which words."""

import signal

from clients import Mles, Refused
from harness import Raw, Server, WebSocket, equal, holds
from siphash import auth

SECONDS_MAX = 120

NOT_A_HEADER = (1008, "the first frame is a JSON object with the strings uid and channel")
TAKEN = (1008, "this uid is on the channel already")


def _member(server, uid, channel, **more):
    return Mles(server.url("ws", "shared", "/any/path"), uid, channel, **more)


# ---- A room ----

def two_chat_and_a_third_sees_what_was_said_with_the_defaults():
    with Server() as server, _member(server, "alice", "room") as alice, \
            _member(server, "bob", "room") as bob:
        bob.hears(alice.header)
        alice.say("hello")
        alice.say(b"\x00\x01\xff")
        bob.hears("hello", b"\x00\x01\xff")
        bob.say("")
        bob.say("grüße")
        alice.hears("", "grüße")
        with _member(server, "carol", "room") as carol:
            carol.hears(alice.header, bob.header, "hello", b"\x00\x01\xff", "", "grüße")
            carol.say("me too")
            alice.hears("me too")
            bob.hears("me too")
            carol.expect_none()


def frames_right_behind_the_first_are_heard_in_order(server):
    with _member(server, "alice", "eager") as alice:
        with _member(server, "bob", "eager", more=[str(i) for i in range(50)]):
            alice.hears(*(str(i) for i in range(50)))


def a_history_has_no_gap_and_no_double_while_others_talk(server):
    with _member(server, "alice", "seam") as alice:
        for i in range(150):
            alice.say(str(i))
        late = _member(server, "bob", "seam")
        with late:
            for i in range(150, 190):
                alice.say(str(i))
            late.hears(alice.header)
            heard = [late.next().data for _ in range(190)]
            equal(heard, [str(i).encode() for i in range(190)])


def the_newest_200_are_kept_headers_among_them(server):
    with _member(server, "alice", "long") as alice:
        for i in range(250):
            alice.say(str(i))
        with _member(server, "bob", "long") as bob:
            bob.hears(*(str(i) for i in range(50, 250)))
            bob.expect_none()
        with _member(server, "carol", "long") as carol:
            carol.hears(*(str(i) for i in range(51, 250)), bob.header)


def a_frame_in_fragments_is_one_frame(server):
    with _member(server, "alice", "fragments") as alice, _member(server, "bob", "fragments") as bob:
        bob.hears(alice.header)
        alice.call("fragments", parts=["he", "l", "lo"])
        bob.hears("hello")


def pings_are_answered_and_forwarded_to_nobody(server):
    with _member(server, "alice", "pings") as alice, _member(server, "bob", "pings") as bob:
        bob.hears(alice.header)
        alice.call("ping")
        alice.say("behind it")
        bob.hears("behind it")
        holds(bob.events["ping"].empty(), "no ping came to bob")


def channels_do_not_hear_each_other(server):
    with _member(server, "alice", "one/a+b=.x") as alice, _member(server, "alice", "one/a+b=") as two:
        with _member(server, "bob", "one/a+b=.x") as bob:
            alice.say("here")
            bob.hears(alice.header, "here")
            bob.say("there")
            alice.hears("there")
        two.expect_none()


def websocats_lines_are_frames(server):
    with _member(server, "alice", "lines") as alice, \
            _member(server, "bob", "lines", header='{"uid":"bob","channel":"lines"}\n') as bob:
        bob.hears(alice.header)
        bob.say("Hello Bob!\n")
        alice.hears("Hello Bob!\n")


def the_subprotocol_is_told_and_nothing_is_compressed(server):
    with _member(server, "alice", "terms", perMessageDeflate=True) as alice:
        equal(alice.terms, {"protocol": "mles-websocket", "extensions": ""})
    with WebSocket(server, "shared", protocol="chat, mles-websocket") as ws:
        holds("Sec-WebSocket-Protocol: mles-websocket\r\n" in ws.head, ws.head)


def over_tls_it_is_the_same(server):
    with Mles(server.url("wss", "wss"), "alice", "tls") as alice, \
            Mles(server.url("ws", "shared"), "bob", "tls") as bob:
        bob.hears(alice.header)
        alice.say(b"\x01" * 100_000)
        bob.hears(b"\x01" * 100_000)


def a_durable_channel_is_as_it_was_after_kill_9():
    with Server(history=[{"subject": "room", "limit": 200, "durable": True}]) as server:
        with _member(server, "alice", "room") as alice, _member(server, "bob", "room") as bob:
            bob.hears(alice.header)
            alice.say("hello")
            alice.say(b"\x00\x01\xff")
            # Whoever hears it knows that it is on disk.
            bob.hears("hello", b"\x00\x01\xff")
            with _member(server, "carol", "room") as carol:
                carol.hears(alice.header, bob.header, "hello", b"\x00\x01\xff")
            server.kill()
        server.start()
        with _member(server, "dan", "room") as dan, _member(server, "alice", "elsewhere"):
            dan.hears(alice.header, bob.header, "hello", b"\x00\x01\xff")
            message = dan.next()
            equal(message.data, carol.header.encode())
            dan.expect_none()
            with _member(server, "alice", "room") as alice:
                alice.say("back")
                dan.hears("back")


# ---- The key ----

def auth_is_as_the_reference_has_it():
    key = "k3y with spaces"
    with Server(env={"MLES_KEY": key}) as server:
        right = auth("bob", "chat-room-1", key)
        equal(right, "1e83943921a90cf3")
        for shown in (right, right.upper(), "+" + right, "000" + right):
            with _member(server, "bob", "chat-room-1", auth=shown) as bob:
                bob.say("in")
                bob.call("close", code=1000, reason="")
                equal(bob.closed()[0], 1000)
        with _member(server, "alice", "chat-room-1",
                     auth=auth("alice", "chat-room-1", key)) as alice:
            for _ in range(4):
                message = alice.next()
                holds(b"auth" not in message.data and right.encode() not in message.data, message)
                equal(alice.next().data, b"in")


def a_wrong_key_is_refused_at_once():
    wrong = (1008, "auth is missing or wrong")
    with Server(mles={"key": "secret-key"}, auth={"free_failures": 100}) as server:
        right = "b4a9a15cdd7c8094"
        for shown in (None, "", "+", "0x" + right, right + " ", right[:-1] + "5", "f" * 17,
                      "9b3b95527f7c2d80"):
            with _member(server, "alice", "example", auth=shown) as alice:
                equal(alice.closed(), wrong, shown)
        with _member(server, "alice", "example", auth=right) as alice:
            with _member(server, "bob", "example", auth=auth("bob", "example", "secret-key")) as bob:
                bob.hears('{"uid": "alice", "channel": "example"}')
                bob.say("hi")
                alice.hears("hi")


def without_a_key_auth_is_left_out_or_right(server):
    with _member(server, "alice", "example", auth="9b3b95527f7c2d80") as alice:
        with _member(server, "bob", "example", auth="b4a9a15cdd7c8094") as bob:
            equal(bob.closed(), (1008, "auth is wrong"))
        with _member(server, "bob", "example") as bob:
            bob.say("hi")
            alice.hears("hi")


def who_guesses_keys_is_slowed():
    with Server(mles={"key": "secret-key"},
                auth={"free_failures": 3, "backoff": "1h", "backoff_max": "1h"}) as server:
        codes = []
        for i in range(5):
            with _member(server, "alice", "example", auth=f"{i:016x}") as alice:
                codes.append(alice.closed()[0])
        equal((codes[:3], codes[-1]), ([1008] * 3, 1013))


def the_key_stands_for_a_role_and_counts_from_any_origin():
    roles = {"chat": {"publish": ["chat.>"], "subscribe": ["chat.>"]}}
    with Server(mles={"key": "k", "role": "chat", "prefix": "chat."}, roles=roles) as server:
        page = {"origin": "https://pages.example.org"}
        with _member(server, "alice", "room", auth=auth("alice", "room", "k"), **page) as alice, \
                _member(server, "bob", "room", auth=auth("bob", "room", "k")) as bob:
            bob.hears('{"uid": "alice", "channel": "room"}')
            bob.say("hi")
            alice.hears("hi")
    with Server() as server:
        try:
            with _member(server, "alice", "room", **page):
                raise AssertionError("a page of another origin came in without a login")
        except Refused as refused:
            equal(refused.text, "status 403")


# ---- Refusals ----

def a_bad_first_frame_is_refused_at_once_with_a_reason(server):
    names = (1008, "uid and channel are ASCII and not empty")
    for header, why in (
            ("", NOT_A_HEADER), ("hello", NOT_A_HEADER), ('["a","b",null]', NOT_A_HEADER),
            ('{"uid":"a"}', NOT_A_HEADER), ('{"uid":"a","channel":7}', NOT_A_HEADER),
            ('{"uid":"a","channel":"b"} x', NOT_A_HEADER),
            ('{"uid":"a","uid":"a","channel":"b"}', NOT_A_HEADER),
            ('{"uid":"","channel":"b"}', names), ('{"uid":"a","channel":"ä"}', names),
            ('{"uid":"a","channel":"%s"}' % ("x" * 1025), (1008, "uid or channel is too long")),
            ('{"uid":"a","channel":"b","x":"%s"}' % ("x" * 8192), (1009, "the first frame is too large"))):
        with _member(server, "a", "b", header=header) as member:
            equal(member.closed(), why, header[:60])


def a_binary_first_frame_is_refused(server):
    with _member(server, "a", "b", silent=True) as member:
        member.say(b'{"uid":"a","channel":"b"}')
        equal(member.closed(), (1003, "the first frame is text: a JSON object with uid and channel"))


def no_first_frame_in_time_is_refused():
    with Server(mles={"header_timeout": "200ms"}) as server:
        with _member(server, "a", "b", silent=True) as member:
            member.call("ping")
            equal(member.closed(), (1008, "no first frame came"))


def text_that_is_not_utf8_ends_its_sender_alone(server):
    with _member(server, "alice", "utf8") as alice, \
            WebSocket(server, "shared", protocol="mles-websocket") as ws:
        ws.send_frame(1, '{"uid":"bob","channel":"utf8"}')
        ws.expect_frame(1, alice.header)
        ws.send_frame(1, b"\xff\xfe")
        first, payload = ws.take_frame()
        equal((first, int.from_bytes(payload[:2], "big")), (0x88, 1007))
        with _member(server, "carol", "utf8") as carol:
            carol.say("fine")
            alice.hears("fine")


def a_frame_beyond_the_limit_is_refused_with_its_code():
    with Server(limits={"payload": "10K"}) as server:
        with _member(server, "alice", "large") as alice, _member(server, "bob", "large") as bob:
            bob.hears(alice.header)
            alice.say(b"x" * 10240)
            alice.say(b"x" * 10241)
            equal(alice.closed(), (1009, "the frame is too large"))
            bob.hears(b"x" * 10240)
            bob.expect_none()


def another_subprotocol_is_told_what_there_is(server):
    with Raw(server, "shared") as raw:
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Protocol: mles\r\n\r\n")
        holds(raw.until().startswith(b"HTTP/1.1 400"), "a bad request")


# ---- One of a name ----

def a_second_of_a_name_is_refused_and_the_first_is_untouched(server):
    with _member(server, "alice", "names") as alice:
        with _member(server, "alice", "names") as again:
            equal(again.closed(), TAKEN)
            again.expect_none()
        with _member(server, "alice", "names2"), _member(server, "bob", "names") as bob:
            bob.say("still there?")
            alice.hears("still there?")


def a_name_is_free_when_its_close_was_read(server):
    with _member(server, "alice", "free") as alice, _member(server, "bob", "free") as bob:
        bob.hears(alice.header)
        for i in range(20):
            alice.call("resync")
            alice.say(str(i))
            bob.hears(str(i))


def a_connection_that_went_mute_loses_its_name_to_its_user():
    with Server(mles={"contest": "300ms"}) as server:
        with _member(server, "alice", "ghost") as ghost, _member(server, "bob", "ghost") as bob:
            bob.hears(ghost.header)
            ghost.call("mute")
            with _member(server, "alice", "ghost") as alice:
                alice.hears(ghost.header, bob.header)
                bob.say("welcome back")
                alice.hears("welcome back")


# ---- Time, load, the end ----

def who_answers_no_pings_is_dropped_and_who_does_stays():
    with Server(mles={"ping_interval": "100ms"}) as server:
        with _member(server, "alice", "alive") as alice, _member(server, "mute", "alive") as mute:
            mute.call("mute")
            for _ in range(6):
                alice.event("ping")
            with _member(server, "mute", "alive") as again:
                alice.say("hello")
                again.hears(alice.header, mute.header, "hello")


def a_member_that_reads_too_slowly_does_not_stall_the_others():
    with Server(client={"output": "64K"}) as server:
        with _member(server, "alice", "slow") as alice, _member(server, "bob", "slow") as bob, \
                WebSocket(server, "shared", protocol="mles-websocket") as stuck:
            bob.hears(alice.header)
            stuck.send_frame(1, '{"uid":"stuck","channel":"slow"}')
            stuck.expect_frame(1, alice.header)
            frame = b"x" * 300_000
            for _ in range(60):
                alice.say(frame)
                bob.hears(frame)
            payload = b""
            first = 0
            while first != 0x88:
                first, payload = stuck.take_frame()
            equal((int.from_bytes(payload[:2], "big"), payload[2:]),
                  (1013, b"the client reads too slowly"))


def members_are_told_that_the_server_restarts():
    with Server() as server, _member(server, "alice", "bye") as alice:
        server.signal(signal.SIGTERM)
        equal(alice.closed()[0], 1012)
        equal(server.wait(), 0)
