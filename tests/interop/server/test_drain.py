"""SIGTERM: everyone is told in the words of its protocol, then the process ends with 0."""

import contextlib
import signal
import time

from clients import MqttJs, Nats
from harness import Raw, Server, WebSocket, equal, holds, poll

CONNECT_4 = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
CONNECT_5 = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"


def mqtt_5_is_told_that_the_server_shuts_down():
    with Server() as server, Raw(server, "mqtt") as raw:
        raw.send(CONNECT_5)
        holds(raw.take(2)[0] == 0x20, "CONNACK")
        raw.take(raw.buffer and len(raw.buffer) or 0)
        server.signal(signal.SIGTERM)
        rest = raw.read_all()
        at = rest.find(b"\xe0")
        holds(at >= 0 and 0x8b in rest[at:at + 4], f"DISCONNECT 0x8B in {rest!r}")


def mqtt_3_is_closed():
    with Server() as server, Raw(server, "mqtt") as raw:
        raw.send(CONNECT_4).expect(b"\x20\x02\x00\x00")
        server.signal(signal.SIGTERM)
        raw.expect_close()


def nats_is_told_by_lame_duck_mode_and_gets_time():
    with Server(drain={"spread": "0s", "timeout": "1s"}) as server, Raw(server, "nats") as raw:
        raw.until()
        raw.send('CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
        raw.until(b"PONG\r\n")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        holds(b'"ldm":true' in raw.until(), "announced")
        raw.send("PING\r\n").expect("PONG\r\n")
        raw.read_all()
        holds(time.monotonic() - began > 0.8, "it had its time")


def redis_is_closed():
    with Server() as server, Raw(server, "redis") as raw:
        raw.send("SUBSCRIBE a\r\n")
        raw.until(b":1\r\n")
        server.signal(signal.SIGTERM)
        raw.read_all()


def a_websocket_is_closed_with_1012():
    with Server() as server, WebSocket(server, "shared", protocol="mqtt") as ws:
        ws.send_frame(2, CONNECT_4).expect_frame(2, b"\x20\x02\x00\x00")
        server.signal(signal.SIGTERM)
        first, payload = ws.take_frame()
        equal((first, payload[:2]), (0x88, (1012).to_bytes(2, "big")))


def nobody_new_is_let_in_and_readiness_ends():
    with Server(drain={"spread": "0s", "timeout": "5s"}) as server, Raw(server, "nats") as stays:
        stays.until()
        stays.send('CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
        stays.until(b"PONG\r\n")
        server.signal(signal.SIGTERM)
        holds(b'"ldm":true' in stays.until(), "announced")

        def is_closed():
            try:
                with Raw(server, "mqtt") as raw:
                    raw.expect_close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
            return False
        poll(is_closed, "for closed listeners")
        equal(server.get("/healthz")[0], 200)
        equal(server.get("/readyz")[0], 503)
        stays.close()
        equal(server.wait(), 0)


def what_was_published_before_is_delivered():
    with Server() as server, Raw(server, "redis") as sub, Raw(server, "nats") as pub:
        sub.send("SUBSCRIBE a\r\n")
        sub.until(b":1\r\n")
        pub.until()
        pub.send('CONNECT {"verbose":false,"protocol":1}\r\n' + "PUB a 1\r\nx\r\n" * 1000 + "PING\r\n")
        pub.until(b"PONG\r\n")
        server.signal(signal.SIGTERM)
        equal(sub.read_all().count(b"message"), 1000)


def a_second_signal_hurries():
    with Server(drain={"spread": "0s", "timeout": "1h"}) as server, Raw(server, "nats") as raw:
        raw.until()
        raw.send('CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
        raw.until(b"PONG\r\n")
        server.signal(signal.SIGINT)
        holds(b'"ldm":true' in raw.until(), "announced")
        server.signal(signal.SIGINT)
        equal(server.wait(15), 0)


def goodbyes_are_spread():
    with Server(drain={"spread": "1s", "timeout": "5s"}) as server, contextlib.ExitStack() as stack:
        raws = [stack.enter_context(Raw(server, "mqtt")) for _ in range(40)]
        for raw in raws:
            raw.send(CONNECT_4).expect(b"\x20\x02\x00\x00")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        raws[0].expect_close()
        for raw in raws:
            raw.read_all()
        holds(0.4 < time.monotonic() - began < 4, "spread over a second")


def detached_sessions_do_not_hold_the_end_up():
    with Server() as server:
        with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5, clean=False, clientId="stays",
                    properties={"sessionExpiryInterval": 3600}) as client:
            client.subscribe("a/#", qos=1)
        began = time.monotonic()
        server.stop()
        holds(time.monotonic() - began < 3, "quickly")
