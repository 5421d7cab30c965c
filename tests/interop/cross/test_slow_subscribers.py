"""One subscriber that never reads among 100 costs the others nothing, and is cut at its limit."""

import selectors
import socket

from clients import Nats
from harness import TIMEOUT, Failure, Raw, Server, equal, holds, poll

PAYLOAD = b"x" * 16384
CHUNK = 24  # messages, 400 KB: less than a connection's limit, more than a socket's first buffer
CHUNKS = 40  # 16 MB in all: more than sockets hold
OUTPUT = 1 << 20

QUARANTINE = {"ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1:quarantine_size_mb=4"
                              ":malloc_context_size=2"}


def _subscriber(address, hello, answer, small=False):
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(TIMEOUT)
    sock.connect(address)
    sock.sendall(hello)
    got = b""
    while not got.endswith(answer):
        data = sock.recv(1)
        if not data:
            raise Failure(f"closed after {got!r}")
        got += data
    return sock


class _Readers:
    """Counts what arrives on many sockets."""

    def __init__(self, sockets):
        self.selector = selectors.DefaultSelector()
        self.counts = dict.fromkeys(sockets, 0)
        for sock in sockets:
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ)

    def read_until_each_has(self, count):
        while min(self.counts.values()) < count:
            ready = self.selector.select(TIMEOUT)
            if not ready:
                raise Failure(f"{min(self.counts.values())} of {count} bytes, and nothing comes")
            for key, _ in ready:
                data = key.fileobj.recv(1 << 18)
                if not data:
                    raise Failure("a subscriber that reads was cut")
                self.counts[key.fileobj] += len(data)


def _dead_one_is_cut(listener, hello, answer, frame):
    with Server(client={"output": "1M"}, env=QUARANTINE) as server:
        address = server.address(listener)
        readers = _Readers([_subscriber(address, hello, answer) for _ in range(99)])
        dead = _subscriber(address, hello, answer, small=True)
        with Raw(server, "nats") as publisher:
            publisher.until(b"\r\n")
            publisher.send('CONNECT {"verbose":false,"lang":"test"}\r\nPING\r\n')
            publisher.expect(b"PONG\r\n")
            before = server.rss()
            highest = 0
            for number in range(1, CHUNKS + 1):
                publisher.send(b"PUB bulk %d\r\n%s\r\n" % (len(PAYLOAD), PAYLOAD) * CHUNK)
                readers.read_until_each_has(number * CHUNK * frame)
                highest = max(highest, server.rss())
        for count in readers.counts.values():
            equal(count, CHUNKS * CHUNK * frame, "bytes to a subscriber that reads")
        # What the sockets held is still there, then comes the end.
        got = 0
        try:
            while data := dead.recv(1 << 18):
                got += len(data)
        except ConnectionResetError:
            pass
        holds(got < CHUNKS * CHUNK * frame, "the dead one was cut before it got everything")
        holds(highest - before < 48 << 20, f"memory grew from {before} to {highest}")
        server.wait_log(r"slow")
        for sock in readers.counts:
            sock.close()
        dead.close()


def a_nats_subscriber_that_never_reads_is_cut_and_99_others_get_everything():
    frame = len(b"MSG bulk 1 %d\r\n\r\n" % len(PAYLOAD)) + len(PAYLOAD)
    _dead_one_is_cut("nats", b'CONNECT {"verbose":false}\r\nSUB bulk 1\r\nPING\r\n', b"PONG\r\n",
                     frame)


def a_redis_subscriber_that_never_reads_is_cut_and_99_others_get_everything():
    frame = len(b"*3\r\n$7\r\nmessage\r\n$4\r\nbulk\r\n$%d\r\n\r\n" % len(PAYLOAD)) + len(PAYLOAD)
    _dead_one_is_cut("redis", b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nbulk\r\n", b":1\r\n", frame)


def a_slow_mqtt_subscriber_does_not_hold_up_a_fast_one():
    with Server(client={"output": "1M"}, env=QUARANTINE) as server, \
            Nats(server.url("nats", "nats")) as fast:
        dead = _subscriber(
            server.address("mqtt"),
            bytes.fromhex("100d 00044d515454 04 02 0000 0001 61") + bytes.fromhex("8209 0001 0004")
            + b"bulk\0", bytes.fromhex("9003 0001 00"), small=True)
        fast.subscribe("bulk")
        with Nats(server.url("nats", "nats")) as publisher:
            for number in range(CHUNKS):
                publisher.call("publishMany", subject="bulk", count=CHUNK, prefix="x" * 16384)
                poll(lambda: fast.messages.qsize() == CHUNK, "for a chunk")
                while not fast.messages.empty():
                    fast.next()
        dead.close()
