"""Keys of tokens from an identity provider's address: fetched, waited for, renewed, and what is wrong
with it told. The provider is a server of this test."""

import contextlib
import http.server
import json
import os
import ssl
import tempfile
import threading
import time

from cashew import WAYS, YAML, Client, RsaKey, hs256, options, signed
from harness import Certificates, Failure, Server, equal, holds, poll

FOLDER = tempfile.TemporaryDirectory()
KEYS = []


def _key(number):
    """Made once: they cost."""
    while len(KEYS) <= number:
        folder = f"{FOLDER.name}/{len(KEYS)}"
        os.mkdir(folder)
        KEYS.append(RsaKey(folder))
    return KEYS[number]


class Provider:
    """Serves a set at /jwks.json; what it answers can be changed, held, and is counted."""

    def __init__(self, *names, tls=False):
        self.asked = 0
        self.status = 200
        self.headers = {}
        self.open = threading.Event()
        self.open.set()
        self.serve(*names)
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked += 1
                provider.open.wait(20)
                with contextlib.suppress(OSError):
                    self.send_response(provider.status)
                    for name, value in provider.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(provider.body)))
                    self.end_headers()
                    self.wfile.write(provider.body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if tls:
            scheme = "https"
            files = Certificates()
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(files.certificate, files.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self, *numbers, extra=()):
        """Keys by their number; kid is "key-N"."""
        keys = [_key(number).jwk(f"key-{number}") for number in numbers]
        self.body = json.dumps({"keys": [*extra, *keys]}).encode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


def _token(number, kid=None, **claims):
    claims = {"sub": "auth0|5f7c8ec7", "iss": "https://tenant.example/", "aud": ["parley", "x"],
              "exp": time.time() + 60, **claims}
    return _key(number).token({"kid": f"key-{number}" if kid is None else kid}, **claims)


def _server(provider, ca=None, **jwt):
    """The example with the provider's keys in place of the secret."""
    key = {"url": provider.url, **({"ca": str(ca)} if ca else {})}
    more = {"keys": [key], "user_claim": "sub", "handler_claim": "https://app.example/handler",
            "issuers": ["https://tenant.example/"], "audiences": ["parley"], "refresh_min": "50ms",
            **jwt}
    lines = "".join(f"\n    {name}: {json.dumps(value)}" for name, value in more.items())
    text = YAML.replace("    keys: [{env: JWT_SECRET}]", lines.lstrip("\n"))
    holds(text != YAML, "the example has no secret to replace")
    return Server(**options(text))


def a_providers_tokens_come_in_as_users_and_handlers():
    with Provider(0, 1) as provider, _server(provider) as server:
        for way in WAYS:
            for number in (0, 1):
                with Client(server, _token(number), way=way) as client:
                    no = client.refusal()
                    equal(client.subscribe_all("auth0|5f7c8ec7/x", "auth0/x", "#"), [0, no, no])
            handler = _token(0, **{"https://app.example/handler": {"name": "h"}})
            with Client(server, handler, way=way) as client:
                equal(client.subscribe_all("#"), [0])
            for bad in (_token(0, iss="https://other.example/"), _token(0, aud="other"),
                        _token(0, aud=None), _token(0, exp=time.time() - 1), _token(1, kid="key-0"),
                        _token(0, sub="a/b"), _token(0, sub="")):
                client = Client(server, bad, way=way)
                equal(client.code, 0x86 if way[1] == 5 else 4)
                client.close()
        equal(provider.asked, 1, "known keys are not asked for again")


def a_login_waits_for_the_first_set():
    with Provider(0) as provider:
        provider.open.clear()
        with _server(provider) as server:
            poll(lambda: provider.asked, "the set is asked for at the start")
            done = []
            threads = [threading.Thread(target=lambda way=way: done.append(
                Client(server, _token(0), way=way).code)) for way in WAYS]
            for thread in threads:
                thread.start()
            equal(done, [])
            provider.open.set()
            for thread in threads:
                thread.join()
            equal(done, [0] * 4)


def a_new_key_is_fetched_when_the_first_token_names_it():
    with Provider(0) as provider, _server(provider) as server:
        Client(server, _token(0)).close()
        provider.serve(0, 1)
        with Client(server, _token(1)) as client:
            equal(client.subscribe_all("auth0|5f7c8ec7/x"), [0])
        holds(provider.asked >= 2, provider.asked)


def made_up_keys_do_not_make_us_a_nuisance():
    with Provider(0) as provider, _server(provider, refresh_min="1h") as server:
        with Client(server, _token(0)):
            for number in range(50):
                client = Client(server, _token(1, kid=f"made-up-{number}"))
                equal(client.code, 4)
                client.close()
            for bad in (signed({"alg": "HS256", "kid": "x"}, {"sub": "x"}, hs256("x" * 32)),
                        _token(1, kid="")):
                client = Client(server, bad)
                equal(client.code, 4)
                client.close()
        equal(provider.asked, 1)


def a_key_that_is_gone_from_the_set_ends_its_sessions():
    with Provider(0, 1) as provider, _server(provider, refresh="1s") as server:
        stays = Client(server, _token(1))
        for version, code in ((4, None), (5, 0x87)):
            provider.serve(0, 1)
            leaves = None

            def comes_in(version=version):
                nonlocal leaves
                leaves = Client(server, _token(0), way=("ws", version))
                return leaves.code == 0
            poll(comes_in, "key 0 is there again")
            provider.serve(1)
            equal(leaves.ended(), code)
        equal(stays.settled(), [])
        stays.close()


def an_outage_costs_nobody_his_login():
    with Provider(0) as provider, _server(provider, refresh="1s") as server:
        Client(server, _token(0)).close()
        for status, body in ((500, b""), (200, b"{"), (200, b"[]"), (200, b'{"keys": []}'),
                             (200, b'{"keys": "x"}'), (200, b" " * 300000), (302, b"")):
            before = provider.asked
            provider.status, provider.body = status, body
            provider.headers = {"Location": provider.url + "?again"} if status == 302 else {}
            Client(server, _token(1)).close()  # names a key that is not there
            poll(lambda before=before: provider.asked > before, "it is asked")
            with Client(server, _token(0)) as client:
                equal(client.settled(), [])
        server.wait_log(r"token_keys_failed url=http://127.0.0.1:\d+/jwks.json why=\"the answer's status")
        server.wait_log(r"the set is over 256 KiB")


def without_any_set_the_server_says_that_it_cannot_tell():
    with Provider(0) as provider:
        provider.status = 503
        with _server(provider) as server:
            for way in WAYS:
                client = Client(server, _token(0), way=way)
                equal(client.code, 0x88 if way[1] == 5 else 3, way)
                client.close()
            provider.status = 200

            def comes_in():
                client = Client(server, _token(0))
                client.close()
                return client.code == 0
            poll(comes_in, "the set is there")


def what_everybody_can_read_is_no_secret():
    secret = "0123456789abcdef0123456789abcdef"
    with Provider(0) as provider:
        provider.serve(0, extra=[
            {"kty": "oct", "kid": "s", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"},
            {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}, {"kty": "EC"}, "x", None])
        with _server(provider) as server:
            Client(server, _token(0)).close()
            for header in ({"alg": "HS256", "kid": "s"}, {"alg": "HS256"}):
                forged = signed(header, {"sub": "x", "iss": "https://tenant.example/",
                                         "aud": "parley"}, hs256(secret))
                client = Client(server, forged)
                equal(client.code, 4)
                client.close()


def https_is_checked():
    with Provider(0, tls=True) as provider:
        with _server(provider, ca=Certificates().ca) as server:
            Client(server, _token(0)).__enter__().close()
        with _server(provider) as server:
            client = Client(server, _token(0))
            equal(client.code, 3)
            client.close()
            server.wait_log("token_keys_failed url=https")


def a_server_ends_though_its_provider_does_not_answer():
    with Provider(0) as provider:
        provider.open.clear()
        with _server(provider) as server:
            poll(lambda: provider.asked, "it is asked")
            begun = time.monotonic()
            server.stop()
            holds(time.monotonic() - begun < 8, "it waited for the provider")


def addresses_that_anybody_could_answer_are_refused():
    for url in ("http://tenant.example/jwks.json", "file:///etc/passwd", "ftp://127.0.0.1/x",
                "https://user:password@tenant.example/", "jwks.json", "http://127.0.0.1.example/"):
        text = YAML.replace("{env: JWT_SECRET}", json.dumps({"url": url}))
        server = Server(**options(text))
        try:
            server.start()
        except Failure as failure:
            holds("auth.jwt.keys[0].url" in str(failure), failure)
        else:
            raise Failure(f"{url} was taken")
        finally:
            server.remove()
