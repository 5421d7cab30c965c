"""MQTT packets as a test writes them, and a raw connection that speaks them.

    with connected(server, "c", 5) as raw:
        raw.say("82 (0001 00 <'a/#'> 01)")
        raw.hear("90 (0001 00 01)")

Hex digits, 'text' in quotes; ( ) is what stands in it with its length before it (as MQTT writes a
remaining length), < > the same with a length of two bytes.
"""

import re

from harness import Raw

TOKEN = re.compile(r"\s*(?:([0-9a-fA-F]{2})|'([^']*)'|([(<)>]))")


def length(count):
    out = b""
    while count >= 128:
        out += bytes([count & 127 | 128])
        count >>= 7
    return out + bytes([count])


def packet(text):
    stack = [(None, b"")]
    at = 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"{text[at:]!r} is no packet")
        at = match.end()
        digits, quoted, bracket = match.groups()
        if bracket in ("(", "<"):
            stack.append((bracket, b""))
            continue
        if bracket:
            kind, inner = stack.pop()
            size = len(inner).to_bytes(2, "big") if kind == "<" else length(len(inner))
            piece = size + inner
        else:
            piece = bytes.fromhex(digits) if digits else quoted.encode()
        kind, before = stack.pop()
        stack.append((kind, before + piece))
    return stack[0][1]


class Mqtt(Raw):
    def say(self, text):
        return self.send(packet(text))

    def hear(self, text):
        return self.expect(packet(text))


def connect(client, version, *, clean=True, properties="", keep_alive=0, flags=0):
    """CONNECT; properties in hex, without their length."""
    name = "'MQIsdp'" if version == 3 else "'MQTT'"
    more = f"({properties})" if version == 5 else ""
    return (f"10 (<{name}> {version:02x} {flags | (2 if clean else 0):02x} {keep_alive:04x} {more}"
            f" <'{client}'>)")


def take_packet(raw):
    """(first byte, body) of the next packet."""
    first = raw.take(1)[0]
    size = shift = 0
    while True:
        byte = raw.take(1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first, raw.take(size)


def connected(server, client, version, *, listener="mqtt", present=False, **more):
    """A connection that has its CONNACK."""
    raw = Mqtt(server, listener)
    raw.say(connect(client, version, **more))
    first, body = take_packet(raw)
    assert first == 0x20 and body[0] == present and body[1] == 0, (first, body)
    return raw
