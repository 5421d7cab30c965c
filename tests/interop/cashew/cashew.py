"""The server of examples/cashew, tokens of every kind, and a client that speaks MQTT over TCP or
WebSocket and sees every packet."""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "auth"))

from harness import ROOT, Failure, Raw, WebSocket, as_bytes, equal  # noqa: E402  (after the path)
from people import KEY, encoded, token  # noqa: E402
from wires import Mqtt  # noqa: E402

YAML = (ROOT / "examples" / "cashew" / "cashew.yaml").read_text(encoding="utf-8")
WAYS = [("tcp", 4), ("tcp", 5), ("ws", 4), ("ws", 5)]


def options(text=YAML, secret=KEY, **more):
    """Of a Server: the example as it stands but for its port, and without patience for guessing."""
    text = re.sub(r"port: \d+", "port: 0", text).replace("auth:\n", "auth:\n  free_failures: 1000\n")
    return {"config": text + "\nadmin: {port: 0}\n", "env": {"JWT_SECRET": secret}, **more}


def device(user_id, **claims):
    return token(user_id=user_id, **claims)


def handler(**claims):
    return token(handler={"ip": "1.2.3.4", "name": "test_handler"}, **claims)


def part(value):
    return encoded(json.dumps(value).encode())


def signed(header, claims, sign):
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{encoded(sign(text.encode()))}"


def hs256(key):
    return lambda text: hmac.digest(as_bytes(key), text, hashlib.sha256)


class RsaKey:
    """A pair of keys: public is PEM, sign is for RS256."""

    def __init__(self, folder):
        self.file = pathlib.Path(folder) / "rsa.pem"
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out",
                      self.file)
        self.public = self._openssl("pkey", "-in", self.file, "-pubout").decode()

    @staticmethod
    def _openssl(*words, data=None):
        return subprocess.run(["openssl", *map(str, words)], input=data, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def sign(self, text):
        return self._openssl("dgst", "-sha256", "-sign", self.file, data=text)

    def token(self, header=None, **claims):
        return signed({"alg": "RS256", "typ": "JWT", **(header or {})}, claims, self.sign)

    def jwk(self, kid):
        """The public key as an identity provider tells it."""
        text = self._openssl("rsa", "-in", self.file, "-noout", "-modulus").decode()
        modulus = bytes.fromhex(text.strip().split("=")[1])
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": encoded(modulus),
                "e": "AQAB", "x5t": "not looked at"}


class Frames:
    """The bytes of MQTT in binary frames, as Raw has them without."""

    def __init__(self, server, listener, protocol="mqtt", path="/"):
        self.web = WebSocket(server, listener, protocol=protocol, path=path)
        equal(self.web.status, 101, self.web.head)
        self.buffer = b""

    def send(self, data):
        self.web.send_frame(2, data)
        return self

    def _more(self):
        while True:
            first, data = self.web.take_frame()
            if first & 15 == 8:
                raise Failure(f"closed: {data!r}")
            if first & 15 == 9:
                self.web.send_frame(10, data)
                continue
            self.buffer += data
            return

    def take(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def expect(self, data):
        equal(self.take(len(data)), data)
        return self

    def close(self):
        self.web.close()

    def reset(self):
        self.web.reset()


def text(value):
    value = as_bytes(value)
    return struct.pack("!H", len(value)) + value


class Client(Mqtt):
    """CONNECT with this token as the password of JWT. code is the CONNACK's."""

    def __init__(self, server, password, user="JWT", *, way=("tcp", 4), client="", clean=True,
                 will=None, keep_alive=60, raw=None, retain_will=False):
        transport, self.version = way
        self.raw = raw or (Raw(server, "cashew") if transport == "tcp" else Frames(server, "cashew"))
        self.aliases = {}
        self.early = []
        empty = b"\x00" if self.version == 5 else b""
        flags = ((2 if clean else 0) | (0x80 if user is not None else 0)
                 | (0x40 if password is not None else 0)
                 | (0x04 if will else 0) | (0x20 if retain_will else 0))
        properties = empty if clean or self.version == 4 else b"\x05\x11\x00\x00\x00\x3c"
        body = text("MQTT") + bytes([self.version, flags]) + struct.pack("!H", keep_alive)
        body += properties + text(client)
        if will:
            body += empty + text(will[0]) + text(will[1])
        for shown in (user, password):
            if shown is not None:
                body += text(shown)
        self._send(0x10, body)
        kind, body = self._packet()
        equal(kind, 0x20, "CONNACK")
        self.present, self.code = body[0], body[1]

    def __enter__(self):
        equal(self.code, 0, "the CONNACK's code")
        return self

    def __exit__(self, *_):
        self.close()

    def subscribe_all(self, *filters, qos=0):
        """The SUBACK's codes."""
        empty = b"\x00" if self.version == 5 else b""
        self._send(0x82, b"\x00\x01" + empty + b"".join(text(f) + bytes([qos]) for f in filters))
        while True:
            kind, body = self._packet()
            if kind == 0x90:
                return list(self._skip_properties(body[2:])[0])
            equal(kind, 0x30, "a retained message before SUBACK")
            self.early.append(body)

    def refusal(self):
        return 0x87 if self.version == 5 else 0x80

    def say(self, topic, data, retain=False):
        """PUBLISH at QoS 0."""
        empty = b"\x00" if self.version == 5 else b""
        self._send(0x30 | retain, text(topic) + empty + as_bytes(data))

    def settled(self):
        """What was sent has been taken: a ping is answered. Returns what was delivered before."""
        self._send(0xC0, b"")
        got, early = [], self.early
        self.early = []
        for body in early:
            got.append(self._message(body))
        while True:
            kind, body = self._packet()
            if kind == 0xD0:
                return got
            equal(kind, 0x30, "a PUBLISH")
            got.append(self._message(body))

    def _message(self, body):
        size, = struct.unpack("!H", body[:2])
        rest, properties = self._skip_properties(body[2 + size:])
        topic = body[2:2 + size].decode()
        match = re.search(rb"\x23(..)", properties, re.S) if self.version == 5 else None
        if match:
            topic = self.aliases.setdefault(match[1], topic)
        return topic, rest.decode()

    def hears(self, *expected):
        """The next messages are these, in this order."""
        for topic, data in expected:
            equal(self.next(), (topic, data))

    def ended(self):
        """Waits for the server to end it; the DISCONNECT's reason code in MQTT 5, else None."""
        code = None
        try:
            while True:
                kind, body = self._packet()
                if kind == 0xE0:
                    code = body[0] if body else 0
        except Failure as failure:
            if "closed" not in str(failure):
                raise
            return code


def tampered(good):
    """The same claims and a signature with another bit."""
    head, _, signature = good.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[0] ^= 1
    return f"{head}.{encoded(bytes(raw))}"


def bad_tokens():
    """Name → token: each is a token for user 12 but for one thing."""
    claims = {"user_id": "12", "exp": time.time() + 60}
    return {
        "another key": token("x" * 32, user_id="12"),
        "a signature with another bit": tampered(device("12")),
        "no signature": device("12").rpartition(".")[0] + ".",
        "expired": device("12", lasts=-1),
        "not yet valid": device("12", nbf=time.time() + 60),
        "alg none": f"{part({'alg': 'none'})}.{part(claims)}.",
        "alg None with a signature": signed({"alg": "None"}, claims, hs256(KEY)),
        "alg HS512": signed({"alg": "HS512"}, claims, lambda text: hmac.digest(
            KEY.encode(), text, hashlib.sha512)),
        "alg RS256 signed as HS256": signed({"alg": "RS256"}, claims, hs256(KEY)),
        "two parts": ".".join(device("12").split(".")[:2]),
        "claims of another token": ".".join([device("12").split(".")[0], part({"user_id": "13"}),
                                             device("12").split(".")[2]]),
        "no token at all": "secret",
        "an empty password": "",
        "bytes": b"\xff\x00\xfe",
        "too long": device("12", padding="x" * 8192),
        "an empty id": device(""),
        "an id with a slash": device("12/x"),
        "an id with a plus": device("+"),
        "an id with a number sign": device("#"),
        "an id that is a list": device(["12"]),
        "an id that is null": device(None),
        "an id of the server's": device("$SYS"),
    }
