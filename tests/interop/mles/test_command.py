"""`parley mles`: the original's command line in front of Parley."""

import contextlib
import http.client
import http.server
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading

from chat import Command, Member, await_members, sites
from harness import TIMEOUT, Certificates, Failure, Server, equal, holds, poll
from peers import free_port

sys.path.append(str(pathlib.Path(__file__).parents[1] / "acme"))

from pebble import Pebble, Shown, trusted  # noqa: E402

DOMAINS = ["--domains", "a.test", "--domains", "b.test"]


class _Site:
    """The command with two domains and a certificate of its own."""

    def __init__(self, *arguments, **more):
        self.files = Certificates("tls-sites", "DNS:a.test,DNS:b.test,DNS:localhost")
        self.root = sites(a_test="this is a", b_test="this is b")
        self.server = Command(
            *DOMAINS, "--wwwroot", self.root, "--cert", self.files.certificate, "--key",
            self.files.key, *arguments, **more)
        self.server.ca = str(self.files.ca)

    def __enter__(self):
        return self.server.__enter__()

    def __exit__(self, *error):
        try:
            self.server.__exit__(*error)
        finally:
            shutil.rmtree(self.root, ignore_errors=True)


def _get(server, host, address="127.0.0.1", path="/", listener="mles"):
    """The body of a page, by a client that checks certificate and name."""
    context = ssl.create_default_context(cafile=server.ca)
    plain = socket.create_connection((address, server.port(listener)), TIMEOUT)
    connection = http.client.HTTPConnection(host)
    with context.wrap_socket(plain, server_hostname=host) as connection.sock:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def _redirect(server, host, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port("redirect"), timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.headers["Location"]


def two_sites_and_the_chat_share_one_port_on_ipv4_and_ipv6():
    with _Site() as server:
        port = server.port("mles")
        for address in ("127.0.0.1", "::1"):
            equal(_get(server, "a.test", address), "this is a")
            equal(_get(server, "b.test", address), "this is b")
        with Member(("127.0.0.1", port), "chat", "alice", tls=True, ca=server.ca) as alice:
            await_members(server, 1)
            alice.say("hello")
            with Member(("::1", port), "chat", "bob", tls=True, ca=server.ca) as bob:
                bob.expect_header("alice").expect("hello")
                bob.say(b"\x00\xff")
                alice.expect(b"\x00\xff")


def plain_http_is_sent_to_https():
    port = free_port()
    with _Site("--redirect-port", port) as server:
        equal(server.port("redirect"), port)
        equal(_redirect(server, "b.test", "/x?y=z"),
              (301, f"https://b.test:{server.port('mles')}/x?y=z"))


def a_key_in_the_environment_is_asked_for():
    with _Site(env={"MLES_KEY": "secret-key"}) as server:
        where = ("127.0.0.1", server.port("mles"))
        with Member(where, "chat", "alice", key="secret-key", tls=True, ca=server.ca) as alice:
            alice.say("hello")
            await_members(server, 1)
            with Member(where, "chat", "bob", key="secret-key", tls=True, ca=server.ca) as bob:
                bob.expect_header("alice").expect("hello")
        for key in (None, "", "wrong"):
            with Member(where, "chat", "eve", key=key, tls=True, ca=server.ca) as eve:
                equal(eve.expect_refusal()[0], 1008)


def the_limit_is_that_of_each_channel():
    with _Site("--limit", "3") as server:
        where = ("127.0.0.1", server.port("mles"))
        with Member(where, "chat", "alice", tls=True, ca=server.ca) as alice, \
                Member(where, "chat", "bob", tls=True, ca=server.ca) as bob:
            await_members(server, 2)
            for number in range(5):
                alice.say(str(number))
            while bob.next()[1] != b"4":
                pass
            with Member(where, "chat", "carol", tls=True, ca=server.ca) as carol:
                carol.expect("2").expect("3").expect("4")


class _Upstream(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_):
        pass


def requests_below_a_prefix_are_asked_of_another_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Upstream) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{upstream.server_address[1]}"
        with _Site("--proxy", f"api/v1={url}", "--proxy", "nothing") as server:
            equal(_get(server, "a.test", path="/api/v1/users?id=1"), "/users?id=1")
            equal(_get(server, "b.test"), "this is b")
            holds("--proxy nothing: left out" in server.log(), "what is no proxy is named")
        upstream.shutdown()


def an_address_that_connects_too_often_is_closed():
    with _Site("--rate-limit", "3") as server:
        for _ in range(3):
            equal(_get(server, "a.test"), "this is a")
        try:
            _get(server, "a.test")
        except OSError:
            return
        raise Failure("a fourth connection was served")



def two_of_them_share_a_channel():
    with _Site() as one, _Site(
            "--peer", f"wss://localhost:{one.port('mles')}", "--set", f"mles.peer_ca={one.ca}",
            "--set", "mles.peer_settle=100ms") as two:
        here = ("127.0.0.1", one.port("mles"))
        there = ("127.0.0.1", two.port("mles"))
        with Member(here, "chat", "alice", tls=True, ca=one.ca) as alice, \
                Member(there, "chat", "bob", tls=True, ca=two.ca) as bob:
            two.wait_log("mles_peer_linked")
            alice.say("hello")
            bob.expect("hello").say(b"\x00")
            alice.expect(b"\x00")



def it_says_once_that_it_is_open_to_everyone():
    with _Site() as server:
        equal(len(re.findall("open_to_everyone", server.log())), 1)


def wrong_options_are_named():
    binary = Server(config="").binary
    both = [*DOMAINS, "--wwwroot", "/tmp"]
    for words, expected in (
            ([], "--domains is missing"),
            (DOMAINS, "--wwwroot is missing"),
            ([*both, "--limit", "0"], "--limit: expected a number from 1 to 999999, found 0"),
            ([*both, "-l", "1000000"], "--limit: expected a number from 1 to 999999"),
            ([*both, "-f", "many"], "--filelimit: expected a number from 1 to 999999, found many"),
            ([*both, "--port", "65536"], "--port: expected a number from 1 to 65535"),
            ([*both, "-C", "-1"], "--compression-cache: expected a number from 0 to 1024"),
            ([*both, "--rate-limit", "0"], "--rate-limit: expected a number from 1"),
            ([*both, "--cert", "x.pem"], "--cert and --key go together"),
            ([*both, "--staging", "--directory", "https://x"], "either --staging or --directory"),
            ([*both, "--peer", "http://x"], "mles.peers: expected wss://host:port, found http://x"),
            ([*both, "extra"], "what is extra?"),
            ([*both, "--nothing"], "wrong option")):
        done = subprocess.run([binary, "mles", *words], capture_output=True, timeout=60)
        equal(done.returncode, 2, words)
        holds(expected in done.stderr.decode(), f"{words}: {done.stderr.decode()}")


def certificates_of_both_domains_are_ordered_and_renewed_while_people_talk():
    root = sites(a_test="this is a", b_test="this is b")
    with Pebble(validity=15) as pebble, Command(
            *DOMAINS, "--wwwroot", root, "--email", "admin@example.test",
            "--directory", f"https://127.0.0.1:{pebble.port}/dir", "--ca", pebble.certificates.ca,
            "--port", pebble.tls_port, "--redirect-port", pebble.http_port,
            "--set", "acme.renew_before=10s", env={"no_proxy": "*"}) as server:
        server.wait_log("certificate_issued")
        server.ca = str(pebble.folder / "root.pem")
        pathlib.Path(server.ca).write_text(pebble.root())
        first = Shown(pebble.tls_port, "a.test")
        equal(first.names, ["a.test", "b.test"])
        where = ("127.0.0.1", pebble.tls_port)
        with Member(where, "chat", "alice", tls=True, ca=server.ca, domain="a.test") as alice, \
                Member(where, "chat", "bob", tls=True, ca=server.ca, domain="b.test") as bob:
            await_members(server, 2)
            equal(_get(server, "a.test"), "this is a")
            equal(_get(server, "b.test"), "this is b")
            poll(lambda: Shown(pebble.tls_port, "b.test").serial != first.serial, "the next one")
            alice.say("still here")
            while bob.next()[1] != b"still here":
                pass
            for domain, page in (("a.test", "this is a"), ("b.test", "this is b")):
                trusted(pebble.tls_port, domain, pebble.root())
                equal(_get(server, domain), page)
            equal(_redirect(server, "a.test", "/"), (301, f"https://a.test:{pebble.tls_port}/"))
    shutil.rmtree(root, ignore_errors=True)
