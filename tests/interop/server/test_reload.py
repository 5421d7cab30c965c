"""SIGHUP: users, roles, keys, certificates and the log level are read again; the rest stays."""

import shutil
import signal
import socket
import ssl

from harness import Certificates, Raw, Server, equal, holds, poll
from test_browsers import _connect, _hash

HASH = _hash("secret")  # the same each time: a new hash is a new password, which ends sessions
ACCEPTED = b"\x20\x02\x00\x00"


def _reload(server, event="reloaded"):
    before = server.log().count(f" {event} ")
    server.signal(signal.SIGHUP)
    poll(lambda: server.log().count(f" {event} ") > before, f"for {event}")


def _users(**users):
    return "".join(f"{name} {role} {HASH}\n" for name, role in users.items())


def _write_users(server, text):
    (server.folder / "users").write_text(text)
    (server.folder / "users").chmod(0o600)


def new_users_come_in_and_removed_ones_are_cut():
    with Server(auth={"users": "users"}, files={"users": _users(bob="all", eve="all")}) as server, \
            Raw(server, "mqtt") as bob, Raw(server, "mqtt") as eve:
        for raw, name in ((bob, "bob"), (eve, "eve")):
            raw.send(_connect(name, "secret")).expect(ACCEPTED)
        _write_users(server, _users(bob="all", kim="all"))
        _reload(server)
        eve.read_all()
        with Raw(server, "mqtt") as kim:
            kim.send(_connect("kim", "secret")).expect(ACCEPTED)
        with Raw(server, "mqtt") as raw:
            raw.send(_connect("eve", "secret"))
            holds(raw.read_all() != ACCEPTED, "eve is refused")
        bob.send(b"\xc0\x00").expect(b"\xd0\x00")


def a_bad_file_keeps_the_old_users_and_is_logged():
    with Server(auth={"users": "users"}, files={"users": _users(bob="all")}) as server:
        _write_users(server, "nonsense\n")
        _reload(server, "reload_failed")
        holds("users:1" in server.log(), server.log())
        with Raw(server, "mqtt") as bob:
            bob.send(_connect("bob", "secret")).expect(ACCEPTED)
        server.config_file.write_text("limits: {payload: much}\n")
        _reload(server, "reload_failed")
        holds("parley.yaml:1: limits.payload" in server.log(), server.log())
        with Raw(server, "mqtt") as bob:
            bob.send(_connect("bob", "secret")).expect(ACCEPTED)


def roles_are_read_again():
    roles = {"talker": {"publish": [">"], "subscribe": ["a.>"]}}
    with Server(auth={"users": "users"}, roles=roles,
                files={"users": _users(bob="talker")}) as server, Raw(server, "redis") as bob:
        bob.send("AUTH bob secret\r\n").expect("+OK\r\n")
        bob.send("SUBSCRIBE b.x\r\n")
        holds(bob.until().startswith(b"-NOPERM"), "refused")
        server.config["roles"]["talker"]["subscribe"] = ["b.>"]
        server.write_config()
        _reload(server)

        def is_allowed():  # each session hears of it on its own thread
            bob.send("SUBSCRIBE b.x\r\n")
            return not bob.until().startswith(b"-NOPERM")
        poll(is_allowed, "for the new right")
        bob.until(b":1\r\n")
        server.config["roles"]["talker"]["subscribe"] = ["c.>"]
        server.write_config()
        _reload(server)
        bob.read_all()  # a right that was used is gone: cut


def the_log_level_is_read_again():
    with Server(log={"level": "info"}) as server:
        with Raw(server, "redis") as raw:
            raw.send("PING\r\n").expect("+PONG\r\n")
        holds(" debug " not in server.log(), "no debug line yet")
        server.config["log"]["level"] = "debug"
        server.write_config()
        _reload(server)
        with Raw(server, "redis") as raw:
            raw.send("PING\r\n").expect("+PONG\r\n")
        server.wait_log(r" debug connection_closed ")


def _subject_bytes(server):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(server.address("mqtts")) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as tls:
        return tls.getpeercert(binary_form=True)


def certificates_are_read_again():
    old, new = Certificates(), Certificates("other-tls")
    with Server(tls={"certificate": "c.pem", "key": "k.pem"},
                files={"c.pem": old.certificate.read_text(),
                       "k.pem": old.key.read_text()}) as server:
        first = _subject_bytes(server)
        with Raw(server, "mqtts", tls=True) as stays:
            stays.send(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00").expect(ACCEPTED)
            (server.folder / "c.pem").write_text("broken")
            _reload(server, "reload_failed")
            equal(_subject_bytes(server), first)
            shutil.copy(new.certificate, server.folder / "c.pem")
            shutil.copy(new.key, server.folder / "k.pem")
            _reload(server)
            holds(_subject_bytes(server) != first, "the new one is shown")
            stays.send(b"\xc0\x00").expect(b"\xd0\x00")
