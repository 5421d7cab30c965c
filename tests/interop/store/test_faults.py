"""A disk that is full, a store that is broken, newer than the server, in use, or not writable."""

import contextlib
import hashlib
import random
import sqlite3
import subprocess

from clients import mosquitto_pub
from harness import Failure, Raw, equal, holds, poll
from stores import (Client5, Mount, RawSocket, connect, history, limit_files, packet, stored,
                    take_packet)

PAYLOAD = "x" * 1000


def _fill(publisher, topic):
    """Publishes until it is refused; how many were acknowledged before that, and the reason."""
    for number in range(100000):
        reason = publisher.publish(f"{topic}/{number % 7}", f"{number} {PAYLOAD}", number % 60000 + 1)
        if reason >= 0x80:
            return number, reason
    raise Failure("the disk is never full")


def _goes_on(server):
    """What needs no disk works."""
    with Client5(server) as a, Client5(server) as b:
        a.subscribe("brief/x", 0)
        holds(b.publish("brief/x", "live") < 0x80, "what is kept nowhere was refused")
        equal(a.data(), "live")


def _numbers(found):
    return sorted(int(data.split()[0]) for data in found if data[0].isdigit())


def _check_full(server, make_room):
    with Client5(server) as publisher:
        count, reason = _fill(publisher, "log/full")
        equal(reason, 0x97)
        _goes_on(server)
        with Raw(server, "mqtt") as old:
            old.send(packet(connect("old", 4)))
            take_packet(old)
            old.send(packet("32 (<'log/old'> 0001 'x')"))
            old.expect_close()  # Version 3 has no word for it: closed without a PUBACK.
        _goes_on(server)
        make_room()
        poll(lambda: publisher.publish("log/full/again", "again") < 0x80, "for it to clear by itself")
    server.stop()
    server.start()
    found = history(server, "log")
    equal(_numbers(found), list(range(count)))
    holds("again" in found, "what came after the disk had room is missing")


def a_full_disk_refuses_what_is_durable_and_clears_by_itself():
    with Mount("6m") as disk, stored(data=disk.folder / "data") as server:
        disk.fill()

        def make_room():
            disk.make_room()

        _check_full(server, make_room)


def a_limit_of_a_files_size_refuses_what_is_durable_and_clears_by_itself():
    with stored() as server:
        limit_files(server, 1 << 21)
        _check_full(server, lambda: limit_files(server, None))


def every_protocol_is_told_of_a_full_disk():
    with stored() as server, RawSocket(server) as wamp, Raw(server, "redis") as redis, \
            Client5(server, "kept") as mqtt:
        limit_files(server, 1)
        holds(mqtt.publish("log/1", "x") == 0x97, "MQTT")
        mqtt.say("82 (0001 00 <'a'> 01)").expect("90 (0001 00 97)")
        holds(wamp.refused(16, {"acknowledge": True}, "log.wamp", ["x"]), "WAMP")
        redis.send("PUBLISH log.redis x\r\n")
        holds(redis.until().startswith(b"-ERR"), "Redis")
        _goes_on(server)
        limit_files(server, None)
        poll(lambda: mqtt.publish("log/2", "y") < 0x80, "for it to clear by itself")
        equal(history(server, "log"), ["y"])


def a_full_disk_costs_nothing_that_was_acknowledged():
    with Mount("6m") as disk:
        with stored(data=disk.folder / "data") as server:
            with Client5(server, "away") as away:
                away.subscribe("jobs/#")
            mosquitto_pub(server.address("mqtt"), "kept/1", "before", qos=1, retain=True)
            disk.fill()
            with Client5(server) as publisher:
                count, _ = _fill(publisher, "jobs")
                holds(publisher.publish("kept/1", "after", retain=True) >= 0x80, "it was acknowledged")
            server.kill()
            disk.make_room()
            server.start()
            with Client5(server, "away", present=1) as away, Client5(server) as late:
                numbers = [int(away.data().split()[0]) for _ in range(count)]
                equal(numbers, list(range(count)))
                late.subscribe("kept/1", 0)
                equal(late.data(), "before")


def a_start_on_a_full_disk_serves_or_says_what_is_wrong():
    with Mount("6m") as disk:
        with stored(data=disk.folder / "data") as server:
            with Client5(server) as publisher:
                publisher.publish("log/1", "kept")
            server.stop()
            disk.fill()
            server.spawn()
            with contextlib.suppress(Failure):
                poll(lambda: server.process.poll() is not None or server.ports_file.exists(), "start")
            if server.process.poll() is not None:
                holds("store" in server.log() and "full" in server.log(), server.log())
                disk.make_room()
                server.start()
            disk.make_room() if disk.ballast.exists() else None
            server.kill()
            server.start()
            equal(history(server, "log"), ["kept"])


def _store_file(server):
    for path in sorted(server.data.rglob("*")):
        if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3":
            return path
    raise Failure(f"no store in {list(server.data.rglob('*'))}")


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _filled(server, count=300):
    """A store with something in each table, after an orderly end; its file."""
    with Client5(server, "away") as away:
        away.subscribe("jobs/#")
    with Client5(server) as publisher:
        for number in range(count):
            publisher.publish(f"log/{number % 5}", f"{number} {PAYLOAD}")
            publisher.publish("jobs/1", str(number))
            publisher.publish(f"kept/{number % 20}", str(number), retain=True)
    server.stop()
    return _store_file(server)


def _start_fails(server):
    """What a start that must not succeed says."""
    server.log_file.write_bytes(b"")
    server.spawn()
    code = server.wait()
    holds(code != 0, "it ended well")
    return server.log()


def _store(server, verb):
    """parley store VERB with the server's configuration: exit code and what it says."""
    done = subprocess.run([server.binary, "store", verb, "--config", server.config_file, "--data",
                           server.data], capture_output=True, text=True, check=False, timeout=60,
                          cwd=server.folder)
    return done.returncode, done.stdout + done.stderr


def _is_refused(server, file):
    """Start and check name the file and what to do; nothing is written."""
    before = _digest(file)
    log = _start_fails(server)
    holds(file.name in log, f"the start does not name the store: {log}")
    holds("parley store" in log or "restore" in log or "backup" in log,
          f"the start does not say what to do: {log}")
    code, text = _store(server, "check")
    holds(code != 0 and file.name in text, f"check says {code}: {text}")
    equal(_digest(file), before, "the file was changed")


def a_truncated_store_is_named_and_left_alone():
    with stored() as server:
        file = _filled(server)
        whole = file.read_bytes()
        equal(_store(server, "check")[0], 0)
        for size in (len(whole) // 2, len(whole) - 4096, 100, 0):
            file.write_bytes(whole[:size])
            _is_refused(server, file)
        file.write_bytes(whole)
        server.start()


def a_store_with_a_flipped_bit_is_named_or_nothing_is_wrong_with_what_it_tells():
    with stored() as server:
        file = _filled(server)
        whole = file.read_bytes()
        expected = [f"{n} {PAYLOAD}" for n in range(300)]
        rng = random.Random(4)
        refused = 0
        for position in [20, 5000, *(rng.randrange(len(whole)) for _ in range(10))]:
            broken = bytearray(whole)
            broken[position] ^= 1 << rng.randrange(8)
            file.write_bytes(broken)
            for name in ("-wal", "-shm"):
                file.with_name(file.name + name).unlink(missing_ok=True)
            code, text = _store(server, "check")
            if code:
                _is_refused(server, file)
                refused += 1
                continue
            server.start()
            found = history(server, "log")
            equal(sorted(found), sorted(expected), f"bit of byte {position}")
            server.stop()
        holds(refused > 3, f"only {refused} of 12 were noticed")
        file.write_bytes(whole)
        server.start()


def what_is_no_store_is_named_and_left_alone():
    with stored() as server:
        file = _filled(server, 3)
        for name in ("-wal", "-shm"):
            file.with_name(file.name + name).unlink(missing_ok=True)
        file.write_bytes(b"my diary\n" * 1000)
        _is_refused(server, file)
        file.unlink()
        server.start()


def a_store_of_a_newer_parley_is_refused():
    with stored() as server:
        file = _filled(server, 3)
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute("pragma user_version = 1000")
        before = _digest(file)
        log = _start_fails(server)
        holds("newer" in log and file.name in log, log)
        equal(_digest(file), before, "the file was changed")
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute("pragma user_version = 1")
        server.start()


def a_second_server_on_the_same_store_is_refused():
    with stored() as server, contextlib.ExitStack() as stack:
        with Client5(server) as publisher:
            publisher.publish("log/1", "mine")
        other = stored(data=server.data)
        stack.callback(other.remove)
        log = _start_fails(other)
        holds("in use" in log or "another" in log or "locked" in log, log)
        equal(history(server, "log"), ["mine"])


def a_folder_that_cannot_be_written_is_named():
    with Mount("6m") as disk:
        with stored(data=disk.folder / "data") as server:
            with Client5(server) as publisher:
                publisher.publish("log/1", "kept")
            server.stop()
            disk.read_only()
            log = _start_fails(server)
            holds("data" in log and ("read-only" in log.lower() or "writ" in log), log)
            disk.writable()
            server.start()
            equal(history(server, "log"), ["kept"])


def a_disk_that_becomes_read_only_refuses_and_recovers():
    with Mount("6m") as disk, stored(data=disk.folder / "data") as server, \
            Client5(server) as publisher:
        equal(publisher.publish("log/1", "1") < 0x80, True)
        limit_files(server, 1)  # Every write fails, as on a disk that is gone.
        holds(publisher.publish("log/2", "2") >= 0x80, "it was acknowledged")
        _goes_on(server)
        limit_files(server, None)
        poll(lambda: publisher.publish("log/3", "3") < 0x80, "for it to recover")


def store_export_and_stats_tell_what_is_kept():
    with stored() as server:
        _filled(server, 20)
        code, text = _store(server, "export")
        equal(code, 0, text)
        for word in ("19 " + PAYLOAD[:20], "kept", "away", "jobs"):
            holds(word in text, f"{word!r} is not in the export")
        code, text = _store(server, "stats")
        equal(code, 0, text)
        equal(_store(server, "vacuum")[0], 0)
        equal(_store(server, "check")[0], 0)
        server.start()
        equal(_numbers(history(server, "log")), list(range(20)))
