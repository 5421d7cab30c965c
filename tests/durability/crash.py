#!/usr/bin/python3
"""Kills a server under load, again and again, and looks for what it had acknowledged.

    tests/durability/crash.py [-n 200] [--seed N] [--parley build/release/parley] [--keep FOLDER]

In each round real clients (peer.c, on libmosquitto) publish at full speed with QoS 1 and 2: to a
durable history, to sessions alone, and retained. Others listen: at once, slowly, or not while it
lasts. At a random moment comes kill -9, sometimes another one while the server starts, sometimes the
machine loses its power too (disk.py: what was not synced may be gone). Then:

- each acknowledged message is in the durable history, in QoS 2 exactly once;
- it came, or comes now, to each session that outlives its connection, in order; in QoS 2 exactly
  once where the session was away;
- each retained message is the newest acknowledged one, or one that was sent after it;
- acknowledged subscriptions stand, those that were taken back do not, nothing of a clean session does.

Every tenth round begins with an empty store; until then each finds what the rounds before it left.
The last line is "N passed, N failed, 0 skipped". A failed round's files are kept, and named.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop" / "mqtt")]

from disk import Disk  # noqa: E402  (after the path)
from crash_peers import PUBLISHERS, Failure, Peer, poll  # noqa: E402
from receiver import Receiver  # noqa: E402

from harness import Raw, Server  # noqa: E402
from packets import connect, packet, take_packet  # noqa: E402

FRESH = 10  # rounds on one store
LIMIT = 50  # messages of a subject of which not all are kept
SESSION_EXPIRY = "11 00000e10"  # an hour, in MQTT 5's CONNECT
SENTINELS = (PUBLISHERS - 3, PUBLISHERS - 2, PUBLISHERS - 1)  # in h, q and l


def config(port, store):
    durable = {"durable": True} if store else {}
    return {
        "threads": 2,
        "admin": {"enabled": False},
        "drain": {"spread": "0s", "timeout": "2s"},
        "listeners": [{"name": "mqtt", "address": "127.0.0.1", "port": port, "protocols": ["mqtt"]}],
        "limits": {"history_bytes": "8G", "retained_bytes": "1G", "queued": "8G"},
        "mqtt": {"queue": 10000000, "queue_bytes": "4G"},
        "history": [{"subject": "crash.*.h.>", **durable},
                    {"subject": "crash.*.l.>", "limit": LIMIT, **durable}],
    }


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Churn:
    """Subscribes and unsubscribes as fast as it is answered, in a session that outlives it."""

    def __init__(self, server, topic):
        self.server, self.topic, self.name = server, topic, topic.replace("/", "-") + "-churn"
        self.standing, self.open = set(), set()  # what is acknowledged; what was asked last
        self.is_over = False
        self.raw = Raw(server, "mqtt")
        self.raw.send(packet(connect(self.name, 5, clean=False, properties=SESSION_EXPIRY)))
        take_packet(self.raw)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        number = 0
        with contextlib.suppress(Failure, OSError):
            while number < 50000 and not self.is_over:
                number += 1
                self.open = {number}
                self._ask(f"82 (0001 00 <'{self.topic}/{number}'> 01)", 0x90)
                self.standing.add(number)
                if number % 3 == 0:
                    self.open = {number - 1}
                    self._ask(f"a2 (0001 00 <'{self.topic}/{number - 1}'>)", 0xb0)
                    self.standing.discard(number - 1)
        self.raw.close()

    def _ask(self, text, answer):
        self.raw.send(packet(text))
        first, body = take_packet(self.raw)
        if first != answer or body[3] >= 128:
            raise Failure(f"{text} got {first:x} {body.hex()}")
        self.open = set()

    def check(self):
        """After the crash: each acknowledged subscription gets a message, no other does."""
        self.is_over = True
        self.thread.join(20)
        numbers = sorted(self.standing | self.open)[-2000:]
        highest = max(numbers, default=0)
        lowest = numbers[0] if numbers else 0
        with Raw(self.server, "mqtt") as raw, Raw(self.server, "mqtt") as publisher:
            raw.send(packet(connect(self.name, 5, clean=False, properties=SESSION_EXPIRY)))
            _, body = take_packet(raw)
            if not body[0] & 1:
                raise Failure("the session whose subscriptions changed is gone")
            publisher.send(packet(connect(self.name + "-pub", 4)))
            take_packet(publisher)
            for number in range(lowest, highest + 1):
                name = f"{self.topic}/{number}".encode()
                publisher.send(bytes([0x30, len(name) + 2, 0, len(name)]) + name)
            raw.send(packet(f"82 (0002 00 <'{self.topic}/end'> 00)"))
            got = set()
            while True:
                first, body = take_packet(raw)
                if first == 0x90:
                    publisher.send(packet(f"30 (<'{self.topic}/end'>)"))
                elif first >> 4 == 3:
                    name = body[2:2 + int.from_bytes(body[:2], "big")].decode()
                    if name.endswith("/end"):
                        break
                    got.add(int(name.rsplit("/", 1)[1]))
        sure = {n for n in numbers if n in self.standing and n not in self.open}
        if sure - got:
            raise Failure(f"acknowledged subscriptions are gone: {sorted(sure - got)[:10]} of {len(sure)}")
        if got - set(numbers):
            raise Failure(f"subscriptions came back: {sorted(got - set(numbers))[:10]}")


class Round:
    """One life and death of a server."""

    def __init__(self, server, number, folder, rng, arguments):
        self.server, self.number, self.folder, self.rng = server, number, folder, rng
        self.size, self.calm = arguments.messages, arguments.calm
        self.folder.mkdir()
        self.topic = f"crash/{number}"
        self.peers = []
        self.cut = None

    def peer(self, kind, name, **options):
        # Version 3 has clean sessions, and version 5 an expiry; both are used.
        peer = Peer(kind, f"{self.topic.replace('/', '-')}-{name}", self.folder / name,
                    port=self.server.port("mqtt"), count=self.size, **options)
        self.peers.append(peer)
        return peer

    def publisher(self, index, space, qos, version, *, leave=False, **options):
        return self.peer("publish", f"p{index}", index=index, qos=qos, version=version,
                         clean=int(leave), leave=int(leave), topic=f"{self.topic}/{space}/{index}",
                         window=self.rng.choice((1, 30, 1000, 1000, 4000)),
                         size=self.rng.randint(8, 400), **options)

    def subscriber(self, name, qos, version, clean=0, **options):
        peer = self.peer("subscribe", name, qos=qos, version=version, clean=clean,
                         topic=f"{self.topic}/#", **options)
        if peer.ready():
            raise Failure(f"{name} has a session before it had any")
        return peer

    def receiver(self, name, **options):
        peer = Receiver(f"{self.topic.replace('/', '-')}-{name}", port=self.server.port("mqtt"),
                        topic=f"{self.topic}/#", count=self.size,
                        receive_maximum=self.rng.choice((None, 1, 20, 1000)), **options)
        self.peers.append(peer)
        peer.ready()
        return peer

    def history_reader(self, name, space):
        """Gets what the history has, and then what is live."""
        peer = self.peer("subscribe", name, qos=0, version=5, since="all",
                         topic=f"{self.topic}/{space}/#")
        peer.ready()
        return peer

    def begin(self):
        self.online = [self.subscriber("online1", 1, 5), self.receiver("online2", version=5),
                       self.receiver("slow", delay=0.0003)]
        self.away = [self.subscriber("away1", 1, 5), self.subscriber("away2", 2, 4)]
        self.clean = self.subscriber("clean", 1, 4, clean=1, leave=1)
        for peer in self.away:
            peer.end()
        self.staying = [self.publisher(0, "h", 1, 4), self.publisher(1, "h", 2, 5),
                        self.publisher(4, "q", 1, 5),
                        self.publisher(6, "h", 1, 4, retain=1, slots=50),
                        self.publisher(8, "l", 2, 5, slots=20)]
        self.leaving = [self.publisher(2, "h", 1, 5, leave=True),
                        self.publisher(3, "h", 2, 4, leave=True),
                        self.publisher(5, "q", 2, 5, leave=True),
                        self.publisher(7, "q", 1, 5, leave=True, retain=1, slots=50)]
        self.churn = Churn(self.server, f"churn/{self.number}")

    def crash(self):
        time.sleep(self.rng.choice((0.02, 0.2, 1.0)) * self.rng.random())
        self.kill()
        for peer in self.staying:
            peer.tell("stop")
        for peer in (*self.leaving, self.clean):
            if self.calm:
                peer.tell("end")
            peer.process.wait()  # What the server had sent is read.

    def kill(self):
        if not self.calm:
            self.server.process.kill()
            self.server.process.wait()

    def restart(self, disk):
        """Sometimes it dies again on its way up; sometimes the machine lost its power."""
        if self.calm:
            return 0
        while self.rng.random() < 0.25:
            self.server.spawn()
            time.sleep(self.rng.random() * 0.1)
            self.kill()
        if disk and self.rng.random() < 0.5:
            self.cut = disk.cut_power(self.rng)
        if disk:
            disk.remember()
        begun = time.monotonic()
        self.server.start()
        return time.monotonic() - begun

    def wait(self, condition, what, timeout=60):
        poll(condition, what, timeout)

    def finish(self):
        """Everything that stayed open is answered, everyone who was away comes back."""
        for peer in self.staying:
            self.wait(peer.is_settled, f"{peer}'s messages to be answered; {peer.head()}")
        for peer in self.online:
            peer.tell("fast")
        for peer in self.away:
            if not peer.start().ready():
                raise Failure(f"{peer}'s session is gone")
        self.reader = self.history_reader("history", "h")
        self.limited = self.history_reader("limited", "l")
        self.kept = self.peer("subscribe", "kept", qos=0, version=4, clean=1, topic=f"{self.topic}/#")
        self.kept.ready()
        for index, space in zip(SENTINELS, "hql"):
            end = Peer("publish", f"end-{index}", self.folder / f"end-{index}", index=index, qos=2,
                       port=self.server.port("mqtt"), count=1, topic=f"{self.topic}/{space}/end")
            self.wait(lambda end=end: end.head()["acked"] == 1, "the last message")
            end.end()

        def heard(peer, indices):
            return lambda: all(peer.seen(index)[0] for index in indices)

        for peer in (*self.online, *self.away, self.kept):
            self.wait(heard(peer, SENTINELS), f"{peer} to get to the end; {peer.head()}")
        self.wait(heard(self.reader, SENTINELS[:1]), "the history's end")
        self.wait(heard(self.limited, SENTINELS[2:]), "the limited history's end")

    def publishers(self):
        return [*self.staying, *self.leaving]

    def check(self):
        for publisher in self.publishers():
            self.check_publisher(publisher)
        for peer in (*self.online, *self.away):
            if peer.head()["disorder"]:
                raise Failure(f"{peer} got {peer.head()['disorder']} messages out of order")
        for peer in self.online:
            if peer.head()["present"] != peer.head()["connects"] - 1:
                raise Failure(f"{peer} lost its session")
            if getattr(peer, "wrong", None):
                raise Failure(f"{peer}: {peer.wrong}")
        for publisher in self.publishers():
            if publisher.options.get("retain"):
                self.check_retained(publisher)
            elif "/l/" in publisher.options["topic"]:
                self.check_limited(publisher)
        with Raw(self.server, "mqtt") as raw:
            raw.send(packet(connect(self.clean.name, 4, clean=False)))
            if take_packet(raw)[1][0]:
                raise Failure("a clean session came back")
        self.churn.check()

    def check_publisher(self, publisher):
        index, qos = publisher.index, publisher.options["qos"]
        acked, sent = publisher.seen(index), publisher.head()["sent"]
        twice = [n for n in range(sent) if acked[n] > 1]
        if twice:
            raise Failure(f"{publisher}: acknowledged twice: {twice[:10]}")
        readers = [(peer, qos == 2 and peer.name.endswith("away2")) for peer in (*self.online, *self.away)]
        if "/h/" in publisher.options["topic"]:
            readers.append((self.reader, qos == 2))
        for reader, is_once in readers:
            got = reader.seen(index)
            lost = [n for n in range(sent) if acked[n] and not got[n]]
            if lost:
                raise Failure(f"{publisher} (QoS {qos}): {len(lost)} acknowledged messages of "
                              f"{sum(map(bool, acked))} are not with {reader}: {lost[:10]}")
            twice = [n for n in range(sent) if got[n] > 1]
            if is_once and twice:
                raise Failure(f"{publisher} (QoS 2): {len(twice)} messages came twice to {reader}: "
                              f"{twice[:10]}")
            if any(got[sent:]):
                raise Failure(f"{reader} has messages of {publisher} that were never sent")

    def check_retained(self, publisher):
        slots, sent = publisher.options["slots"], publisher.head()["sent"]
        acked, kept = publisher.seen(publisher.index), self.kept.seen(publisher.index)
        for slot in range(slots):
            newest = max((n for n in range(slot, sent, slots) if acked[n]), default=None)
            stands = [n for n in range(slot, sent, slots) if kept[n]]
            if newest is not None and (len(stands) != 1 or stands[0] < newest):
                raise Failure(f"{publisher}: retained in slot {slot} is {stands}, acknowledged {newest}")
            if newest is None and len(stands) > 1:
                raise Failure(f"{publisher}: slot {slot} has {stands}")

    def check_limited(self, publisher):
        """Of each subject exactly the newest are kept."""
        got, sent = self.limited.seen(publisher.index), publisher.head()["sent"]
        for slot in range(publisher.options["slots"]):
            wanted = list(range(slot, sent, publisher.options["slots"]))[-LIMIT:]
            stands = [n for n in range(slot, sent, publisher.options["slots"]) if got[n]]
            if stands != wanted:
                raise Failure(f"{publisher}: slot {slot} has {len(stands)} messages, {stands[:2]} to "
                              f"{stands[-2:]}, not {len(wanted)}, {wanted[:2]} to {wanted[-2:]}")

    def history(self):
        """What the reader of the history has seen of each publisher."""
        return [self.reader.seen(publisher.index) for publisher in self.publishers()]

    def check_again(self, number):
        """A later round: this one's history is still what it was."""
        before = self.history()
        again = self.folder / f"history-{number}"
        self.reader.file.rename(self.folder / "history-first")
        self.reader = self.history_reader(again.name, "h")
        self.wait(lambda: self.reader.seen(SENTINELS[0])[0], "the history's end")
        if self.history() != before:
            raise Failure(f"round {self.number}'s history is not what it was")

    def tidy(self):
        """Ends the clients, and their sessions."""
        for peer in self.peers:
            peer.close()
        for peer in self.peers:
            with Raw(self.server, "mqtt") as raw:
                raw.send(packet(connect(peer.name, 4)))
                take_packet(raw)

    def close(self):
        for peer in self.peers:
            peer.close()

    def figures(self):
        heads = {peer.name.rsplit("-", 1)[1]: peer.head() for peer in self.peers}
        acked = sum(peer.head()["acked"] for peer in self.publishers())
        sent = sum(peer.head()["sent"] for peer in self.publishers())
        again = sum(max(0, heads[name]["received"] - heads["away2"]["received"])
                    for name in ("online1", "online2"))
        cut = "" if self.cut is None else f", {self.cut} writes without power"
        return f"{sent:7} sent {acked:7} acknowledged {again:5} repeated{cut}"


def fresh_server(arguments):
    server = Server(config=config(free_port(), not arguments.memory))
    server.binary = str(arguments.parley.resolve())
    disk = None
    if not arguments.memory and not arguments.no_power:
        disk = Disk(server.folder / "journal", server.data)
        server.env = disk.env
    return server.start(), disk


def run(arguments, folder):
    """Passed rounds, and the failure that ended them, if one did."""
    rng = random.Random(arguments.seed)
    server, disk, rounds = None, None, []
    for number in range(arguments.rounds):
        if number % FRESH == 0:
            if server:
                server.stop()
                server.remove()
            (server, disk), rounds = fresh_server(arguments), []
        this = Round(server, number, folder / str(number), rng, arguments)
        rounds.append(this)
        try:
            this.begin()
            this.crash()
            if not arguments.no_copy and server.data.exists():
                shutil.copytree(server.data, this.folder / "crashed")
            seconds = this.restart(disk)
            this.finish()
            this.check()
            if number % FRESH == FRESH - 1 or number == arguments.rounds - 1:
                for earlier in rounds[:-1]:
                    earlier.check_again(number)
                    earlier.close()
            print(f"round {number + 1:3}: {this.figures()}, started in {seconds:.2f} s", flush=True)
            this.tidy()
        except (Failure, OSError) as failure:
            this.close()
            server.kill()
            shutil.copytree(server.folder, folder / "server", dirs_exist_ok=True)
            return number, f"round {number + 1}: {failure}"
        if number:
            shutil.rmtree(rounds[-1].folder / "crashed", ignore_errors=True)
    server.stop()
    server.remove()
    return arguments.rounds, None


def main():
    root = HERE.parents[1]
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--parley", type=pathlib.Path, default=root / "build" / "release" / "parley")
    parser.add_argument("--messages", type=int, default=20000, help="of one publisher and round, at most")
    parser.add_argument("--memory", action="store_true", help="no store: shows that the checks fail")
    parser.add_argument("--calm", action="store_true", help="no kill: shows that the checks hold")
    parser.add_argument("--no-power", action="store_true", help="the machine never loses its power")
    parser.add_argument("--no-copy", action="store_true", help="do not keep the store as the crash left it")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-crash-"))
    print(f"seed {arguments.seed}, {arguments.parley}", flush=True)
    passed, failure = run(arguments, folder)
    if failure:
        print(f"FAIL {failure}\nseed {arguments.seed}; its files are in {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{passed} passed, {int(bool(failure))} failed, 0 skipped")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
