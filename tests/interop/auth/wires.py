"""The three protocols by hand, as little of each as the tests of rights need: log in, subscribe,
publish, and tell what came. Names and patterns are given in the protocol's own words."""

import json
import re
import struct

from harness import Failure, Raw, as_bytes, equal
from people import PASSWORD


def _text(data):
    data = as_bytes(data)
    return struct.pack("!H", len(data)) + data


def _length(count):
    out = b""
    while True:
        count, low = count >> 7, count & 0x7F
        out += bytes([low | (0x80 if count else 0)])
        if not count:
            return out


class Mqtt:
    """version 4 or 5; will is (topic, payload)."""

    wire = "mqtt"

    def __init__(self, server, user, password=PASSWORD, *, version=4, will=None, listener="mqtt"):
        self.raw, self.version, self.aliases = Raw(server, listener), version, {}
        flags = 0x02 | 0x80 | 0x40 | (0x04 if will else 0)
        properties = b"\x00" if version == 5 else b""
        body = _text("MQTT") + bytes([version, flags, 0, 60]) + properties + _text("")
        if will:
            body += properties + _text(will[0]) + _text(will[1])
        self._send(0x10, body + _text(user) + _text(password))
        kind, body = self._packet()
        self.code = body[1]
        if kind != 0x20 or self.code:
            self.raw.close()

    def _send(self, kind, body):
        self.raw.send(bytes([kind]) + _length(len(body)) + body)

    def _packet(self):
        kind, size, shift = self.raw.take(1)[0], 0, 0
        while True:
            byte = self.raw.take(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return kind & 0xF0, self.raw.take(size)

    def _skip_properties(self, body):
        if self.version < 5:
            return body, b""
        size, used, shift = 0, 0, 0
        while True:
            byte = body[used]
            size |= (byte & 0x7F) << shift
            used, shift = used + 1, shift + 7
            if byte < 0x80:
                return body[used + size:], body[used:used + size]

    def subscribe(self, topic, since=None):
        """True: granted."""
        properties = b""
        if self.version == 5:
            user = b"\x26" + _text("parley-since") + _text(since) if since else b""
            properties = _length(len(user)) + user
        self._send(0x82, b"\x00\x01" + properties + _text(topic) + b"\x00")
        kind, body = self._packet()
        if kind != 0x90:
            raise Failure(f"expected SUBACK, got {kind:#x} {body!r}")
        granted = body[-1]
        if granted not in (0, 0x87 if self.version == 5 else 0x80):
            raise Failure(f"SUBACK has {granted:#x}")
        return granted == 0

    def publish(self, topic, data, *, retain=False, response=None, correlation=None):
        """At QoS 1; the PUBACK's reason code."""
        properties = b""
        if self.version == 5:
            properties = (b"\x08" + _text(response) if response else b"") + (
                b"\x09" + _text(correlation) if correlation else b"")
            properties = _length(len(properties)) + properties
        self._send(0x32 | retain, _text(topic) + b"\x00\x02" + properties + as_bytes(data))
        kind, body = self._packet()
        if kind != 0x40:
            raise Failure(f"expected PUBACK, got {kind:#x} {body!r}")
        return body[2] if len(body) > 2 else 0

    def next(self):
        """(topic, payload) of the next PUBLISH, whose properties are in self.properties."""
        kind, body = self._packet()
        if kind != 0x30:
            raise Failure(f"expected PUBLISH, got {kind:#x} {body!r}")
        size, = struct.unpack("!H", body[:2])
        topic, rest = body[2:2 + size].decode(), body[2 + size:]
        rest, self.properties = self._skip_properties(rest)
        match = re.search(rb"\x23(..)", self.properties, re.S) if self.version == 5 else None
        if match:
            topic = self.aliases.setdefault(match[1], topic)
        return topic, rest.decode()

    def idle(self):
        """Fails if anything but the answer to a ping comes."""
        self.raw.send(b"\xc0\x00").expect(b"\xd0\x00")

    def response_topic(self):
        """Of the PUBLISH that came last."""
        at = self.properties.index(b"\x08")
        size, = struct.unpack("!H", self.properties[at + 1:at + 3])
        return self.properties[at + 3:at + 3 + size].decode()

    def reset(self):
        self.raw.reset()

    def close(self):
        self.raw.close()


class Nats:
    wire = "nats"

    def __init__(self, server, user, password=PASSWORD, *, listener="nats", **connect):
        self.raw, self.early = Raw(server, listener), []
        self.raw.until(b"\r\n")
        options = {"verbose": False, "user": user, "pass": password, "headers": True,
                   "no_responders": True, **connect}
        self.raw.send(f"CONNECT {json.dumps(options)}\r\n")
        self.error = self.ping()

    def _message(self, line):
        words = line.decode().split()
        if words[0] not in ("MSG", "HMSG"):
            raise Failure(f"expected MSG, got {words}")
        reply = words[3] if len(words) > (4 if words[0] == "MSG" else 5) else None
        head = int(words[-2]) if words[0] == "HMSG" else 0
        data = self.raw.take(int(words[-1]))
        self.raw.expect("\r\n")
        return words[1], data[head:].decode(), reply

    def ping(self):
        """The -ERR that came before the PONG, None if there was none. Messages are kept for next."""
        self.raw.send("PING\r\n")
        error = None
        while True:
            line = self.raw.until(b"\r\n")
            if line == b"PONG\r\n":
                return error
            if not line.startswith(b"-ERR "):
                self.early.append(self._message(line))
                continue
            error = line.decode()[5:].strip("'\r\n")
            if "Permissions" not in error:
                return error

    def idle(self):
        """Fails if anything but the answer to a ping comes."""
        equal((self.ping(), self.early), (None, []))

    def subscribe(self, subject, queue=""):
        self.raw.send(f"SUB {subject} {queue} 1\r\n")
        error = self.ping()
        if error and "permissions violation for subscription" not in error.lower():
            raise Failure(f"refused with {error!r}")
        return not error

    def publish(self, subject, data, reply=""):
        """None, or the -ERR."""
        self.raw.send(f"PUB {subject} {reply} {len(data)}\r\n{data}\r\n")
        return self.ping()

    def next(self):
        """(subject, payload); self.reply is the reply subject or None."""
        message = self.early.pop(0) if self.early else self._message(self.raw.until(b"\r\n"))
        self.reply = message[2]
        return message[:2]

    def close(self):
        self.raw.close()


class Redis:
    wire = "redis"

    def __init__(self, server, user, password=PASSWORD, *, listener="redis"):
        self.raw = Raw(server, listener)
        self.error = self.command("AUTH", user, password)
        self.error = None if self.error == "+OK" else self.error

    def send(self, *words):
        words = [as_bytes(word) for word in words]
        self.raw.send(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word) for word in words))

    def command(self, *words):
        self.send(*words)
        return self.raw.until(b"\r\n").decode().strip()

    def _array(self):
        count = int(self.raw.until(b"\r\n")[1:])
        items = []
        for _ in range(count):
            line = self.raw.until(b"\r\n").strip()
            if line.startswith(b"$"):
                items.append(self.raw.take(int(line[1:])).decode())
                self.raw.expect("\r\n")
            else:
                items.append(line.decode())
        return items

    def subscribe(self, text, glob=False):
        answer = self.command("PSUBSCRIBE" if glob else "SUBSCRIBE", text)
        if answer.startswith("-NOPERM"):
            return False
        self.raw.buffer = answer.encode() + b"\r\n" + self.raw.buffer
        self._array()
        return True

    def idle(self):
        """Fails if anything but the answer to a ping comes."""
        self.send("PING")
        equal(self._array(), ["pong", ""])

    def next(self):
        items = self._array()
        return items[-2], items[-1]

    def close(self):
        self.raw.close()
