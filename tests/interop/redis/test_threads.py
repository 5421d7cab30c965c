"""What Redis clients may ask of each other's connections, with three reactors under ThreadSanitizer,
which reports when the server ends."""

import threading

from harness import Failure, Raw, Server, poll

SECONDS_MAX = 300
ROUNDS = 60


def _until_pong(raw, mark):
    raw.send(f"PING {mark}\r\n")
    return raw.until(f"{mark}\r\n")


def _ask_about_everybody(server, failures, number):
    try:
        with Raw(server, "redis") as raw:
            for i in range(ROUNDS):
                raw.send("CLIENT LIST\r\nPUBSUB CHANNELS\r\nPUBSUB NUMSUB c1 c2\r\nPUBSUB NUMPAT\r\n"
                         f"CLIENT SETNAME asker{i}\r\nINFO\r\nCLIENT KILL TYPE pubsub\r\n")
                _until_pong(raw, f"asked{number}x{i}")
    except Failure as failure:
        failures.append(failure)


def _come_and_go(server, failures, number):
    try:
        for i in range(ROUNDS):
            with Raw(server, "redis") as raw:
                # It may be killed at any time.
                raw.send(f"HELLO 3 SETNAME goer{number}\r\nSUBSCRIBE c1 c2 c{i}\r\nPSUBSCRIBE c*\r\n"
                         "PUBLISH c1 x\r\nCLIENT SETINFO lib-name tests\r\nHELLO 2\r\nRESET\r\n"
                         "PUBLISH c2 y\r\nMULTI\r\nPUBLISH c1 z\r\nEXEC\r\nAUTH a b\r\nQUIT\r\n")
                raw.read_all()
    except Failure as failure:
        failures.append(failure)


def connections_are_listed_and_killed_while_they_come_and_go():
    failures = []
    with Server(tsan=True, threads=3) as server:
        threads = [threading.Thread(target=work, args=(server, failures, n))
                   for n, work in enumerate([_ask_about_everybody] * 3 + [_come_and_go] * 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Raw(server, "redis") as raw:
            poll(lambda: raw.send("PUBSUB CHANNELS\r\nPING end\r\n").until("end\r\n")
                 .startswith(b"*0\r\n"), "for the last subscription to go")
    if failures:
        raise failures[0]
