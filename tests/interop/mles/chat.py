"""A member of an Mles channel that says exactly what it is told to, and `parley mles` as a server."""

import json
import os
import pathlib
import subprocess
import tempfile

from harness import SANITIZER_OPTIONS, Failure, Server, WebSocket, as_bytes, poll

import siphash

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


class Member(WebSocket):
    """Joins at once; `say` and `expect` take text, or bytes for binary frames.

        Member(server, "chat", "alice", listener="shared", key="secret-key")
        Member(("::1", 443), "chat", "alice", tls=True, ca=…, domain="a.test")
    """

    def __init__(self, where, channel, uid, *, listener=None, key=None, domain="localhost", **more):
        self.tls_name = domain
        super().__init__(where, listener, protocol="mles-websocket", **more)
        if self.status != 101:
            raise Failure(f"no WebSocket: {self.head}")
        header = {"uid": uid, "channel": channel}
        if key is not None:
            header["auth"] = siphash.auth(uid, channel, key)
        self.header = json.dumps(header)
        self.send_frame(TEXT, self.header)

    def say(self, frame):
        return self.send_frame(TEXT if isinstance(frame, str) else BINARY, as_bytes(frame))

    def next(self):
        """(opcode, payload) of the next frame that is no ping."""
        while True:
            first, payload = self.take_frame()
            if first & 15 != PING:
                return first & 15, payload

    def expect(self, frame):
        got = self.next()
        expected = (TEXT if isinstance(frame, str) else BINARY, as_bytes(frame))
        if got != expected:
            raise Failure(f"got {got!r}, expected {expected!r}")
        return self

    def expect_header(self, uid):
        """Somebody's, out of the history."""
        opcode, payload = self.next()
        if opcode != TEXT or json.loads(payload)["uid"] != uid:
            raise Failure(f"got {payload!r}, expected the header of {uid}")
        return self

    def expect_refusal(self):
        """(code, reason) of the close."""
        opcode, payload = self.next()
        if opcode != CLOSE:
            raise Failure(f"got {payload!r}, expected a close")
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def await_members(server, count, channel="chat"):
    """So many are on the channel, links to other servers too."""
    def are_there():
        listed = json.loads(server.get("/subscriptions")[1])["subscriptions"]
        return sum(entry["pattern"] == channel for entry in listed) >= count
    poll(are_there, f"{count} members of {channel}")


class Command(Server):
    """`parley mles` with these arguments, on free ports if they do not say."""

    def __init__(self, *arguments, **more):
        super().__init__(config="", **more)
        self.words = [str(word) for word in arguments]
        self.free = ["--set", "admin.port=0", "--set", "admin.address=127.0.0.1",
                     "--set", "drain.timeout=2s", "--set", "drain.spread=0s"]
        if "--port" not in self.words:
            self.free += ["--set", "listeners.mles.port=0"]

    def spawn(self):
        self.ports_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "mles", *self.words, *self.free, "--data", str(self.data),
                 "--ports-file", str(self.ports_file), *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **SANITIZER_OPTIONS, **self.env})
        return self


def sites(**pages):
    """A folder with a folder for each domain (a_test is a.test), and in it an index of that text."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="parley-mles-"))
    for name, text in pages.items():
        folder = root / name.replace("_", ".")
        folder.mkdir()
        (folder / "index.html").write_text(text)
    return root
