"""Certificates of files, chosen by the name that a client asks for."""

import signal
import subprocess

from harness import Server, equal, holds, poll
from pebble import Shown


def _make(folder, name, *names):
    every = ",".join(f"DNS:{each}" for each in (name, *names))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem",
         "-addext", f"subjectAltName={every}"],
        cwd=folder, check=True, stderr=subprocess.DEVNULL)


def _config(*names, own=None):
    place = {"address": "127.0.0.1", "port": 0, "protocols": ["mqtt", "wamp"], "tls": "on"}
    listeners = [{"name": "tls", **place}]
    if own:
        listeners.append({"name": "own", "certificate": f"{own}.pem", "key": f"{own}.key", **place})
    return {
        "admin": {"address": "127.0.0.1", "port": 0},
        "listeners": listeners,
        "tls": {"certificates": [{"certificate": f"{name}.pem", "key": f"{name}.key"}
                                 for name in names]},
    }


def _reload(server, event):
    before = server.log().count(f" {event} ")
    server.signal(signal.SIGHUP)
    poll(lambda: server.log().count(f" {event} ") > before, f"for {event}")


def each_name_has_its_certificate_and_a_reload_brings_new_ones():
    server = Server(config=_config("a.test", "b.test", own="own.test"))
    for name in ("a.test", "own.test", "c.test"):
        _make(server.folder, name)
    _make(server.folder, "b.test", "*.b.test")
    with server:
        port = server.port("tls")
        equal(Shown(port, "a.test").names, ["a.test"])
        equal(Shown(port, "b.test").names, ["b.test", "*.b.test"])
        equal(Shown(port, "x.b.test").names, ["b.test", "*.b.test"])
        equal(Shown(port, "elsewhere.test").names, ["a.test"])
        equal(Shown(server.port("own"), "a.test").names, ["own.test"])
        server.write_config(_config("c.test", "b.test", own="own.test"))
        _reload(server, "reloaded")
        equal(Shown(port, "a.test").names, ["c.test"])
        equal(Shown(port, "x.b.test").names, ["b.test", "*.b.test"])


def a_broken_file_is_named_and_nothing_changes():
    server = Server(config=_config("a.test", "b.test"))
    _make(server.folder, "a.test")
    _make(server.folder, "b.test")
    with server:
        (server.folder / "b.test.pem").write_text("nonsense")
        _make(server.folder, "c.test")
        server.write_config(_config("c.test", "b.test"))
        _reload(server, "reload_failed")
        holds("b.test.pem holds no PEM certificates" in server.log(), server.log())
        equal(Shown(server.port("tls"), "a.test").names, ["a.test"])
        equal(Shown(server.port("tls"), "c.test").names, ["a.test"])
        check = subprocess.run([server.binary, "check", str(server.config_file)], text=True,
                               check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        holds(check.returncode != 0 and "b.test.pem" in check.stdout, check.stdout)
