"""WebSocket as the ws package and hand-made frames see it; the bytes inside are NATS."""

import signal
import zlib

from clients import NodeClient, decoded, encoded
from harness import Server, WebSocket, equal, holds

HELLO = b"CONNECT {\"verbose\":false}\r\nPING\r\n"


class _Ws(NodeClient):
    def __init__(self, url, **options):
        super().__init__("ws.mjs")
        self.terms = self.call("connect", url=url, options=options)

    def send(self, *parts, text=False):
        self.call("send", text=text, parts=[part if text else encoded(part) for part in parts])

    def take(self, size):
        return decoded(self.call("take", size=size)["data"])

    def begin_nats(self):
        """Past INFO, whose length only its line tells."""
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.take(1)
        holds(line.startswith(b"INFO {"), line)
        self.send(HELLO + b"SUB a.> 1\r\n")
        equal(self.take(6), b"PONG\r\n")


def _echoes(ws, payload):
    head = f"{len(payload)}\r\n".encode()
    ws.send(b"PUB a.b " + head + payload + b"\r\n")
    expected = b"MSG a.b 1 " + head + payload + b"\r\n"
    holds(ws.take(len(expected)) == expected, f"{len(payload)} bytes came back as they were")


def a_compressing_client_gets_back_what_it_sent(server):
    with _Ws(server.url("ws", "shared"), perMessageDeflate=True) as ws:
        equal(ws.terms["extensions"], "permessage-deflate")
        ws.begin_nats()
        for size in (0, 1, 1023, 1024, 5000, 65536, 500_000):
            _echoes(ws, (b"every good boy does fine " * (size // 20))[:size])


def a_client_without_compression_does_so_over_tls_too(server):
    with _Ws(server.url("wss", "wss"), perMessageDeflate=False) as ws:
        equal(ws.terms["extensions"], "")
        ws.begin_nats()
        for size in (0, 125, 126, 65535, 65536, 500_000):
            _echoes(ws, bytes(i * 7 & 255 for i in range(size)))


def messages_in_fragments_and_text_are_the_same_stream(server):
    for compresses in (False, True):
        with _Ws(server.url("ws", "shared"), perMessageDeflate=compresses) as ws:
            ws.begin_nats()
            ws.send(b"PU", b"B a.x 5\r", b"\nhel", b"lo\r\n")
            ws.send("PUB a.y 3\r\nab", "c\r\n", text=True)
            ws.call("ping", data="are you there")
            expected = b"MSG a.x 1 5\r\nhello\r\nMSG a.y 1 3\r\nabc\r\n"
            equal(ws.take(len(expected)), expected)


def a_clients_close_comes_back_with_its_code(server):
    with _Ws(server.url("ws", "shared")) as ws:
        ws.call("close", code=4321, reason="enough")
        equal(ws.event("closed")["code"], 4321)


def the_server_says_that_it_restarts():
    with Server() as server, _Ws(server.url("ws", "shared")) as idle:
        server.signal(signal.SIGTERM)
        holds(idle.event("closed")["code"] in (1001, 1012), "a code for going away")
        equal(server.wait(), 0)


def what_is_no_websocket_frame_is_told_why(server):
    for frame, code in (((2, b"PING\r\n", {"mask": False}), 1002),
                        ((3, b"", {}), 1002),
                        ((9, b"x" * 126, {}), 1002),
                        ((0, b"", {}), 1002),
                        ((2, b"", {"reserved": 4}), 1002),
                        ((1, b"\xff", {}), 1007),
                        ((8, b"\x03\xee", {}), 1002)):
        opcode, data, more = frame
        with WebSocket(server, "shared") as ws:
            ws.take_frame()  # INFO
            ws.send_frame(opcode, data, **more)
            first, payload = ws.take_frame()
            equal((first, int.from_bytes(payload[:2], "big")), (0x88, code), repr(frame))
            ws.expect_close()


def a_bomb_before_the_login_is_not_inflated(server):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"\0" * (64 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    with WebSocket(server, "shared", protocol="mqtt",
                   headers=["Sec-WebSocket-Extensions: permessage-deflate"]) as ws:
        holds("permessage-deflate" in ws.head, ws.head)
        before = server.rss()
        ws.send_frame(2, bomb[:-4], reserved=4)
        first, payload = ws.take_frame()
        equal((first, int.from_bytes(payload[:2], "big")), (0x88, 1009))
        holds(server.rss() - before < 8 << 20, "memory stays small")
