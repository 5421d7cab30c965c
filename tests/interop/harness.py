"""What every interop test stands on: a real parley process, raw connections, waiting for events.

    from harness import Server, Raw
    from clients import MosquittoSub, Nats

    def retained_message_reaches_a_late_subscriber():
        with Server() as server:
            ...

    def greeting_is_as_the_standard_says(server):     # one server for all such tests of the module
        with Raw(server, "redis") as raw:
            raw.send(b"PING\\r\\n")
            raw.expect(b"+PONG\\r\\n")

Nothing here sleeps: everything waits for something to happen, and fails after TIMEOUT seconds.
"""

import base64
import contextlib
import copy
import fcntl
import hashlib
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "interop"
TIMEOUT = float(os.environ.get("PARLEY_TEST_TIMEOUT", "15"))

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1"
                    ":allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1:exitcode=66",
}

SANITIZER_REPORT = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|PL_ASSERT|assertion")


class Failure(AssertionError):
    """The test's claim does not hold."""


class Skip(Exception):
    """The test cannot be made here; says why."""


def poll(condition, what, timeout=TIMEOUT):
    """Waits until condition() is true, for what tells nobody when it is; returns what it returned."""
    until = time.monotonic() + timeout
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failure(f"waited {timeout:g} s: {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


class Lines:
    """The lines of a stream, as they come, read by a thread; None in the queue is its end."""

    def __init__(self, stream):
        self.queue = queue.Queue()
        self.seen = []
        self.ended = False
        self.stream = stream
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(ValueError, OSError):
            for line in self.stream:
                self.queue.put(line.rstrip(b"\r\n"))
        self.queue.put(None)

    def next(self, timeout=TIMEOUT):
        if self.ended:
            raise Failure(f"the stream has ended after {self.seen[-5:]}")
        try:
            line = self.queue.get(timeout=timeout)
        except queue.Empty:
            raise Failure(f"no line in {timeout:g} s, after {self.seen[-5:]}") from None
        if line is None:
            self.ended = True
            raise Failure(f"the stream ended after {self.seen[-5:]}")
        self.seen.append(line)
        return line

    def until(self, pattern, timeout=TIMEOUT):
        """Takes lines until one has the pattern; returns the match."""
        deadline = time.monotonic() + timeout
        while True:
            match = re.search(pattern, self.next(max(0.01, deadline - time.monotonic())))
            if match:
                return match


class Process:
    """A child with lines on its stdout (and stderr, if merged); killed when it is closed."""

    def __init__(self, command, *, merge_stderr=False, env=None, cwd=None):
        self.command = [str(word) for word in command]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge_stderr else self.errors,
            env={**os.environ, **(env or {})}, cwd=cwd)
        self.lines = Lines(self.process.stdout)

    def send(self, line):
        if isinstance(line, str):
            line = line.encode()
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failure(f"{self.command[0]} is gone: {error}; {self.stderr()}") from error

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-4000:]

    def wait(self, timeout=TIMEOUT):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.command[:3]} did not end in {timeout:g} s") from None

    def close(self):
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            try:
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def locked(name):
    """Held by one process of the test run at a time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Certificates:
    """A throw-away authority, and a certificate of it for these names: ca, certificate, key are
    paths. Other names need another name of the folder."""

    def __init__(self, name="tls", names="DNS:localhost,IP:127.0.0.1"):
        self.names = names
        folder = BUILD / name
        self.ca = folder / "ca.pem"
        self.certificate = folder / "server.pem"
        self.key = folder / "server-key.pem"
        with locked(name):
            if not self.key.exists():
                self._make(folder)

    def _make(self, folder):
        def openssl(*arguments):
            subprocess.run(["openssl", *map(str, arguments)], check=True, cwd=fresh,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        fresh = pathlib.Path(tempfile.mkdtemp(dir=folder.parent))
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *new_key, "-subj", "/CN=Parley test authority", "-days", "30",
                "-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca-key.pem",
                "-out", "ca.pem")
        openssl("req", *new_key, "-subj", "/CN=localhost", "-keyout", "server-key.pem",
                "-out", "server.csr")
        (fresh / "names").write_text(f"subjectAltName={self.names}\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem",
                "-CAcreateserial", "-days", "30", "-extfile", "names", "-out", "server.pem")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def default_config():
    """A listener for each way in; every port is free. Tests change what they are about."""
    def listener(name, protocols, **more):
        return {"name": name, "address": "127.0.0.1", "port": 0, "protocols": protocols, **more}

    every = ["mqtt", "nats", "redis", "wamp", "mles"]
    certificates = Certificates()
    return {
        "threads": 2,
        "tls": {"certificate": str(certificates.certificate), "key": str(certificates.key)},
        "admin": {"address": "127.0.0.1", "port": 0},
        "drain": {"spread": "0s", "timeout": "2s"},
        "listeners": [
            listener("mqtt", ["mqtt"]),
            listener("nats", ["nats"]),
            listener("redis", ["redis"]),
            listener("wamp", ["wamp"], websocket=True),
            listener("rawsocket", ["wamp"]),
            listener("shared", every, websocket=True),
            listener("mqtts", ["mqtt"], tls="on"),
            listener("natss", ["nats"], tls="on"),
            listener("rediss", ["redis"], tls="on"),
            listener("wss", every, websocket=True, tls="on"),
        ],
    }


def merged(config, changes):
    """config with changes: maps are merged, everything else is replaced; None removes a key."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        elif isinstance(value, dict) and isinstance(config.get(key), dict):
            config[key] = merged(config[key], value)
        else:
            config[key] = value
    return config


class Server:
    """A parley process. Leaving the `with` asks it to end, and fails if it did not end well.

        Server()                                     default_config()
        Server(limits={"payload": "1K"})             with changes, by section
        Server(config="listeners: …")                a config of its own, as text or as a map
        Server(arguments=["--set", "log.level=debug"], env={…}, files={"users.yaml": "…"})

    binary is build/asan/parley, or what PARLEY_BIN names; tsan=True takes build/tsan/parley.
    files are written beside the config, and found there by relative paths.
    """

    def __init__(self, *, config=None, arguments=(), env=None, files=None, tsan=False, data=None,
                 **changes):
        self.config = merged(default_config(), changes) if config is None else config
        self.arguments = list(arguments)
        self.env = env or {}
        self.binary = os.environ.get("PARLEY_BIN", str(ROOT / "build" / "asan" / "parley"))
        if tsan:
            self.binary = str(ROOT / "build" / "tsan" / "parley")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-test-"))
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.config_file = self.folder / "parley.yaml"
        self.ports_file = self.folder / "ports.json"
        self.log_file = self.folder / "log"
        self.ca = str(Certificates().ca)
        self.process = None
        self.listeners = []
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)

    def write_config(self, config=None):
        if config is not None:
            self.config = config
        text = self.config if isinstance(self.config, str) else json.dumps(self.config, indent=1)
        self.config_file.write_text(text)

    def spawn(self):
        """Starts the process and does not wait for its ports."""
        if not os.access(self.binary, os.X_OK):
            raise Failure(f"there is no {self.binary}; script/build makes it")
        self.write_config()
        self.ports_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--config", str(self.config_file), "--data", str(self.data),
                 "--ports-file", str(self.ports_file), *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **SANITIZER_OPTIONS, **self.env})
        return self

    def start(self):
        self.spawn()

        def ready():
            if self.process.poll() is not None:
                raise Failure(f"parley ended with {self.process.returncode}:\n{self.log()}")
            if not self.ports_file.exists():
                return False
            with contextlib.suppress(json.JSONDecodeError):
                self.listeners = json.loads(self.ports_file.read_text())
            return bool(self.listeners)

        try:
            poll(ready, "for the ports file", TIMEOUT * 2)
        except Failure as failure:
            self.kill()
            raise Failure(f"{failure}\n{self.log()}") from None
        return self

    def log(self):
        return self.log_file.read_text(errors="replace")[-20000:]

    def wait_log(self, pattern, timeout=TIMEOUT):
        """Waits until the log has the pattern."""
        return poll(lambda: re.search(pattern, self.log()), f"for {pattern!r} in the log", timeout)

    def listener(self, name):
        for listener in self.listeners:
            if listener["name"] == name:
                return listener
        raise Failure(f"no listener {name!r} in {self.listeners}")

    def port(self, name):
        return self.listener(name)["port"]

    def address(self, name):
        return (self.listener(name)["address"], self.port(name))

    def url(self, scheme, name, path=""):
        """As clients want it: url("mqtt", "mqtt"), url("wss", "wss", "/nats")."""
        # No name: a bare machine does not know localhost, and elsewhere it may be ::1 first.
        return f"{scheme}://127.0.0.1:{self.port(name)}{path}"

    def get(self, path, listener="admin", headers=""):
        """(status, body) of a GET on the admin listener."""
        with Raw(self, listener) as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")
            head, _, body = raw.read_all().partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def rss(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self, timeout=TIMEOUT * 2):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"parley did not end in {timeout:g} s:\n{self.log()}") from None

    def stop(self):
        """SIGTERM; the exit code is 0, and no sanitizer has said anything."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait()
        log = self.log_file.read_text(errors="replace")
        report = SANITIZER_REPORT.search(log)
        if code != 0 or report:
            log = log[report.start():][:20000] if report else log[-20000:]
            raise Failure(f"parley ended with {code}:\n{log}")

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, kind, error, _):
        try:
            if kind is None:
                self.stop()
            elif error is not None and self.process.poll() is not None:
                # What the client met first is seldom the reason.
                error.args = (f"{error}\nparley had ended with {self.process.returncode}:\n"
                              f"{self.log()}",)
            elif issubclass(kind, Failure):
                error.args = (f"{error}\nthe server's log:\n{self.log()[-3000:]}",)
        finally:
            self.remove()


def as_bytes(data):
    return data.encode() if isinstance(data, str) else bytes(data)


class Raw:
    """A connection of which every byte counts. Raw(server, "mqtt") or Raw(("127.0.0.1", 1883))."""

    tls_name = "localhost"  # what it asks for, and checks

    def __init__(self, where, listener=None, *, tls=False, ca=None, unix=None):
        if unix:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(str(unix))
        else:
            address = where.address(listener) if listener else where
            self.socket = socket.create_connection(address, TIMEOUT)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT)
        self.ca = ca or getattr(where, "ca", None)
        self.buffer = b""
        if tls:
            self.start_tls(None if tls is True else tls)

    def start_tls(self, context=None):
        context = context or ssl.create_default_context(cafile=self.ca)
        self.socket = context.wrap_socket(self.socket, server_hostname=self.tls_name)

    def send(self, data):
        self.socket.sendall(as_bytes(data))
        return self

    def _more(self):
        """Reads once; false at the end of the stream."""
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise Failure(f"nothing more in {TIMEOUT:g} s; had {self.buffer[:200]!r}") from None
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        self.buffer += data
        return bool(data)

    def take(self, count):
        """Exactly count bytes."""
        while len(self.buffer) < count:
            if not self._more():
                raise Failure(f"closed after {self.buffer[:200]!r}, {count} bytes were expected")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def expect(self, data):
        """The next bytes are exactly these."""
        data = as_bytes(data)
        got = b""
        while len(got) < len(data) and data.startswith(got):
            if not self.buffer and not self._more():
                raise Failure(f"closed after {got[-200:]!r}, expected {data[:200]!r}")
            count = len(data) - len(got)
            got, self.buffer = got + self.buffer[:count], self.buffer[count:]
        if got != data:
            raise Failure(f"got {(got + self.buffer)[:400]!r}\nexpected {data[:400]!r}")
        return self

    def until(self, end=b"\r\n"):
        """What comes up to and with these bytes."""
        end = as_bytes(end)
        while end not in self.buffer:
            if not self._more():
                raise Failure(f"closed after {self.buffer[:200]!r}, expected {end!r}")
        head, _, self.buffer = self.buffer.partition(end)
        return head + end

    def read_all(self):
        """Everything up to the end of the stream."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def expect_close(self):
        """Nothing more comes, and the peer closes."""
        rest = self.read_all()
        if rest:
            raise Failure(f"expected the end, got {rest[:400]!r}")

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes by RST: the peer sees a failure, not an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class WebSocket(Raw):
    """A WebSocket client that says exactly what it is told to: send_frame, take_frame."""

    def __init__(self, where, listener=None, *, path="/", protocol=None, headers=(), **more):
        super().__init__(where, listener, **more)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket",
                 "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.send("\r\n".join([*lines, *headers, "", ""]))
        self.head = self.until(b"\r\n\r\n").decode()
        self.status = int(self.head.split()[1])
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1(
                f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
            if accept not in self.head:
                raise Failure(f"wrong Sec-WebSocket-Accept in {self.head!r}")

    def send_frame(self, opcode, data=b"", *, fin=True, mask=True, reserved=0):
        data = as_bytes(data)
        head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
        masked = 0x80 if mask else 0
        if len(data) < 126:
            head += bytes([masked | len(data)])
        elif len(data) < 65536:
            head += struct.pack("!BH", masked | 126, len(data))
        else:
            head += struct.pack("!BQ", masked | 127, len(data))
        if mask:
            key = os.urandom(4)
            head += key
            pad = key * (len(data) // 4 + 1)
            data = bytes(a ^ b for a, b in zip(data, pad))
        return self.send(head + data)

    def take_frame(self):
        """(first byte, payload) of the next frame, which must not be masked."""
        first, second = self.take(2)
        if second & 0x80:
            raise Failure("a server must not mask")
        size = second
        if second == 126:
            size, = struct.unpack("!H", self.take(2))
        elif second == 127:
            size, = struct.unpack("!Q", self.take(8))
        return first, self.take(size)

    def expect_frame(self, opcode, data):
        got = self.take_frame()
        if got != (0x80 | opcode, as_bytes(data)):
            raise Failure(f"got frame {got!r}, expected {opcode}, {data!r}")


def equal(actual, expected, what=""):
    """Fails with both values if they differ."""
    if actual != expected:
        raise Failure(f"{what}{': ' if what else ''}got {actual!r}, expected {expected!r}")


def holds(claim, what):
    if not claim:
        raise Failure(what)
