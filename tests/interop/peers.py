"""The other servers, for comparison: each on a free port of its own, with a face like Server's.

    with RedisServer() as peer, Raw(peer.address()) as raw: ...
"""

import pathlib
import shutil
import socket
import tempfile

from harness import Failure, Process


def free_port():
    """A port that was free a moment ago; the peers cannot say which one they would take."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    ready = None  # what it prints when it listens

    def __init__(self, config="", listeners=("main",)):
        self.config = config
        self.ports = {name: free_port() for name in listeners}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-peer-"))
        self.process = None
        self.ca = None

    def command(self):
        raise NotImplementedError

    def port(self, name="main"):
        return self.ports[name]

    def address(self, name="main"):
        return ("127.0.0.1", self.ports[name])

    def url(self, scheme, name="main", path=""):
        return f"{scheme}://127.0.0.1:{self.ports[name]}{path}"

    def __enter__(self):
        for attempt in range(5):
            self.process = Process(self.command(), merge_stderr=True)
            try:
                self.process.lines.until(self.ready)
                return self
            except Failure as failure:
                self.process.close()
                if attempt == 4 or not any(b"in use" in line for line in self.process.lines.seen):
                    self.__exit__()
                    raise Failure(f"{type(self).__name__}: {failure}") from None
                self.ports = {name: free_port() for name in self.ports}
        return self

    def __exit__(self, *_):
        self.process.process.terminate()
        self.process.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def program(name):
    """Debian puts servers where a user's PATH does not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or name


class Mosquitto(Peer):
    """Listeners: main, and websocket."""

    ready = rb"mosquitto version .* running"

    def __init__(self, config=""):
        super().__init__(config, ("main", "websocket"))

    def command(self):
        file = self.folder / "mosquitto.conf"
        file.write_text(f"""
allow_anonymous true
listener {self.ports["main"]} 127.0.0.1
listener {self.ports["websocket"]} 127.0.0.1
protocol websockets
{self.config}
""")
        return [program("mosquitto"), "-c", file, "-v"]


class NatsServer(Peer):
    """Listeners: main, and websocket."""

    ready = rb"Server is ready"

    def __init__(self, config=""):
        super().__init__(config, ("main", "websocket"))

    def command(self):
        file = self.folder / "nats.conf"
        file.write_text(f"""
listen: "127.0.0.1:{self.ports["main"]}"
websocket {{ listen: "127.0.0.1:{self.ports["websocket"]}", no_tls: true }}
{self.config}
""")
        return [program("nats-server"), "-c", file]


class RedisServer(Peer):
    ready = rb"Ready to accept connections"

    def command(self):
        file = self.folder / "redis.conf"
        file.write_text(f"""
bind 127.0.0.1
port {self.ports["main"]}
save ""
dir {self.folder}
{self.config}
""")
        return [program("redis-server"), file]
