"""Rights that come by themselves need an Origin and a Host that fit (DESIGN section 5)."""

import base64
import ctypes
import ctypes.util
import hmac
import json

from harness import Raw, Server, WebSocket, equal, holds

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
EVIL = "Origin: https://evil.example"


def _hash(password):
    """As `parley user` makes it, but cheap."""
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
    sodium.sodium_init()
    out = ctypes.create_string_buffer(128)
    password = password.encode()
    assert sodium.crypto_pwhash_str_alg(out, password, ctypes.c_ulonglong(len(password)),
                                        ctypes.c_ulonglong(1), ctypes.c_size_t(8192), 2) == 0
    return out.value.decode()


def _connect(user=None, password=None):
    flags = 0x02 | (0x80 if user else 0) | (0x40 if password else 0)
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + b"\x00\x3c\x00\x00"
    for text in (user, password):
        if text:
            body += len(text).to_bytes(2, "big") + text.encode()
    return b"\x10" + bytes([len(body)]) + body


def a_page_of_another_origin_cannot_use_a_server_without_logins():
    with Server() as server:
        for headers in ([EVIL], ["Origin: null"], ["Origin: http://localhost.evil.example"]):
            with WebSocket(server, "shared", protocol="mqtt", headers=headers) as ws:
                equal(ws.status, 403, str(headers))
        for headers in ([], ["Origin: http://localhost:3000"], ["Origin: http://127.0.0.1"]):
            with WebSocket(server, "shared", protocol="mqtt", headers=headers) as ws:
                ws.send_frame(2, CONNECT).expect_frame(2, b"\x20\x02\x00\x00")


def a_name_that_was_bent_to_loopback_cannot_either():
    with Server() as server, Raw(server, "shared") as raw:
        raw.send("GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
                 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: mqtt\r\n\r\n")
        holds(raw.read_all().startswith(b"HTTP/1.1 403 "), "403")


def listed_origins_and_hosts_may():
    listeners = [{"name": "shared", "address": "127.0.0.1", "port": 0, "protocols": ["mqtt"],
                  "websocket": True, "origins": ["https://app.example"], "hosts": ["app.example"]}]
    with Server(listeners=listeners) as server:
        with WebSocket(server, "shared", protocol="mqtt",
                       headers=["Origin: https://app.example"]) as ws:
            ws.send_frame(2, CONNECT).expect_frame(2, b"\x20\x02\x00\x00")
        with WebSocket(server, "shared", protocol="mqtt", headers=[EVIL]) as ws:
            equal(ws.status, 403)
        with Raw(server, "shared") as raw:
            raw.send("GET /healthz HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
            holds(raw.read_all().startswith(b"HTTP/1.1 200 "), "200")


def a_login_inside_the_protocol_works_from_any_origin():
    with Server(auth={"users": "users", "anonymous": "all"},
                files={"users": f"bob all {_hash('secret')}\n"}) as server:
        with WebSocket(server, "shared", protocol="mqtt", headers=[EVIL]) as ws:
            ws.send_frame(2, _connect("bob", "secret")).expect_frame(2, b"\x20\x02\x00\x00")
        with WebSocket(server, "shared", protocol="mqtt", headers=[EVIL]) as ws:
            ws.send_frame(2, CONNECT)
            holds(ws.take_frame()[1] in (b"\x20\x02\x00\x04", b"\x20\x02\x00\x05"), "refused")
        with WebSocket(server, "shared", protocol="mqtt") as ws:
            ws.send_frame(2, CONNECT).expect_frame(2, b"\x20\x02\x00\x00")


def websockets_are_routed_by_subprotocol_then_by_path():
    with Server() as server:
        for path in ("/", "/nats"):
            with WebSocket(server, "shared", path=path) as ws:
                holds(ws.take_frame()[1].startswith(b"INFO {"), path)
        for path in ("/", "/nats", "/mqtt", "/anything"):
            for name in ("mqtt", "mqttv3.1"):
                with WebSocket(server, "shared", path=path, protocol=name) as ws:
                    equal(ws.status, 101)
                    holds(f"Sec-WebSocket-Protocol: {name}\r\n" in ws.head, ws.head)
        with WebSocket(server, "shared", path="/other") as ws:
            equal(ws.status, 404)
        with WebSocket(server, "shared", protocol="smtp") as ws:
            equal(ws.status, 400)


def only_the_listeners_protocols_are_routed_to():
    listeners = [{"name": "shared", "address": "127.0.0.1", "port": 0, "protocols": ["redis"],
                  "websocket": True}]
    with Server(listeners=listeners) as server:
        with WebSocket(server, "shared", protocol="mqtt") as ws:
            equal(ws.status, 400)
        with WebSocket(server, "shared", path="/nats") as ws:
            equal(ws.status, 404)


def paths_can_be_configured():
    listeners = [{"name": "shared", "address": "127.0.0.1", "port": 0, "protocols": ["redis", "nats"],
                  "websocket": True, "websocket_paths": {"/r": "redis"}}]
    with Server(listeners=listeners) as server:
        with WebSocket(server, "shared", path="/r") as ws:
            ws.send_frame(2, b"*1\r\n$4\r\nPING\r\n").expect_frame(2, b"+PONG\r\n")
        with WebSocket(server, "shared", path="/nats") as ws:
            equal(ws.status, 404)


def _jwt(**claims):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, "sha256"))).decode()


SECRET = "0123456789abcdef0123456789abcdef"


def a_token_comes_with_the_request_of_a_websocket():
    with Server(auth={"jwt": {"keys": [{"file": "secret"}]}}, files={"secret": SECRET}) as server:
        token = _jwt(sub="bob", role="all")
        ways = [{"path": f"/?token={token}"},
                {"headers": [f"Authorization: Bearer {token}"]},
                {"headers": [f"Cookie: a=b; token={token}"]},
                {"path": f"/?token={token}", "headers": [EVIL]}]
        for way in ways:
            with WebSocket(server, "shared", protocol="mqtt", **way) as ws:
                ws.send_frame(2, CONNECT).expect_frame(2, b"\x20\x02\x00\x00")
            with WebSocket(server, "shared", **way) as ws:
                ws.take_frame()
                ws.send_frame(2, 'CONNECT {"verbose":false}\r\nPING\r\n')
                ws.expect_frame(2, "PONG\r\n")
        for way in ({}, {"path": "/?token=x"}, {"headers": [f"Cookie: token={token}", EVIL]}):
            with WebSocket(server, "shared", protocol="mqtt", **way) as ws:
                ws.send_frame(2, CONNECT)
                holds(ws.take_frame()[1] in (b"\x20\x02\x00\x04", b"\x20\x02\x00\x05"), str(way))


def mqtt_refuses_text_messages():
    with Server() as server, WebSocket(server, "shared", protocol="mqtt") as ws:
        ws.send_frame(1, "hello")
        first, payload = ws.take_frame()
        equal((first, payload[:2]), (0x88, (1003).to_bytes(2, "big")))
