"""The admin listener, and the small answers on shared ports."""

import json
import re

from clients import MosquittoSub
from harness import Raw, equal, holds, poll


def _json(server, path):
    status, body = server.get(path)
    equal(status, 200, path)
    return json.loads(body)


def health_and_readiness_are_told_on_both_ports(server):
    for listener in ("admin", "shared"):
        equal(server.get("/healthz", listener), (200, b"ok\n"))
        equal(server.get("/readyz", listener), (200, b"ready\n"))


def many_may_ask_for_readiness_at_a_time(server):
    raws = [Raw(server, "admin") for _ in range(20)]
    for raw in raws:
        raw.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
    for raw in raws:
        for _ in range(5):
            raw.until(b"\r\n\r\nready\n")
        raw.close()


def metrics_are_prometheus_text_and_count(server):
    def value(name):
        text = server.get("/metrics")[1].decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M).group(1))

    before = value("parley_messages_in_total")
    with MosquittoSub(server.address("mqtt"), "m/#") as sub, Raw(server, "redis") as redis:
        redis.send("PUBLISH m.x 123\r\n").expect(":1\r\n")
        sub.expect("m/x", "123")
        equal(value("parley_messages_in_total"), before + 1)
        holds(value('parley_subscriptions{realm="main"}') >= 1, "subscriptions")
    text = server.get("/metrics")[1].decode()
    for line in text.splitlines():
        holds(re.fullmatch(r'# (HELP|TYPE) parley_\w+ .+|parley_\w+(\{\w+="[^"]*"\})? [0-9.e+-]+',
                           line), line)
    names = re.findall(r"^# TYPE (\S+)", text, re.M)
    equal(len(names), len(set(names)), "families stand once")
    for name in ("parley_bytes_in_total", "parley_bytes_out_total", "parley_queued_bytes",
                 "parley_process_resident_bytes", "parley_certificate_expires_seconds"):
        holds(name in names, name)


def connections_are_listed_in_pages(server):
    raws = [Raw(server, "redis") for _ in range(5)]
    for raw in raws:
        raw.send("PING\r\n").expect("+PONG\r\n")
    seen = []
    after = 0
    while after is not None:
        page = _json(server, f"/connections?limit=2&after={after}")
        holds(len(page["connections"]) <= 2, str(page))
        seen += page["connections"]
        after = page["next_after"]
    equal([item["id"] for item in seen], sorted({item["id"] for item in seen}))
    mine = [item for item in seen if item["listener"] == "redis"]
    equal(len(mine), 5)
    for item in mine:
        equal((item["protocol"], item["address"], item["tls"], item["websocket"], item["user"],
               item["role"], item["realm"]), ("redis", "127.0.0.1", False, False, "", "all", "main"))
        holds(item["bytes_in"] >= 6 and item["bytes_out"] >= 7, str(item))
    for raw in raws:
        raw.close()


def subscriptions_are_listed_and_can_be_asked_by_subject(server):
    with MosquittoSub(server.address("mqtt"), "s/+/t", "s/é/#"), Raw(server, "redis") as redis:
        redis.send("*2\r\n$10\r\nPSUBSCRIBE\r\n$4\r\ns.*\xff\r\n".encode("latin-1"))
        redis.until(b":1\r\n")
        everything = poll(lambda: [page for page in [_json(server, "/subscriptions")]
                                   if page["total"] >= 4], "for three subscriptions")[0]
        patterns = {(item["pattern"], item["kind"], item["protocol"])
                    for item in everything["subscriptions"]}
        holds({("s.*.t", "tokens", "mqtt"), ("s.é.#", "tokens", "mqtt"),
               ("s.*?", "glob", "redis")} <= patterns, str(patterns))
        some = _json(server, "/subscriptions?subject=s.x.t")
        equal([item["pattern"] for item in some["subscriptions"]], ["s.*.t"])
        page = _json(server, "/subscriptions?limit=1&offset=1")
        equal(len(page["subscriptions"]), 1)
        holds(page["next_offset"] == 2, str(page))
        session = some["subscriptions"][0]["session"]
        own = _json(server, f"/subscriptions?session={session}")
        equal(own["total"], 2)


def a_host_that_is_not_ours_is_refused(server):
    for listener in ("admin", "shared"):
        with Raw(server, listener) as raw:
            raw.send("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            holds(raw.read_all().startswith(b"HTTP/1.1 403 "), "403")
        for host in ("localhost", "127.0.0.1:99", "[::1]:5", "x.localhost"):
            with Raw(server, listener) as raw:
                raw.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
                holds(raw.read_all().startswith(b"HTTP/1.1 200 "), host)


def a_foreign_origin_is_refused(server):
    for origin, status in (("https://evil.example", 403), ("null", 403),
                           ("http://localhost:3000", 200), ("http://127.0.0.1", 200)):
        equal(server.get("/metrics", headers=f"Origin: {origin}\r\n")[0], status, origin)


def only_what_is_there_is_answered(server):
    equal(server.get("/nothing")[0], 404)
    equal(server.get("/metrics", "shared")[0], 404)
    equal(server.get("/connections", "shared")[0], 404)
    for query in ("limit=0", "limit=1001", "limit=x", "after=-1", "after=99999999999999999999"):
        equal(server.get(f"/connections?{query}")[0], 400, query)
    for query in ("realm=nope", "offset=x", "session=1x"):
        equal(server.get(f"/subscriptions?{query}")[0], 400, query)
    with Raw(server, "admin") as raw:
        raw.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        holds(raw.read_all().startswith(b"HTTP/1.1 405 "), "405")


def heads_have_no_body_and_connections_are_kept(server):
    with Raw(server, "admin") as raw:
        raw.send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                 "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        heads = raw.read_all()
        equal(heads.count(b"HTTP/1.1 200 OK"), 2)
        equal(heads.count(b"ok\n"), 1)


def what_is_no_request_is_refused_and_closed(server):
    for request, status in ((b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
                            (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                             b"Transfer-Encoding: chunked\r\n\r\n", 400),
                            (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n", 414),
                            (b"GET / HTTP/2.0\r\n\r\n", 505)):
        with Raw(server, "admin") as raw:
            raw.send(request)
            head = raw.read_all()
            holds(head.startswith(b"HTTP/1.1 %d " % status), f"{request[:40]} {head[:40]}")
