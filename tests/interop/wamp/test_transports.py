"""WAMP's transports byte by byte: RawSocket, batches, the choice of a subprotocol, keep-alive."""

import json
import re

from harness import Raw, Server, WebSocket, equal, holds, poll
from raw_session import HELLO, MESSAGE, PING, PONG, ROLES, RawSocket


def the_handshake_is_answered_with_the_limit_and_the_serializer(server):
    for serializer in (1, 2, 3):
        with Raw(server, "rawsocket") as raw:
            # 2 MB, the default packet, is 2^(9+12).
            raw.send(bytes([0x7F, 0xF0 | serializer, 0, 0])).expect(bytes([0x7F, 0xC0 | serializer, 0, 0]))


def a_handshake_that_comes_in_parts_is_understood(server):
    with Raw(server, "shared") as raw:
        for byte in (0x7F, 0xF1, 0, 0):
            raw.send(bytes([byte]))
        raw.expect(b"\x7f\xc1\0\0")


def a_handshake_that_cannot_be_is_told_why(server):
    for sent, error in ((b"\x7f\xf4\0\0", 1), (b"\x7f\xf0\0\0", 1), (b"\x7f\xf1\1\0", 3),
                        (b"\x7f\xf1\0\1", 3)):
        with Raw(server, "rawsocket") as raw:
            raw.send(sent).expect(bytes([0x7F, error << 4, 0, 0]))
            raw.expect_close()


def what_is_no_rawsocket_is_closed(server):
    with Raw(server, "rawsocket") as raw:
        raw.send(b"GET / HTTP/1.1\r\n\r\n").expect_close()


def a_ping_is_answered_with_the_same_bytes(server):
    with RawSocket(server) as raw:
        for payload in (b"", b"x", bytes(range(256)) * 400):
            raw.send_frame(PING, payload)
            holds(raw.take_frame() == (PONG, payload), f"a PONG of {len(payload)} bytes")


def a_ping_in_parts_is_answered_between_events_as_a_whole(server):
    with RawSocket(server) as raw, RawSocket(server) as other:
        raw.say([32, 1, {}, "transports.ping"])
        equal(raw.hear()[:2], [33, 1])
        raw.send(bytes([PING, 0, 0, 8]) + b"half")
        other.say([16, 1, {"acknowledge": True}, "transports.ping", ["between"]])
        equal(other.hear()[0], 17)
        equal(raw.hear()[4], ["between"])
        raw.send(b"rest")
        equal(raw.take_frame(), (PONG, b"halfrest"))


def reserved_bits_and_kinds_end_the_connection(server):
    for head in (b"\3\0\0\0", b"\7\0\0\0", b"\x10\0\0\0", b"\x80\0\0\1x", b"\x08\0\0\1x", b"\xf8\0\0\0"):
        with RawSocket(server) as raw:
            raw.send(head)
            raw.expect_close()


def a_message_over_the_own_limit_ends_the_connection():
    with Server(client={"packet": "4K", "packet_before_login": "4K"}, limits={"payload": "1K"}) as server, RawSocket(server) as raw:
        equal(raw.answer, b"\x7f\x31\0\0")
        raw.send(bytes([MESSAGE, 0, 0x10, 1]))
        raw.expect_close()


def a_message_of_exactly_two_to_the_24_goes_both_ways():
    with Server(client={"packet": "16M", "output": "64M"}, limits={"payload": "16M"}) as server, \
            RawSocket(server) as raw:
        equal(raw.answer, b"\x7f\xf1\0\0")
        raw.say([64, 1, {}, "transports.longest"])
        registration = raw.hear()[2]
        size = 1 << 24
        head, tail = '[48,1,{},"transports.longest",["', '"]]'
        call = head + "a" * (size - len(head) - len(tail)) + tail
        raw.send(b"\x08\0\0\0" + call.encode())
        _, request, got, *_ = raw.hear()
        equal(got, registration)
        # The longest answer has a head of its own.
        head, tail = f'[70,{request},{{}},["', '"]]'
        result = f'[50,1,{{}},["'
        text = "b" * (size - len(result) - len(tail))
        equal(len(head), len(result))
        raw.send(b"\x08\0\0\0" + (head + text + tail).encode())
        first = raw.take(4)
        equal(first, b"\x08\0\0\0")
        holds(raw.take(size) == (result + text + tail).encode(), "the result")


def what_the_peer_does_not_take_is_an_error_for_a_call_and_no_event(server):
    with RawSocket(server, length=2) as small, RawSocket(server) as other:
        small.say([64, 1, {}, "transports.large"])
        equal(small.hear()[0], 65)
        small.say([32, 2, {}, "transports.large"])
        equal(small.hear()[0], 33)
        # To the callee with a limit of 2 KB.
        other.say([48, 1, {}, "transports.large", ["x" * 3000]])
        error = other.hear()
        equal((error[:3], error[4]), ([8, 48, 1], "wamp.error.payload_size_exceeded"))
        # And to the caller with one.
        other.say([64, 2, {}, "transports.answer"])
        equal(other.hear()[0], 65)
        small.say([48, 3, {}, "transports.answer"])
        invocation = other.hear()
        other.say([70, invocation[1], {}, ["x" * 3000]])
        error = small.hear()
        equal((error[:3], error[4]), ([8, 48, 3], "wamp.error.payload_size_exceeded"))
        for text in ("x" * 3000, "fits"):
            other.say([16, 4, {"acknowledge": True}, "transports.large", [text]])
            equal(other.hear()[0], 17)
        equal(small.hear()[4], ["fits"])


def a_peer_that_takes_not_even_a_welcome_is_told_so(server):
    with Raw(server, "rawsocket") as raw:
        raw.send(b"\x7f\x01\0\0" + bytes([0, 0, 0, len(HELLO)]) + HELLO.encode()).take(8)
        holds(b"wamp.error.payload_size_exceeded" in raw.read_all(), "ABORT")


def the_first_subprotocol_of_the_client_that_is_known_is_chosen(server):
    for asked, chosen in (("wamp.2.msgpack, wamp.2.json", "wamp.2.msgpack"),
                          ("wamp.2.cbor, wamp.2.json", "wamp.2.cbor"),
                          ("wamp.2.flatbuffers, x, wamp.2.json", "wamp.2.json"),
                          ("wamp.2.cbor.batched, wamp.2.cbor", "wamp.2.cbor.batched")):
        with WebSocket(server, "wamp", protocol=asked) as ws:
            equal(ws.status, 101)
            equal(re.search("Sec-WebSocket-Protocol: (.*)\r", ws.head).group(1), chosen)


def subprotocols_without_a_known_one_are_refused_with_400(server):
    with WebSocket(server, "wamp", protocol="wamp.2.ubjson, wamp.1") as ws:
        equal(ws.status, 400)


def any_path_will_do_with_a_subprotocol(server):
    for path in ("/", "/ws", "/wamp?x=1"):
        with WebSocket(server, "wamp", path=path, protocol="wamp.2.json") as ws:
            ws.send_frame(1, HELLO)
            equal(json.loads(ws.take_frame()[1])[0], 2)


def _session(server, protocol="wamp.2.json", listener="wamp"):
    ws = WebSocket(server, listener, protocol=protocol)
    return ws


def a_batch_brings_several_messages_and_answers_are_framed(server):
    with _session(server, "wamp.2.json.batched") as ws:
        ws.send_frame(1, HELLO + "\x1e")
        opcode, data = ws.take_frame()
        holds(opcode == 0x81 and data.endswith(b"\x1e"), "a framed WELCOME")
        batch = [[32, 1, {}, "transports.batch"],
                 [16, 2, {"acknowledge": True, "exclude_me": False}, "transports.batch", [1]],
                 [16, 3, {"acknowledge": True, "exclude_me": False}, "transports.batch", [2]]]
        ws.send_frame(1, "".join(json.dumps(message) + "\x1e" for message in batch))
        got = []
        while len(got) < 5:
            got += [json.loads(text) for text in ws.take_frame()[1].split(b"\x1e")[:-1]]
        equal(sorted(message[0] for message in got), [17, 17, 33, 36, 36])
        equal([message[4] for message in got if message[0] == 36], [[1], [2]])


def a_batch_of_none_or_with_a_wrong_frame_is_a_violation(server):
    for protocol, opcode, batch in (("wamp.2.json.batched", 1, b""),
                                    ("wamp.2.json.batched", 1, HELLO.encode()),
                                    ("wamp.2.msgpack.batched", 2, b"\0\0\0\x09\x90"),
                                    ("wamp.2.cbor.batched", 2, b"\0\0")):
        with _session(server, protocol) as ws:
            ws.send_frame(opcode, batch)
            holds(b"wamp.error.protocol_violation" in ws.take_frame()[1], "ABORT")
            equal(ws.take_frame()[0], 0x88)


def text_is_for_json_and_binary_for_the_others(server):
    for protocol, opcode in (("wamp.2.json", 2), ("wamp.2.msgpack", 1)):
        with _session(server, protocol) as ws:
            ws.send_frame(opcode, HELLO)
            holds(b"wamp.error.protocol_violation" in ws.take_frame()[1], "ABORT")
            equal(ws.take_frame()[0], 0x88)


def what_no_client_may_send_is_a_violation(server):
    joined = [[1, "realm1", ROLES], [70, 4711, {}], [8, 68, 4711, {}, "a.b"], [2, 1, {}], [17, 1, 1], [36, 1, 1, {}], [50, 1, {}], [68, 1, 1, {}],
              [69, 1, {}], [8, 32, 1, {}, "a.b"], [99, 1], [7, 1], [], {}, "text", [16, 1, {}],
              [16, 0, {}, "a.b"], [32, "1", {}, "a.b"], [48, 1, [], "a.b"], [16, 1, {}, "a.b", 7],
              [16, 1, {}, "a.b", [], []]]
    for bad in [*map(json.dumps, joined), "[16,1,{},", "\ufeff[]", "nul"]:
        with RawSocket(server) as raw:
            raw.say(bad)
            answer = raw.hear()
            equal((answer[0], answer[2]), (3, "wamp.error.protocol_violation"), bad)
            raw.expect_close()


def the_first_message_is_hello(server):
    for first in ([16, 1, {}, "a.b"], [6, {}, "wamp.close.normal"], [5, "x", {}]):
        with Raw(server, "rawsocket") as raw:
            message = json.dumps(first).encode()
            raw.send(b"\x7f\xf1\0\0" + bytes([0, 0, 0, len(message)]) + message).take(4)
            head = raw.take(4)
            answer = json.loads(raw.take(int.from_bytes(head[1:], "big")))
            equal((answer[0], answer[2]), (3, "wamp.error.protocol_violation"))
            raw.expect_close()


def a_client_without_a_role_is_refused(server):
    with Raw(server, "rawsocket") as raw:
        message = b'[1,"realm1",{"roles":{}}]'
        raw.send(b"\x7f\xf1\0\0" + bytes([0, 0, 0, len(message)]) + message).take(8)
        holds(b"wamp.error.no_such_role" in raw.read_all(), "ABORT")


def late_answers_of_a_callee_are_no_violation(server):
    with RawSocket(server) as callee, RawSocket(server) as caller:
        callee.say([64, 1, {}, "transports.late"])
        equal(callee.hear()[0], 65)
        caller.say([48, 1, {}, "transports.late"])
        request = callee.hear()[1]
        caller.say([49, 1, {"mode": "skip"}])
        equal(caller.hear()[4], "wamp.error.canceled")
        for late in ([70, request, {}, ["late"]], [8, 68, request, {}, "a.b"]):
            callee.say(late)
        callee.send_frame(PING, b"alive")
        equal(callee.take_frame(), (PONG, b"alive"))
        caller.send_frame(PING, b"nothing before")
        equal(caller.take_frame(), (PONG, b"nothing before"))


def who_sends_no_hello_is_closed():
    with Server(client={"login_timeout": "300ms"}) as server:
        for listener in ("rawsocket", "shared"):
            with Raw(server, listener) as raw:
                raw.expect_close()
        with WebSocket(server, "wamp", protocol="wamp.2.json") as ws:
            equal(json.loads(ws.take_frame()[1])[0], 3)


def a_silent_peer_is_pinged_and_closed_when_it_does_not_answer():
    with Server(client={"ping_interval": "1s", "ping_max": 1}) as server:
        with RawSocket(server) as silent, RawSocket(server) as alive, \
                WebSocket(server, "wamp", protocol="wamp.2.json") as ws:
            ws.send_frame(1, HELLO)
            equal(json.loads(ws.take_frame()[1])[0], 2)
            for _ in range(2):
                equal(alive.take_frame(), (PING, b""))
                alive.send_frame(PONG)
            equal(silent.take_frame(), (PING, b""))
            silent.expect_close()
            equal(ws.take_frame(), (0x89, b""))
            equal(ws.take_frame()[0], 0x88)
            alive.send_frame(PING, b"still here")
            frames = [alive.take_frame()]
            while frames[-1][0] == PING:
                frames.append(alive.take_frame())
            equal(frames[-1], (PONG, b"still here"))


def a_refused_origin_is_named_in_the_log():
    listeners = [{"name": "wamp", "address": "127.0.0.1", "port": 0, "protocols": ["wamp"],
                  "websocket": True, "origins": ["https://*.good.example"]}]
    with Server(listeners=listeners) as server:
        for origin, status in (("https://evil.example", 403), ("https://APP.good.example", 101),
                               ("https://app.good.example:8443", 403), ("http://localhost:3000", 101)):
            with WebSocket(server, "wamp", protocol="wamp.2.json", headers=[f"Origin: {origin}"]) as ws:
                equal(ws.status, status, origin)
        server.wait_log(r"request_refused .*origin=https://evil\.example ")


def goodbye_and_a_drain_are_said_before_the_end():
    with Server() as server:
        with RawSocket(server) as a, RawSocket(server) as b:
            a.say([6, {}, "wamp.close.normal"])
            equal(a.hear(), [6, {}, "wamp.close.goodbye_and_out"])
            a.expect_close()
            server.signal(15)
            answer = b.hear()
            equal((answer[0], answer[2]), (6, "wamp.close.system_shutdown"))
            b.expect_close()


def tcp_keepalive_is_set_where_it_is_configured():
    listeners = [{"name": "wamp", "address": "127.0.0.1", "port": 0, "protocols": ["wamp"],
                  "tcp_keepalive": "30s"}]
    with Server(listeners=listeners) as server, RawSocket(server, "wamp"):
        port = f":{server.port('wamp'):04X}"

        def is_timed():
            with open("/proc/net/tcp", encoding="ascii") as table:
                rows = [line.split() for line in table][1:]
            # The server's side of the connection; 2 is the keep-alive timer.
            return any(row[1].endswith(port) and row[3] == "01" and row[5].startswith("02:")
                       for row in rows)

        poll(is_timed, "for the keep-alive timer")
