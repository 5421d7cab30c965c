"""$SYS/broker/…, with mosquitto's names."""

import re

from clients import MosquittoSub
from harness import Raw, Server, holds, poll

NAMES = ["version", "uptime", "clients/connected", "clients/total", "clients/maximum",
         "clients/disconnected", "messages/received", "messages/sent", "bytes/received",
         "bytes/sent", "subscriptions/count", "retained messages/count", "retained/count",
         "publish/messages/received", "publish/bytes/sent"] + [
    f"load/{what}/{span}" for what in ("messages/received", "messages/sent", "bytes/received",
                                       "bytes/sent", "connections", "publish/received")
    for span in ("1min", "5min", "15min")]


def the_values_are_retained_under_mosquittos_names(server):
    seen = {}
    with MosquittoSub(server.address("mqtt"), "$SYS/broker/#") as sub:
        def all_came():
            while not sub.messages.empty():
                message = sub.next()
                seen[message.name] = message.data.decode()
            return all(f"$SYS/broker/{name}" in seen for name in NAMES)
        poll(all_came, "for every name")
    holds(seen["$SYS/broker/version"].startswith("parley version "), str(seen))
    holds(re.fullmatch(r"\d+ seconds", seen["$SYS/broker/uptime"]), str(seen))
    for name, value in seen.items():
        holds(name.endswith(("/version", "/uptime")) or re.fullmatch(r"\d+(\.\d\d)?", value),
              f"{name} {value}")


def they_are_published_anew(server):
    with MosquittoSub(server.address("mqtt"), "$SYS/broker/uptime") as sub:
        first = sub.next().data
        holds(sub.next().data != first, "it has grown")


def wildcards_and_clients_stay_out_of_it(server):
    with MosquittoSub(server.address("mqtt"), "#") as everything, Raw(server, "nats") as nats, \
            Raw(server, "redis") as redis:
        nats.until()
        nats.send('CONNECT {"verbose":false,"pedantic":false}\r\nSUB > 1\r\n'
                  "PUB $SYS.broker.version 1\r\nx\r\nPUB end 1\r\nx\r\nPING\r\n")
        answer = nats.until(b"PONG\r\n")
        holds(b"MSG $SYS" not in answer, str(answer))
        redis.send("PUBLISH $SYS.broker.version x\r\n")
        holds(redis.until().startswith((b"-", b":0")), "refused")
        everything.expect("end", "x")
