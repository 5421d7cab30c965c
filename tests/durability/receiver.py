"""A subscriber of QoS 2 that keeps its side of the bargain through any number of lost connections.

libmosquitto does not: where it cannot send PUBCOMP any more it drops the message that it had. This
one delivers a message at its PUBREL, remembers what it has in between, and looks whether the server
does, too: an id that is still open stands for the same message, and that one is marked as sent
again (MQTT-3.3.1-1).
"""

import collections
import socket
import struct
import threading
import time

from crash_peers import PUBLISHERS, Failure

STAMP = struct.Struct("<II")


def length(count):
    out = bytearray()
    while True:
        out.append(count & 127 | (128 if count > 127 else 0))
        count >>= 7
        if not count:
            return bytes(out)


class Receiver:
    """As Peer is, for those who ask."""

    def __init__(self, name, *, port, topic, count, version=4, receive_maximum=None, delay=0):
        self.name, self.port, self.topic, self.count = name, port, topic, count
        self.version, self.receive_maximum, self.delay = version, receive_maximum, delay
        self.counts = [bytearray(count) for _ in range(PUBLISHERS)]
        self.last = [-1] * PUBLISHERS
        self.open = {}  # packet id → its payload, between PUBLISH and PUBREL
        self.totals = collections.Counter()
        self.wrong = None  # what the server did that it must not
        self.granted = threading.Event()
        self.is_over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # ---- what Peer has, too ----

    def ready(self, timeout=30):
        if not self.granted.wait(timeout):
            raise Failure(f"{self.name} is not answered")
        return False

    def tell(self, word):
        if word == "fast":
            self.delay = 0

    def head(self):
        return {key: self.totals[key] for key in ("received", "disorder", "connects", "present")}

    def seen(self, publisher):
        return bytes(self.counts[publisher])

    def close(self):
        self.is_over = True
        self.thread.join(5)

    def __str__(self):
        return self.name

    # ---- the client ----

    def _run(self):
        while not self.is_over:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as self.socket:
                    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.socket.settimeout(0.1)
                    self._connect()
                    self._read()
            except OSError:
                time.sleep(0.01)

    def _packet(self, first, body):
        self.socket.sendall(bytes([first]) + length(len(body)) + body)

    def _text(self, text):
        return struct.pack("!H", len(text)) + text.encode()

    def _connect(self):
        properties = b""
        if self.version == 5:
            properties = b"\x11" + struct.pack("!I", 3600)
            if self.receive_maximum:
                properties += b"\x21" + struct.pack("!H", self.receive_maximum)
            properties = length(len(properties)) + properties
        self._packet(0x10, self._text("MQTT") + bytes([self.version, 0, 0, 0]) + properties
                     + self._text(self.name))

    def _read(self):
        buffer = bytearray()
        while not self.is_over:
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            buffer += data
            at, answers = 0, bytearray()
            while True:
                size, head = self._size(buffer, at)
                if size is None or len(buffer) - at < head + size:
                    break
                self._on_packet(buffer[at], bytes(buffer[at + head:at + head + size]), answers)
                at += head + size
                if self.delay and answers:
                    self.socket.sendall(answers)
                    answers.clear()
                    time.sleep(self.delay)
            del buffer[:at]
            if answers:
                self.socket.sendall(answers)

    @staticmethod
    def _size(buffer, at):
        size = shift = 0
        for head in range(1, 5):
            if at + head >= len(buffer):
                break
            byte = buffer[at + head]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return size, head + 1
        return None, 0

    def _on_packet(self, first, body, answers):
        kind = first >> 4
        if kind == 3:
            self._on_publish(first, body, answers)
        elif kind == 6:
            payload = self.open.pop(body[:2], None)
            if payload is not None:
                self._deliver(payload)
            answers += b"\x70\x02" + body[:2]
        elif kind == 2:
            if body[1]:
                self.wrong = f"CONNACK {body[1]:#x}"
            self.totals["connects"] += 1
            self.totals["present"] += body[0]
            if not body[0]:
                self.open.clear()
                more = b"\0" if self.version == 5 else b""
                self._packet(0x82, b"\0\1" + more + self._text(self.topic) + b"\2")
        elif kind == 9:
            self.granted.set()

    def _on_publish(self, first, body, answers):
        at = 2 + int.from_bytes(body[:2], "big")
        qos, number = first >> 1 & 3, b""
        if qos:
            number = body[at:at + 2]
            at += 2
        if self.version == 5:
            at += 1 + body[at]
        payload = body[at:at + STAMP.size]
        if qos < 2:
            self._deliver(payload)
            if qos:
                answers += b"\x40\x02" + number
            return
        held = self.open.get(number)
        if held is not None and held != payload:
            self.wrong = (f"packet id {number.hex()} is open for {STAMP.unpack(held)}, "
                          f"and stands for {STAMP.unpack(payload)} now")
        if held is not None and not first & 8:
            self.wrong = f"packet id {number.hex()} came again without DUP"
        self.open[number] = payload
        answers += b"\x50\x02" + number

    def _deliver(self, payload):
        publisher, number = STAMP.unpack(payload)
        if publisher >= PUBLISHERS or number >= self.count:
            return
        counts = self.counts[publisher]
        if not counts[number]:
            self.totals["disorder"] += number < self.last[publisher]
            self.last[publisher] = number
        counts[number] = min(255, counts[number] + 1)
        self.totals["received"] += 1
