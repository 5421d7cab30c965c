"""Servers with a store, and what can happen to one."""

import contextlib
import itertools
import os
import pathlib
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import threading

from harness import ROOT, TIMEOUT, Failure, Raw, Server, Skip

sys.path[:0] = [str(ROOT / "tests" / "durability"), str(ROOT / "tests" / "interop" / "mqtt"),
                str(ROOT / "tests" / "interop" / "wamp")]

from packets import connect, packet, take_packet  # noqa: E402, F401  (after the path)
from raw_session import RawSocket  # noqa: E402, F401
from crash_peers import preloaded  # noqa: E402

STORE = {"enabled": True}
HISTORY = [{"subject": "log.>", "durable": True}, {"subject": "brief.>", "limit": 100}]
ENDS = itertools.count(1)
EXPIRY = "11 00000e10"  # a session's, an hour


def stored(**changes):
    return Server(**{"store": STORE, "history": HISTORY, **changes})


def killed_and_started(server):
    """kill -9, and what a start finds. The ports are others."""
    server.kill()
    return server.start()


def hears_nothing(raw):
    """Nothing has arrived, when the test knows that it would have."""
    if raw.buffer or select.select([raw.socket], [], [], 0)[0]:
        raise Failure(f"something came: {raw.buffer or raw.socket.recv(100)}")


class Client5:
    """An MQTT 5 client of which every packet counts; its session outlives it if it has a name."""

    def __init__(self, server, name="", *, clean=False, version=5, present=None):
        self.raw = Raw(server, "mqtt")
        more = EXPIRY if name and version == 5 else ""
        self.raw.send(packet(connect(name, version, clean=clean, properties=more)))
        first, body = take_packet(self.raw)
        if first != 0x20 or body[1]:
            raise Failure(f"{name or 'a client'} was refused: {body.hex()}")
        self.present = body[0]
        if present is not None and present != self.present:
            raise Failure(f"{name}: session present is {self.present}")

    def say(self, text):
        self.raw.send(packet(text))
        return self

    def hear(self):
        """The next packet as (first byte, body)."""
        return take_packet(self.raw)

    def expect(self, text):
        first, body = self.hear()
        got = bytes([first, len(body)]) + body
        if got != packet(text):
            raise Failure(f"got {got.hex(' ')}, expected {text}")

    def acknowledged(self, text, kind, number):
        """Sends it; the answer is of that kind and for this packet id, and no refusal."""
        first, body = self.say(text).hear()
        if first != kind or body[:2] != number.to_bytes(2, "big") or body[2:3] >= b"\x80":
            raise Failure(f"{text} got {first:x} {body.hex()}")
        return self

    def subscribe(self, topic, qos=1, properties=""):
        self.say(f"82 (0001 ({properties}) <'{topic}'> 0{qos})")
        first, body = self.hear()
        if first != 0x90 or body[-1] != qos:
            raise Failure(f"{topic} was not granted: {body.hex()}")
        return body

    def publish(self, topic, data, number=1, retain=False):
        """QoS 1; the reason of its PUBACK."""
        self.say(f"{0x32 | retain:x} (<'{topic}'> {number:04x} 00 '{data}')")
        first, body = self.hear()
        if first != 0x40 or body[:2] != number.to_bytes(2, "big"):
            raise Failure(f"no PUBACK: {first:x} {body.hex()}")
        return body[2] if len(body) > 2 else 0

    def message(self, *, acknowledge=True):
        """(topic, data, flags, packet id) of the next PUBLISH."""
        first, body = self.hear()
        if first >> 4 != 3:
            raise Failure(f"no PUBLISH: {first:x} {body.hex()}")
        size = int.from_bytes(body[:2], "big")
        topic, rest, number = body[2:2 + size].decode(), body[2 + size:], 0
        if first & 6:
            number, rest = int.from_bytes(rest[:2], "big"), rest[2:]
            if acknowledge and first & 2:
                self.say(f"40 ({number:04x})")
        return topic, rest[1 + rest[0]:].decode(), first & 15, number

    def data(self):
        return self.message()[1]

    def hears_nothing(self):
        hears_nothing(self.raw)

    def close(self):
        self.raw.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def settled(server):
    """All that the server was told before is on disk, also what nobody waits for."""
    with Client5(server) as client:
        client.publish("kept/settled", "x", retain=True)


def since_all(properties=""):
    return f"26 <'parley-since'> <'all'> {properties}"


def history(server, topic):
    """What a late subscriber is given of a durable topic, without what is live."""
    end = f"end {next(ENDS)}"
    with Client5(server) as reader, Client5(server) as publisher:
        reader.subscribe(topic + "/#", 0, since_all())
        publisher.publish(topic + "/end", end)
        found = []
        while True:
            name, data, _, _ = reader.message()
            if data == end:
                return found
            if name != topic + "/end":  # of an earlier look
                found.append(data)


class Gate:
    """Stands before each sync of a server's files: open, or shut until the test opens it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-gate-"))
        self.ask, self.answer = self.folder / "gate", self.folder / "gate.open"
        os.mkfifo(self.ask)
        os.mkfifo(self.answer)
        self.opened, self.arrived = threading.Event(), threading.Semaphore(0)
        self.opened.set()
        # Both ends are held open: nobody waits for the other to open a pipe.
        self.pipes = [os.open(path, os.O_RDWR) for path in (self.ask, self.answer)]
        threading.Thread(target=self._serve, daemon=True).start()
        self.env = preloaded(DISK_GATE=self.ask)

    def _serve(self):
        with contextlib.suppress(OSError):
            while os.read(self.pipes[0], 1):
                if not self.opened.is_set():
                    self.arrived.release()
                self.opened.wait()
                os.write(self.pipes[1], b".")

    def shut(self):
        self.opened.clear()

    def wait(self):
        """Until a sync stands before it."""
        if not self.arrived.acquire(timeout=TIMEOUT):
            raise Failure("nobody syncs")

    def open(self):
        self.opened.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open()
        shutil.rmtree(self.folder)


class Mount:
    """A file system of so many bytes at a folder of its own. Skip where mounting is not allowed."""

    def __init__(self, size):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-disk-"))
        if self._run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.folder):
            self.folder.rmdir()
            raise Skip("mounting is not allowed here")

    @staticmethod
    def _run(*command):
        return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def fill(self):
        """Leaves no room; the file is its `ballast`."""
        self.ballast = self.folder / "ballast"
        with self.ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self):
        self.ballast.unlink()

    def read_only(self):
        self._run("mount", "-o", "remount,ro", self.folder)

    def writable(self):
        self._run("mount", "-o", "remount,rw", self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._run("umount", "-l", self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def limit_files(server, size):
    """No file of the running server grows above this; None takes it back."""
    size = resource.RLIM_INFINITY if size is None else size
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
