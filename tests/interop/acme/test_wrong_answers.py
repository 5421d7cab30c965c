"""An authority that is broken, slow or hostile: nothing of it is believed, and nothing waits for it."""

import base64
import http.server
import json
import ssl
import subprocess
import tempfile
import threading
import time

from harness import Certificates, Raw, Server, equal, holds, poll
from pebble import Shown

PING = "*1\r\n$4\r\nPING\r\n"  # of Redis
NAME = "a.example.test"
JSON = {"Content-Type": "application/json"}


class Authority:
    """An authority that issues to everyone without a look; `wrong` answers a path in its own way.

    wrong: {path: (status, headers, body)}, or a function of the request's handler.
    """

    def __init__(self, wrong=None, certificate=None):
        self.wrong = wrong or {}
        self.make = certificate or (lambda authority, csr: authority.sign(csr, [NAME]))
        self.seen = []
        self.csr = None
        self.ended = threading.Event()
        authority = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                authority.answer(self, None)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                authority.answer(self, json.loads(body))

        certificates = Certificates()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.folder = tempfile.TemporaryDirectory()
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def openssl(self, *arguments, data=None):
        return subprocess.run(["openssl", *arguments], input=data, check=True, cwd=self.folder.name,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def sign(self, csr, names, days="30"):
        """A chain for the key of this CSR."""
        certificates = Certificates()
        with open(f"{self.folder.name}/names", "w", encoding="utf-8") as file:
            file.write("subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        with open(f"{self.folder.name}/csr", "wb") as file:
            file.write(csr)
        return self.openssl(
            "x509", "-req", "-inform", "DER", "-in", "csr", "-CA", str(certificates.ca), "-CAkey",
            str(certificates.ca.parent / "ca-key.pem"), "-set_serial", str(time.time_ns()), "-days",
            days, "-extfile", "names")

    def another_key(self):
        return self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/", "-keyout", "k",
                            "-addext", f"subjectAltName=DNS:{NAME}")

    def usual(self, path, jws):
        at = lambda name: f"{self.url}/{name}"  # noqa: E731
        order = {"status": "ready", "finalize": at("finalize"), "authorizations": [at("authz")]}
        if path == "/dir":
            return 200, JSON, {"newNonce": at("nonce"), "newAccount": at("account"),
                               "newOrder": at("order"), "meta": {}}
        if path == "/nonce":
            return 204, {}, None
        if path == "/account":
            return 201, {**JSON, "Location": at("account/1")}, {"status": "valid"}
        if path == "/order":
            return 201, {**JSON, "Location": at("order/1")}, order
        if path == "/authz":
            return 200, JSON, {"status": "valid", "identifier": {"type": "dns", "value": NAME},
                               "challenges": []}
        if path == "/finalize":
            payload = json.loads(_decode(jws["payload"]))
            self.csr = _decode(payload["csr"])
        if path in ("/finalize", "/order/1"):
            if self.csr:
                order = {**order, "status": "valid", "certificate": at("certificate")}
            return 200, JSON, order
        if path == "/certificate":
            return 200, {"Content-Type": "application/pem-certificate-chain"}, \
                self.make(self, self.csr)
        return 404, {}, b"nothing"

    def answer(self, handler, jws):
        self.seen.append(handler.path)
        wrong = self.wrong.get(handler.path)
        if callable(wrong):
            wrong(handler)
            return
        status, headers, body = wrong or self.usual(handler.path, jws)
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Replay-Nonce": f"n{time.time_ns()}", **headers}.items():
            handler.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def server(self, **acme):
        place = {"address": "127.0.0.1", "protocols": ["mqtt", "redis", "wamp"]}
        return Server(config={
            "admin": {"address": "127.0.0.1", "port": 0},
            "drain": {"spread": "0s", "timeout": "2s"},
            "listeners": [{"name": "tls", "port": 0, "tls": "on", **place}],
            "acme": {"domains": [NAME], "directory": f"{self.url}/dir", "backoff": "100ms",
                     "ca": str(Certificates().ca), **acme},
        }, env={"no_proxy": "*"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.http.shutdown()
        self.http.server_close()
        self.folder.cleanup()


def _decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _fails(why, wrong=None, certificate=None, **acme):
    """The order fails for this reason; all is well when the authority is."""
    with Authority(wrong, certificate) as authority, authority.server(**acme) as server:
        server.wait_log(rf'certificate_order_failed name=a\.example\.test .*why="[^\n]*{why}')
        equal(Shown(server.port("tls"), NAME).names[0], "localhost")
        with Raw(server, "tls", tls=ssl._create_unverified_context()) as raw:
            raw.send(PING).expect("+PONG\r\n")
        authority.wrong = {}
        authority.make = lambda a, csr: a.sign(csr, [NAME])
        server.wait_log("certificate_issued")
        equal(Shown(server.port("tls"), NAME).names, [NAME])


def garbage_is_named_and_tried_again():
    _fails("the authority's directory: is no JSON object", {"/dir": (200, {}, b"<html>hello")})
    _fails("the authority's newOrder: expected an https:// address",
           {"/dir": (200, {}, {"newNonce": "https://a/", "newAccount": "https://a/",
                               "newOrder": "file:///etc/passwd"})})
    _fails("the authority's order: is no JSON object",
           {"/order": (201, {"Location": "https://127.0.0.1/x"}, b'{"a":' * 5000)})
    _fails("the authority's status: is none that there is",
           {"/authz": (200, JSON, {"status": "excellent"})})


def errors_are_told_in_the_authoritys_words():
    _fails("directory: status 500", {"/dir": (500, {}, b"oops")})
    _fails("order: status 403 unauthorized: not you",
           {"/order": (403, JSON, {"type": "urn:ietf:params:acme:error:unauthorized",
                                   "detail": "not you"})})
    _fails("account: the authority tells no address", {"/account": (201, JSON, {})})
    _fails("nonce: status 302", {"/nonce": (302, {"Location": "https://127.0.0.1/"}, b"")})


def a_body_without_end_is_cut_off():
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            handler.close_connection = True

    def endless_head(handler):
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                handler.wfile.write(b"X-More: " + b"y" * 4096 + b"\r\n")
        except OSError:
            handler.close_connection = True

    _fails("the answer is too large", {"/dir": endless})
    _fails("the answer is too large|[Tt]oo (large|long)", {"/dir": endless_head})
    _fails("the answer is too large", {"/certificate": (200, {}, b"x" * 300000)})


def a_certificate_that_is_not_what_was_ordered_is_refused():
    _fails("do not belong together", certificate=lambda a, csr: a.another_key())
    _fails("is not for a\\.example\\.test",
           certificate=lambda a, csr: a.sign(csr, ["b.example.test"]))
    _fails("has expired", certificate=lambda a, csr: a.sign(csr, [NAME], days="-1"))
    _fails("holds no PEM certificates", certificate=lambda a, csr: b"-----BEGIN CERTIFICATE-----\n")


def names_that_were_not_ordered_are_not_proven():
    _fails("asks for evil\\.test, which was not ordered",
           {"/authz": (200, JSON, {
               "status": "pending", "identifier": {"type": "dns", "value": "evil.test"},
               "challenges": [{"type": "tls-alpn-01", "url": "https://a/", "token": "abc"}]})})
    _fails("the authority offers no tls-alpn-01",
           {"/authz": (200, JSON, {
               "status": "pending", "identifier": {"type": "dns", "value": NAME},
               "challenges": [{"type": "dns-01", "url": "https://a/", "token": "abc"}]})})


def a_server_that_nobody_vouches_for_is_not_asked():
    with Authority() as authority, authority.server(ca=str(Certificates().key)) as server:
        server.wait_log("certificate_order_failed")
        equal(authority.seen, [])
    with Authority() as authority, authority.server(ca=None) as server:
        server.wait_log("certificate_order_failed")
        equal(authority.seen, [])


def it_waits_as_long_as_the_authority_says():
    limited = (429, {**JSON, "Retry-After": "3600"},
               {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"})
    with Authority({"/order": limited}) as authority, authority.server() as server:
        server.wait_log(r'failures=1 retry_in=3600s why="order: status 429 rateLimited: too many')
        equal(authority.seen.count("/order"), 1)


def waits_double_up_to_their_limit():
    with Authority({"/dir": (500, {}, b"")}) as authority, \
            authority.server(backoff="1s", backoff_max="2s") as server:
        for failures, seconds in ((1, 1), (2, 2), (3, 2)):
            server.wait_log(f"failures={failures} retry_in={seconds}s ")


def an_authority_that_never_answers_holds_up_neither_clients_nor_the_end():
    def silent(handler):
        authority.ended.wait(60)
        handler.close_connection = True

    with Authority({"/order": silent}) as authority:
        with authority.server() as server:
            poll(lambda: "/order" in authority.seen, "for the question")
            with Raw(server, "tls", tls=ssl._create_unverified_context()) as raw:
                raw.send(PING).expect("+PONG\r\n")
            begun = time.monotonic()
            server.stop()
            holds(time.monotonic() - begun < 10, "it ends before the request's 30 s")
    with Authority({"/order": silent}) as authority, \
            authority.server(request_timeout="2s") as server:
        server.wait_log(r'certificate_order_failed [^\n]*order')
