"""A disk whose power can be cut: what a server wrote and did not sync may be there or not.

    disk = Disk(folder / "journal", server.data)
    server.env = disk.env                      # then start it
    ...                                        # and kill it
    disk.cut_power(rng)                        # the files are now what a disk may hold

Of each file, everything up to its last sync stands. Of what was written after that, each sector of
512 bytes may have reached the disk or not, as on a disk that sorts its writes; so may a change of
length. Names are taken to be safe as soon as they are made.
"""

import pathlib
import struct

from crash_peers import preloaded

NOTE = struct.Struct("<IIQQ")
WRITE, CUT, SYNC = 1, 2, 3
SECTOR = 512


class Disk:
    def __init__(self, journal, data):
        self.journal, self.data = pathlib.Path(journal), pathlib.Path(data)
        self.env = preloaded(DISK_JOURNAL=self.journal)
        self.before = {}
        self.remember()

    def files(self):
        """Not the shared memory of SQLite: it is made anew."""
        found = self.data.rglob("*") if self.data.exists() else ()
        return {path.stat().st_ino: path for path in found
                if path.is_file() and not path.name.endswith("-shm")}

    def remember(self):
        """What is there now is safe; the notes begin anew. For when no server runs."""
        self.journal.unlink(missing_ok=True)
        self.before = {inode: path.read_bytes() for inode, path in self.files().items()}

    def notes(self):
        """(kind, inode, offset, bytes) in the order in which they were made."""
        data = memoryview(self.journal.read_bytes() if self.journal.exists() else b"")
        at = 0
        while at + NOTE.size <= len(data):
            kind, size, inode, offset = NOTE.unpack_from(data, at)
            at += NOTE.size
            carried = size if kind == WRITE else 0
            if at + carried > len(data):
                break  # killed within it; it was not written either
            yield kind, inode, offset, data[at:at + carried]
            at += carried

    def cut_power(self, rng):
        """Makes the files what a disk may hold; returns how many writes were at stake."""
        done, open_ = {}, {}
        for kind, inode, offset, data in self.notes():
            pending = open_.setdefault(inode, [])
            if kind == SYNC:
                done.setdefault(inode, []).extend(pending)
                pending.clear()
            else:
                pending.append((kind, offset, data))
        luck = rng.choice((0, 0.5, 0.9, 1))  # of a sector
        for inode, path in self.files().items():
            content = bytearray(self.before.get(inode, b""))
            for change in done.get(inode, ()):
                apply(content, *change)
            for kind, offset, data in open_.get(inode, ()):
                if kind == CUT and rng.random() < luck:
                    apply(content, kind, offset, data)
                for start in range(0, len(data), SECTOR):
                    if rng.random() < luck:
                        apply(content, kind, offset + start, data[start:start + SECTOR])
            path.write_bytes(content)
        return sum(len(pending) for pending in open_.values())


def apply(content, kind, offset, data):
    if kind == CUT:
        if offset < len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset:offset + len(data)] = data
