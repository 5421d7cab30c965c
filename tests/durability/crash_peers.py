"""Clients of a crash test: peer.c on libmosquitto, and what stands in its file."""

import mmap
import pathlib
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from harness import BUILD, SANITIZER_OPTIONS, Failure, Process, locked, poll  # noqa: E402

PUBLISHERS = 16  # as peer.c has it
FIELDS = ("sent", "acked", "refused", "received", "disorder", "connects", "present", "count")


def built(source, *options):
    """The path of a program or library made of a source beside this file."""
    target = BUILD / (source.stem + ("" if "-shared" not in options else ".so"))
    with locked(source.stem):
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1",
                            "-g", "-o", target, source, *options], check=True, timeout=120)
    return target


def preloaded(**variables):
    """The environment of a server that has disk.c before the C library."""
    library = built(HERE / "disk.c", "-shared", "-fPIC", "-ldl")
    asan = SANITIZER_OPTIONS["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": asan,
            **{name: str(value) for name, value in variables.items()}}


class Peer:
    """One of them. What it was told outlives it."""

    def __init__(self, kind, name, file, **options):
        self.name, self.file, self.options = name, file, {**options, "id": name, "file": file}
        self.index = options.get("index")
        self.kind = kind
        self.process = None
        with file.open("ab") as empty:  # It can be asked before it has begun.
            empty.truncate(64 + PUBLISHERS * options["count"])
        self.start()

    def start(self):
        program = built(HERE / "peer.c", "-lmosquitto", "-pthread")
        self.process = Process([program, self.kind,
                                *(f"{key}={value}" for key, value in self.options.items())])
        return self

    def ready(self, timeout=30):
        """Waits until it is connected and subscribed; was there a session?"""
        match = self.process.lines.until(rb"^(ready|refused) (\d+)", timeout)
        if match[1] == b"refused":
            raise Failure(f"{self.name} was refused: {match[2].decode()}")
        return match[2] == b"1"

    def lost(self):
        self.process.lines.until(rb"^lost")

    def tell(self, word):
        self.process.send(word)

    def end(self):
        """Disconnects, as a client does that comes back."""
        self.process.send("end")
        self.process.wait()
        self.process.close()

    def close(self):
        self.process.close()

    def head(self):
        with self.file.open("rb") as file:
            return dict(zip(FIELDS, struct.unpack("<8I", file.read(32))))

    def seen(self, publisher):
        """A byte for each number of a publisher: how often it was acknowledged, or came."""
        with self.file.open("rb") as file, \
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_:
            count = struct.unpack_from("<I", bytes_, 28)[0]
            start = 64 + publisher * count
            return bytes_[start:start + count]

    def is_settled(self):
        """Publisher: all that it sent was answered."""
        head = self.head()
        return head["sent"] == head["acked"] + head["refused"]

    def __str__(self):
        return self.name
