"""Limits on connections and on those that have not logged in."""

import re
import socket
import time

from clients import MosquittoSub
from harness import Failure, Raw, Server, Skip, WebSocket, equal, holds, poll
from test_browsers import _connect, _hash

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"


def _metric(server, name):
    text = server.get("/metrics")[1].decode()
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M).group(1))


def connections_in_all_are_limited():
    with Server(limits={"connections": 3}) as server:
        raws = [Raw(server, "redis") for _ in range(3)]
        for raw in raws:
            raw.send("PING\r\n").expect("+PONG\r\n")
        with Raw(server, "mqtt") as raw:
            raw.expect_close()
        equal(_metric(server, 'parley_refused_total{reason="connections"}'), 1)
        raws.pop().close()
        poll(lambda: _metric(server, "parley_connections_closed_total") >= 1, "the end of one")

        def comes_in():
            with Raw(server, "redis") as raw:
                try:
                    return raw.send("PING\r\n").expect("+PONG\r\n")
                except (Failure, OSError):
                    return None
        poll(comes_in, "until there is room again")
        for raw in raws:
            raw.close()


def _own_address():
    """An address of this machine that is not loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            raise Skip("this machine has loopback addresses only") from None
    return address


def connections_of_one_address_are_limited():
    address = _own_address()
    listeners = [{"name": "redis", "address": address, "port": 0, "protocols": "redis",
                  "anonymous": True}]
    with Server(limits={"connections_per_address": 2}, listeners=listeners) as server:
        raws = [Raw(server, "redis") for _ in range(2)]
        for raw in raws:
            raw.send("PING\r\n").expect("+PONG\r\n")
        with Raw(server, "redis") as raw:
            raw.expect_close()
        equal(_metric(server, 'parley_refused_total{reason="address"}'), 1)
        for raw in raws:
            raw.close()


def new_connections_per_second_are_limited():
    with Server(limits={"accept_rate": 5}) as server:
        for _ in range(30):
            Raw(server, "redis").close()
        poll(lambda: _metric(server, 'parley_refused_total{reason="rate"}') > 0, "for refusals")


def who_says_nothing_is_closed_after_the_login_time():
    with Server(client={"login_timeout": "300ms"}) as server:
        for listener in ("mqtt", "shared", "wss", "mqtts"):
            with Raw(server, listener) as raw:
                raw.read_all()
        with Raw(server, "shared") as raw:  # the head of a request that never ends
            raw.send("GET / HTTP/1.1\r\n")
            raw.read_all()


def who_has_logged_in_stays():
    with Server(client={"login_timeout": "300ms"}) as server, Raw(server, "mqtt") as raw:
        raw.send(CONNECT).expect(b"\x20\x02\x00\x00")
        with Raw(server, "mqtt") as other:
            other.read_all()
        raw.send(b"\xc0\x00").expect(b"\xd0\x00")


def bytes_before_the_login_are_limited():
    with Server(client={"packet_before_login": "2K"}) as server:
        for listener, data in (
                ("mqtt", b"\x10\xff\xff\x03" + b"\x00\x04MQTT\x04\x02\x00\x3c\x40\x00" + b"x" * 6000),
                ("nats", b"CONNECT {" + b" " * 8000),
                ("shared", b"\x10\xff\xff\x03" + b"\x00\x04MQTT\x04\x02\x00\x3c\x40\x00" + b"x" * 6000)):
            with Raw(server, listener) as raw:
                try:
                    raw.send(data)
                    raw.read_all()
                except (BrokenPipeError, ConnectionResetError):
                    pass
        holds(_metric(server, "parley_malformed_total") >= 2, "counted")


def an_http_head_is_at_most_16_kilobytes():
    with Server() as server, Raw(server, "shared") as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20000 + b"\r\n\r\n")
        holds(raw.read_all().startswith(b"HTTP/1.1 431 "), "431")


def a_larger_packet_is_fine_after_the_login():
    with Server(client={"packet_before_login": "2K"}) as server, \
            MosquittoSub(server.address("mqtt"), "big") as sub, Raw(server, "mqtt") as raw, \
            WebSocket(server, "shared", protocol="mqtt") as ws:
        payload = b"x" * 100_000
        publish = b"\x30" + bytes([0x80 | (100005 & 127), 0x80 | (100005 >> 7 & 127), 100005 >> 14]) \
            + b"\x00\x03big" + payload
        raw.send(CONNECT).expect(b"\x20\x02\x00\x00")
        raw.send(publish)
        sub.expect("big", payload)
        ws.send_frame(2, CONNECT).expect_frame(2, b"\x20\x02\x00\x00")
        ws.send_frame(2, publish)
        sub.expect("big", payload)


def a_payload_over_the_limit_is_refused():
    with Server(limits={"payload": "1K"}) as server, Raw(server, "nats") as raw:
        holds(b'"max_payload":1024' in raw.until(), "announced")
        raw.send(b"CONNECT {}\r\nPUB a 1025\r\n" + b"x" * 1025 + b"\r\n")
        holds(b"-ERR 'Maximum Payload Violation'" in raw.read_all(), "refused")


def publishers_are_not_read_from_while_too_much_waits():
    """A subscriber that does not read: its publisher is held up, others' pings are answered."""
    with Server(limits={"queued": "1M"}, client={"output": "64M"}) as server, \
            Raw(server, "nats") as slow, Raw(server, "nats") as publisher, \
            Raw(server, "redis") as other:
        slow.until()
        publisher.until()
        slow.send('CONNECT {"verbose":false}\r\nSUB bulk 1\r\nPING\r\n')
        slow.until(b"PONG\r\n")
        publisher.send('CONNECT {"verbose":false}\r\n')
        message = b"PUB bulk 65536\r\n" + b"x" * 65536 + b"\r\n"
        publisher.socket.settimeout(2)
        sent = 0
        try:
            while sent < 64:
                for _ in range(16):
                    publisher.socket.sendall(message)
                sent += 1
        except TimeoutError:
            pass
        holds(sent < 64, "the publisher is held up")
        queued = _metric(server, "parley_queued_bytes")
        holds(queued < 8 << 20, f"{queued} bytes wait")
        other.send("PING\r\n").expect("+PONG\r\n")

        # When the reader reads, all goes on.
        publisher.socket.setblocking(False)
        total = 0
        end = time.monotonic() + 15
        slow.socket.settimeout(5)
        while time.monotonic() < end and total < queued + (1 << 20):
            total += len(slow.socket.recv(1 << 20))
        holds(total >= queued, f"{total} of {queued} came")


def connections_of_one_user_are_limited():
    with Server(limits={"connections_per_user": 2}, auth={"users": "users", "anonymous": "all"},
                files={"users": f"bob all {_hash('secret')}\n"}) as server:
        def login():
            raw = Raw(server, "mqtt")
            raw.send(_connect("bob", "secret"))
            return raw, raw.take(4)[3]

        # A connection counts from its first word after the login.
        first, second = login(), login()
        for raw, code in (first, second):
            equal(code, 0)
            raw.send(b"\xc0\x00").expect(b"\xd0\x00")
        third, code = login()
        holds(code != 0, "refused")
        third.close()
        first[0].close()

        def comes_in():
            raw, code = login()
            raw.close()
            return code == 0
        poll(comes_in, "until there is room again")
        with Raw(server, "mqtt") as anonymous:
            anonymous.send(CONNECT).expect(b"\x20\x02\x00\x00")
        second[0].close()
