"""Users with a secret for each method of authentication, and clients that log in with them.

    done = autobahn_python(url, "ticket", authid="bob", ticket="secret")
    done.welcome["authid"]; done.refused is None

Secrets are made here by Python's own means, not by Parley's.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import sys
import threading

import nacl.signing
from argon2.low_level import Type, hash_secret_raw

FOLDER = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(FOLDER), str(FOLDER / "auth")]

from clients import HERE, Certificates, node  # noqa: E402  (after the path)
from harness import (BUILD, ROOT, SANITIZER_OPTIONS, TIMEOUT, Failure,  # noqa: E402
                     WebSocket, equal, locked)
from people import HASH, PASSWORD  # noqa: E402

SEED = bytes(range(32)).hex()
PUBLIC_KEY = nacl.signing.SigningKey(bytes(range(32))).verify_key.encode().hex()


def b64(data):
    return base64.b64encode(data).decode()


def salted_cra(password, salt="c2FsdA==", iterations=1000):
    key = b64(hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations))
    return f"$wampcra$i={iterations},l=32${salt}${key}"


def scram_keys(salted):
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def scram(password, salt=b"0123456789abcdef", iterations=4096):
    stored, server = scram_keys(
        hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations))
    return f"$scram$pbkdf2$i={iterations}${b64(salt)}${b64(stored)}${b64(server)}"


def argon(password, salt, passes, kib):
    return hash_secret_raw(password.encode(), salt, passes, kib, 1, 32, Type.ID)


def scram_argon(password, salt=b"0123456789abcdef", passes=2, kib=64):
    raw = argon(password, salt, passes, kib)
    text = base64.b64encode(raw).rstrip(b"=")
    keys = "$".join(b64(key) for salted in (raw, text) for key in scram_keys(salted))
    return f"$scram$argon2id$m={kib},t={passes}${b64(salt)}${keys}"


USERS = "\n".join([
    f"bob device {HASH}",
    f"cra device {salted_cra(PASSWORD)}",
    f"plain device $wampcra${b64(PASSWORD.encode())}",
    # The first: who is unknown looks like this one.
    f"argon device {scram_argon(PASSWORD)}",
    f"scram device {scram(PASSWORD)}",
    f"robot device $cryptosign${PUBLIC_KEY}",
    f"every admin {HASH} {salted_cra(PASSWORD)} {scram_argon(PASSWORD)}",
    "",
])


def client_certificate(folder, name):
    """A certificate of the tests' authority for that name: (file with its key, SHA-256 in hex)."""
    authority = Certificates().ca.parent
    both = folder / f"{name}.pem"

    def openssl(*words, data=None):
        return subprocess.run(["openssl", *map(str, words)], check=True, input=data,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    both.write_bytes(key)
    request = openssl("req", "-new", "-key", both, "-subj", f"/O=Tests/CN={name}")
    certificate = openssl("x509", "-req", "-CA", authority / "ca.pem", "-CAkey",
                          authority / "ca-key.pem", "-set_serial", "77", "-days", "2", data=request)
    both.write_bytes(key + certificate)
    der = openssl("x509", "-outform", "DER", data=certificate)
    return both, hashlib.sha256(der).hexdigest()


class Done:
    """What came of a login: welcome (authid, authrole, authmethod …), or refused, the reason."""

    def __init__(self, welcome=None, refused=None, result=None):
        self.welcome, self.refused, self.result = welcome, refused, result


def expect(done, authid, authmethod, authrole="device"):
    """The login was taken, as this."""
    if done.refused:
        raise Failure(f"refused: {done.refused}")
    got = tuple(done.welcome[key] for key in ("authid", "authmethod", "authrole"))
    equal(got, (authid, authmethod, authrole))


def expect_refused(done, reason="wamp.error.authentication_failed"):
    equal(done.refused or done.welcome, reason)


def javascript(library, url, methods, *, realm="realm1", **options):
    """autobahn or wampy."""
    ask = json.dumps(
        {"library": library, "url": url, "realm": realm, "methods": methods, **options})
    done = subprocess.run(
        [node(), HERE / "node" / "wamp_login.mjs", ask], capture_output=True, text=True,
        check=False, timeout=TIMEOUT * 2,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(Certificates().ca)})
    lines = [line for line in done.stdout.splitlines() if line.startswith("{\"")]
    if not lines:
        raise Failure(f"{library}: {done.stdout[-1000:]} {done.stderr[-2000:]}")
    return Done(**{"result": None, **json.loads(lines[-1])})


def libparley(url, methods, authid, secret):
    """What the library of build/asan says: joined, or refused and the reason."""
    library = ROOT / "build" / "asan" / "src"
    source = HERE / "clients" / "libparley_login.c"
    program = BUILD / "libparley_login"
    with locked("libparley_login"):
        newest = max(path.stat().st_mtime for path in (source, library / "libparley.so"))
        if not program.exists() or program.stat().st_mtime < newest:
            subprocess.run(
                ["cc", "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g",
                 "-fsanitize=address,undefined", f"-I{ROOT / 'include'}", "-o", program, source,
                 f"-L{library}", "-lparley", f"-Wl,-rpath,{library}"], check=True)
    done = subprocess.run([program, url, methods, authid, secret], capture_output=True, text=True,
                          check=False, timeout=TIMEOUT * 2,
                          env={**os.environ, **SANITIZER_OPTIONS})
    if done.returncode:
        raise Failure(done.stderr[-4000:])
    return done.stdout.strip()


def autobahn_python(url, method, *, realm="realm1", serializer="msgpack", **options):
    """Its Component, in a process of its own: it logs much and keeps a loop."""
    ask = json.dumps({"url": url, "method": method, "realm": realm, "serializer": serializer,
                      "options": options, "ca": str(Certificates().ca)})
    done = subprocess.run(
        ["/usr/bin/python3", __file__, ask], capture_output=True, text=True, check=False,
        timeout=TIMEOUT * 2)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{\"")]
    if not lines:
        raise Failure(f"python3-autobahn: {done.stdout[-1000:]} {done.stderr[-2000:]}")
    return Done(**json.loads(lines[-1]))


class Peer:
    """A client that says exactly what it is told to, in JSON over WebSocket."""

    def __init__(self, server, listener="wamp", **more):
        self.socket = WebSocket(server, listener, **{"path": "/ws", "protocol": "wamp.2.json",
                                                     **more})
        equal(self.socket.status, 101)

    def send(self, *message):
        self.socket.send_frame(1, json.dumps(message))

    def take(self, code=None):
        first, payload = self.socket.take_frame()
        if first & 0x0F == 8:
            raise Failure(f"closed: {payload!r}")
        message = json.loads(payload)
        if code is not None and message[0] != code:
            raise Failure(f"expected {code}, got {message}")
        return message

    def hello(self, realm="realm1", **details):
        features = {"publisher_identification": True, "caller_identification": True}
        roles = {role: {"features": features}
                 for role in ("publisher", "subscriber", "caller", "callee")}
        self.send(1, realm, {"roles": roles, **details})
        return self

    def expect_abort(self, reason):
        """ABORT for that reason, then the end."""
        message = self.take(3)
        equal(message[2], reason)
        first, _ = self.socket.take_frame()
        equal(first & 0x0F, 8)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Callee(Peer):
    """Registers a procedure and answers its calls by a function, on a thread."""

    def __init__(self, server, authid, ticket, procedure, answer, *, realm="realm1", **more):
        super().__init__(server, **more)
        self.hello(realm=realm, authmethods=["ticket"], authid=authid).take(4)
        self.send(5, ticket, {})
        self.take(2)
        self.send(64, 1, {}, procedure)
        self.take(65)
        self.calls = []
        self.answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                message = self.take()
                if message[0] != 68:
                    continue
                args = message[4] if len(message) > 4 else []
                self.calls.append(args)
                try:
                    self.send(70, message[1], {}, [self.answer(*args)])
                except LookupError as error:
                    self.send(8, 68, message[1], {}, "com.example.unknown", [str(error)])
        except (Failure, OSError, ValueError):
            return


# ---- python3-autobahn, as a program ----

async def _log_in(ask):
    from autobahn.asyncio.component import Component

    transport = {"type": "websocket", "url": ask["url"], "max_retries": 0,
                 "serializers": [ask["serializer"]]}
    if ask["url"].startswith("wss"):
        import ssl
        context = ssl.create_default_context(cafile=ask["ca"])
        context.check_hostname = False
        if ask["options"].pop("tls12", False):
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        transport["endpoint"] = {"type": "tcp", "host": "127.0.0.1",
                                 "port": int(ask["url"].split(":")[2].split("/")[0]),
                                 "tls": context}
    told = {}
    component = Component(transports=[transport], realm=ask["realm"],
                          authentication={ask["method"]: ask["options"]})

    @component.on_join
    async def _joined(session, details):
        told["welcome"] = {key: getattr(details, key) for key in (
            "authid", "authrole", "authmethod", "authprovider", "authextra", "realm")}
        await session.leave()

    @component.on_leave
    async def _left(session, details):
        if "welcome" not in told:
            told["refused"] = details.reason

    try:
        await component.start(asyncio.get_running_loop())
    except RuntimeError:
        pass  # it has no attempts left; why, on_leave was told
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(_log_in(json.loads(sys.argv[1])))
