"""Certificates from an authority: ordered, kept, renewed, with Let's Encrypt's test authority."""

import base64
import hashlib
import pathlib
import signal
import ssl
import subprocess
import tempfile
import threading

from harness import Raw, Server, equal, holds, poll
from pebble import Pebble, Shown, cached, trusted

PING = "*1\r\n$4\r\nPING\r\n"  # of Redis
NAMES = ["b.example.test", "a.example.test"]


def _metric(server, name, label):
    _, body = server.get("/metrics")
    for line in body.decode().splitlines():
        if line.startswith(f'parley_{name}{{name="{label}"}} '):
            return float(line.split()[1])
    return None


def _issued(server, count=1, name=NAMES[0]):
    poll(lambda: server.log().count(f" certificate_issued name={name} ") >= count,
         f"for certificate {count}")


def two_names_get_one_certificate_by_tls_alpn():
    with Pebble() as pebble, pebble.server(domains=NAMES) as server:
        _issued(server)
        shown = Shown(pebble.tls_port, "a.example.test")
        equal(shown.names, NAMES)
        holds("prime256v1" in shown.text, shown.text)
        for name in NAMES:
            trusted(pebble.tls_port, name, pebble.root())
        equal(sorted(cached(server).values()), ["0o600", "0o600"])
        equal(oct((server.data / "acme").stat().st_mode & 0o777), "0o700")
        holds(_metric(server, "acme_certificate_expires_seconds", NAMES[0]) > 1.7e9, "expiry")
        equal(_metric(server, "acme_failures", NAMES[0]), 0)


def until_the_first_certificate_comes_another_one_is_shown():
    with Pebble() as pebble:
        pebble.stop_authority()
        with pebble.server(domains=NAMES) as server:
            server.wait_log(r"certificate_order_failed name=b\.example\.test failures=2 retry_in=1s")
            equal(Shown(pebble.tls_port, NAMES[0]).names[0], "localhost")
            holds(_metric(server, "acme_failures", NAMES[0]) >= 2, "failures")
            equal(_metric(server, "acme_certificate_expires_seconds", NAMES[0]), 0)
            pebble.start_authority()
            _issued(server)
            trusted(pebble.tls_port, NAMES[0], pebble.root())


def names_are_proven_by_http_too():
    with Pebble() as pebble, pebble.server(domains=NAMES, challenge="http-01") as server:
        _issued(server)
        trusted(pebble.tls_port, NAMES[0], pebble.root())
        with Raw(server, "web") as raw:  # it is over
            raw.send("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            holds(raw.until().startswith(b"HTTP/1.1 404 "), "nothing there")


def a_listener_that_redirects_answers_the_authority():
    with Pebble() as pebble:
        config = pebble.config(domains=NAMES, challenge="http-01")
        config["listeners"][1] = {"name": "web", "address": "127.0.0.1", "port": pebble.http_port,
                                  "redirect": True}
        config["web"] = {"root": str(pebble.folder), "domains": NAMES}
        with Server(config=config, env={"no_proxy": "*"}) as server:
            _issued(server)
            with Raw(server, "web") as raw:
                raw.send("GET /x HTTP/1.1\r\nHost: a.example.test\r\n\r\n")
                holds(raw.until().startswith(b"HTTP/1.1 30"), "redirected")


def nonces_that_are_refused_are_asked_for_again():
    with Pebble(nonce_reject=60) as pebble, pebble.server(domains=NAMES) as server:
        _issued(server)
        holds(any(b"badNonce" in line or b"nonce" in line for line in pebble.lines()), "it refused")


def an_authority_may_want_to_know_whose_account_it_is():
    key = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
    with Pebble(bindings={"kid-1": key}) as pebble:
        with pebble.server(domains=NAMES) as server:
            server.wait_log(r"certificate_order_failed .*externalAccountRequired")
        with pebble.server(domains=NAMES, binding_id="kid-1", binding_key="binding",
                           files={"binding": key + "\n"}) as server:
            _issued(server)
        wrong = base64.urlsafe_b64encode(bytes(32)).decode()
        with pebble.server(domains=NAMES, binding_id="kid-1", binding_key="binding",
                           files={"binding": wrong}) as server:
            server.wait_log(r"certificate_order_failed .*(unauthorized|MAC|malformed)")


def names_in_groups_get_a_certificate_each():
    with Pebble() as pebble, pebble.server(
            domains=NAMES, certificates=[{"domains": ["c.example.test"]}]) as server:
        _issued(server)
        _issued(server, name="c.example.test")
        equal(Shown(pebble.tls_port, "c.example.test").names, ["c.example.test"])
        equal(Shown(pebble.tls_port, "a.example.test").names, NAMES)
        equal(Shown(pebble.tls_port, "elsewhere.test").names, NAMES)
        equal(len(cached(server)), 3)


def a_restart_shows_what_the_folder_has_and_orders_nothing():
    with Pebble() as pebble, tempfile.TemporaryDirectory() as data:
        with pebble.server(domains=NAMES, data=data) as server:
            _issued(server)
            before = Shown(pebble.tls_port, NAMES[0]).serial
        pebble.stop_authority()
        with pebble.server(domains=NAMES, data=data) as server:
            server.wait_log(r"certificate_loaded name=b\.example\.test")
            equal(Shown(pebble.tls_port, NAMES[0]).serial, before)
            equal(_metric(server, "acme_failures", NAMES[0]), 0)
            holds("certificate_order_failed" not in server.log(), server.log())


def a_damaged_folder_is_told_of_and_filled_anew():
    with Pebble() as pebble, tempfile.TemporaryDirectory() as data:
        with pebble.server(domains=NAMES, data=data) as server:
            _issued(server)
        for path in (pathlib.Path(data) / "acme").iterdir():
            path.write_bytes(path.read_bytes()[:60])
        with pebble.server(domains=NAMES, data=data) as server:
            _issued(server)
            equal(server.log().count("certificate_cache_failed"), 2)
            trusted(pebble.tls_port, NAMES[0], pebble.root())


def renewals_are_shown_at_once_and_nobody_notices():
    with Pebble(validity=15) as pebble, pebble.server(domains=NAMES, renew_before="10s") as server:
        _issued(server)
        root = pebble.root()
        with Raw(server, "tls", tls=ssl._create_unverified_context()) as raw:
            raw.send(PING).expect("+PONG\r\n")
            serials, failed, done = set(), [], threading.Event()

            def shake():
                while not done.is_set():
                    try:
                        serials.add(trusted(pebble.tls_port, NAMES[0], root)["serialNumber"])
                    except (OSError, ssl.SSLError) as error:
                        failed.append(error)

            threads = [threading.Thread(target=shake) for _ in range(2)]
            for thread in threads:
                thread.start()
            _issued(server, 3)
            done.set()
            for thread in threads:
                thread.join()
            raw.send(PING).expect("+PONG\r\n")  # opened before all of them
        equal(failed, [])
        holds(len(serials) >= 2, f"several were shown: {serials}")
        equal(server.log().count("certificate_order_failed"), 0)


def a_name_that_leads_elsewhere_leaves_the_old_certificate_in_service():
    with Pebble() as pebble, pebble.server(domains=NAMES[:1]) as server:
        _issued(server)
        before = Shown(pebble.tls_port, NAMES[0]).serial
        pebble.point("c.example.test", "127.0.0.9")
        server.config["acme"]["domains"] = NAMES[:1]
        server.config["acme"]["certificates"] = [{"domains": ["c.example.test"]}]
        server.write_config()
        server.signal(signal.SIGHUP)
        server.wait_log(r'certificate_order_failed name=c\.example\.test .*c\.example\.test: '
                        r'(connection|unauthorized)')
        equal(Shown(pebble.tls_port, NAMES[0]).serial, before)
        equal(Shown(pebble.tls_port, "c.example.test").serial, before)
        pebble.point_back("c.example.test")
        _issued(server, name="c.example.test")
        equal(Shown(pebble.tls_port, "c.example.test").names, ["c.example.test"])


def a_failed_renewal_leaves_the_old_certificate_in_service():
    with Pebble(validity=15) as pebble, pebble.server(
            domains=NAMES[:1], renew_before="10s") as server:
        _issued(server)
        before = Shown(pebble.tls_port, NAMES[0]).serial
        pebble.point(NAMES[0], "127.0.0.9")
        server.wait_log(r"certificate_order_failed name=b\.example\.test failures=2")
        equal(Shown(pebble.tls_port, NAMES[0]).serial, before)
        pebble.point_back(NAMES[0])
        _issued(server, 2)
        holds(Shown(pebble.tls_port, NAMES[0]).serial != before, "a new one")


def an_authority_that_has_forgotten_the_account_gets_it_again():
    with Pebble(validity=12) as pebble, pebble.server(
            domains=NAMES[:1], renew_before="8s") as server:
        _issued(server)
        pebble.stop_authority()
        pebble.start_authority()  # with an empty memory
        _issued(server, 2)
        equal(server.log().count(" acme_account "), 2)


def a_reload_orders_what_is_new_and_leaves_the_rest():
    with Pebble() as pebble, pebble.server(domains=NAMES) as server:
        _issued(server)
        server.signal(signal.SIGHUP)
        poll(lambda: server.log().count(" reloaded ") == 1, "for the reload")
        server.config["acme"]["domains"] = ["z.example.test"]
        server.write_config()
        server.signal(signal.SIGHUP)
        _issued(server, name="z.example.test")
        equal(Shown(pebble.tls_port, NAMES[0]).names, ["z.example.test"])
        equal(server.log().count("certificate_issued"), 2)
        server.config["acme"]["domains"] = []
        server.write_config()
        server.signal(signal.SIGHUP)
        poll(lambda: Shown(pebble.tls_port, NAMES[0]).names[0] == "localhost", "for the made one")


def _hash(texts, directory):
    digest = hashlib.sha256(b"".join(text.encode() + b"\0" for text in texts) + directory.encode())
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def the_folder_of_a_mles_server_goes_on_to_be_used():
    with Pebble() as pebble, tempfile.TemporaryDirectory() as cache:
        directory = f"https://127.0.0.1:{pebble.port}/dir"
        folder = pathlib.Path(cache)
        account = folder / f"cached_account_{_hash(['mailto:admin@example.test'], directory)}"
        certificate = folder / f"cached_cert_{_hash(NAMES, directory)}"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        key = folder / "key.pem"
        chain = _openssl("req", "-x509", *curve, "-subj", "/", "-days", "60", "-keyout", str(key),
                         "-addext", "subjectAltName=DNS:b.example.test,DNS:a.example.test")
        certificate.write_bytes(key.read_bytes() + b"\n" + chain)
        key.unlink()
        pem = folder / "account.pem"
        pem.write_bytes(_openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"))
        der = _openssl("pkcs8", "-topk8", "-nocrypt", "-in", str(pem), "-outform", "DER")
        account.write_bytes(der)
        pem.unlink()
        with pebble.server(domains=NAMES, cache=cache,
                           certificates=[{"domains": ["c.example.test"]}]) as server:
            server.wait_log(r"certificate_loaded name=b\.example\.test")
            _issued(server, name="c.example.test")  # by that account
            equal(Shown(pebble.tls_port, NAMES[1]).names, NAMES)
            equal(server.log().count("certificate_issued"), 1)
            equal(account.read_bytes(), der)
            equal({oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}, {"0o600"})
            holds("certificate_cache_failed" not in server.log(), server.log())
