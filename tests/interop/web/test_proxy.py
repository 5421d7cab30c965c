"""Other servers by path, as real clients and hand-made requests see them."""

import concurrent.futures
import hashlib
import json
import subprocess

from clients import NodeClient
from harness import Failure, Raw, Server, WebSocket, equal, holds

import pages
from pages import ask
from upstream import closed_port, upstream

ROOT = pages.sites({"a.test/index.html": "page", "a.test/api.html": "no proxy"})


def _server(behind, **web):
    return Server(**pages.config(ROOT, proxies={
        "api": behind.url, "/deep/er/": f"{behind.url}/base/", "deep": behind.url,
        "down": f"http://127.0.0.1:{closed_port()}"}, **web))


def _told(answer):
    equal(answer.status, 200)
    told = json.loads(answer.body)
    told["all"] = told["headers"]
    told["headers"] = {name.lower(): value for name, value in told["headers"]}
    return told


def what_is_below_the_prefix_is_asked_of_the_other_server():
    with upstream() as behind, _server(behind) as server:
        for path, there in (("/api/x?a=b&c=%20", "/x?a=b&c=%20"), ("/api", "/"), ("/api/", "/"),
                            ("/api?q", "/?q"), ("/api/a%20b//c", "/a%20b//c"),
                            ("/deep/er/x", "/base/x"), ("/deep/er", "/base/"),
                            ("/deep/x", "/x"), ("/deep/erx", "/erx")):
            equal(_told(ask(server, path))["path"], there, path)
        equal(ask(server, "/api.html").body, b"no proxy", "no segment of it")
        equal(ask(server, "/").body, b"page")
        for path in ("/api/../x", "/api/%2e%2e/x", "/api/a/..%2f..%2fx"):
            equal(ask(server, path).status, 404, path)


def every_method_goes_through_with_its_body():
    with upstream() as behind, _server(behind) as server:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
            for body in (None, b"", b"\x00\xffbody" * 1000):
                told = _told(ask(server, "/api/x", method=method, body=body,
                                 Content_Type="text/x-own"))
                equal((told["method"], told["body"]), (method, (body or b"").decode("latin-1")))
                equal(told["headers"]["content-type"], "text/x-own")
        answer = ask(server, "/api/x", method="HEAD")
        holds(answer.status == 200 and answer.body == b"" and int(answer["Content-Length"]) > 100,
              "HEAD tells the length")


def the_other_server_is_told_who_asks_and_nothing_of_the_connection():
    with upstream() as behind, _server(behind) as server:
        told = _told(ask(server, "/api/x", host="A.test:99", Connection="X-Mine, keep-alive",
                         X_Mine="private", Keep_Alive="timeout=9", TE="trailers",
                         X_Forwarded_For="6.6.6.6", X_Real_IP="6.6.6.6", Forwarded="for=6.6.6.6",
                         Proxy_Connection="close", X_Kept="yes", Cookie="a=b", Origin="http://x.y"))
        headers = told["headers"]
        equal(headers["host"], behind.url.removeprefix("http://"))
        equal((headers["x-forwarded-for"], headers["x-forwarded-proto"],
               headers["x-forwarded-host"]), ("127.0.0.1", "http", "A.test:99"))
        equal((headers["x-kept"], headers["cookie"], headers["origin"]),
              ("yes", "a=b", "http://x.y"))
        for name in ("x-mine", "keep-alive", "te", "proxy-connection", "x-real-ip", "forwarded",
                     "accept", "user-agent", "expect", "content-type"):
            holds(name not in headers, f"{name} in {headers}")
        with Raw(server, "web") as raw:
            raw.send("GET /api/x HTTP/1.1\r\nHost: a.test\r\nX_Forwarded_For: 6.6.6.6\r\n"
                     "X-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\nConnection: close\r\n\r\n")
            told = json.loads(raw.read_all().partition(b"\r\n\r\n")[2])
        names = [name.lower() for name, _ in told["headers"]]
        holds("x_forwarded_for" not in names, "no other spelling of it")
        holds(["X-Empty", ""] in told["headers"], told["headers"])
        equal([value for name, value in told["headers"] if name == "X-Twice"], ["1", "2"])
        with Raw(server, "secure", tls=True) as raw:
            raw.send("GET /api/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            told = json.loads(raw.read_all().partition(b"\r\n\r\n")[2])
        holds(["X-Forwarded-Proto", "https"] in told["headers"], told["headers"])


def the_answer_comes_back_as_it_is():
    with upstream() as behind, _server(behind) as server:
        answer = ask(server, "/api/cookies")
        equal((answer.status, answer.body), (201, b"two"))
        equal(answer.headers.get_all("Set-Cookie"), ["a=1", "b=2; Path=/"])
        equal((answer["X-Kept"], answer["X-Empty"]), ("yes", ""))
        for name in ("X-Private", "Keep-Alive", "Connection"):
            equal(answer[name], None, name)
        answer = ask(server, "/api/chunked")
        equal(answer["Transfer-Encoding"], None)
        equal(answer["X-Late"], None)
        holds(answer.body == b"one two " + b"x" * 100_000, "whole")
        equal(ask(server, "/api/until_close").body, b"until the end")
        equal(ask(server, "/api/interim").body, b"after hints")
        equal(ask(server, "/api/interim")["Link"], None)
        holds(ask(server, "/api/large").body == b"y" * 2_000_000, "a large one")
        answer = ask(server, "/api/nothing")
        equal((answer.status, answer["Content-Length"]), (204, None))
        answer = ask(server, "/api/unchanged")
        equal((answer.status, answer["ETag"], answer.body), (304, '"x"', b""))


def an_upstream_that_fails_is_a_bad_gateway_and_the_next_request_is_served():
    with upstream() as behind, _server(behind, proxy_timeout="1s", proxy_answer="1M") as server:
        for path, status in (("/down/x", 502), ("/api/broken", 502), ("/api/garbage", 502),
                             ("/api/large", 502), ("/api/hangs", 504)):
            with Raw(server, "web") as raw:
                raw.send(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")
                raw.expect(f"HTTP/1.1 {status} ")
                raw.until(b"Gateway\n" if status == 502 else b"Timeout\n")
                raw.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("HTTP/1.1 200 OK\r\n")
        server.wait_log("proxy_failed")


def bodies_in_chunks_and_announced_ones_are_gathered():
    with upstream() as behind, _server(behind) as server:
        with Raw(server, "web") as raw:
            raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n"
                     "Expect: 100-continue\r\n\r\n")
            raw.expect("HTTP/1.1 100 Continue\r\n\r\n")
            for byte in b"5\r\nhello\r\n3;ext=1\r\n, w\r\n4\r\norld\r\n0\r\nX-Trailer: a\r\n\r\n":
                raw.send(bytes([byte]))
            raw.expect("HTTP/1.1 200 OK\r\n")
            told = raw.until(b"}")
            holds(b'"body": "hello, world"' in told, told)
            raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
                     "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            raw.expect("HTTP/1.1 200 OK\r\n").until(b"}")
            raw.expect("HTTP/1.1 200 OK\r\n").until(b"page")
        for bad, status in (("zz\r\n", 400), ("5\nhello", 400), ("5\r\nhelloXX", 400),
                            ("fffffffffffffffff\r\n", 413), ("99999999\r\n" + "x" * 100_000, None)):
            with Raw(server, "web") as raw:
                raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\n"
                         f"Transfer-Encoding: chunked\r\n\r\n{bad}")
                if status:
                    raw.expect(f"HTTP/1.1 {status} ")


def a_body_that_is_too_large_is_refused():
    with upstream() as behind, _server(behind, proxy_request="10K", proxy_bodies="64K") as server:
        equal(ask(server, "/api/x", method="POST", body=b"x" * 10240).status, 200)
        with Raw(server, "web") as raw:
            raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10241\r\n\r\n")
            raw.expect("HTTP/1.1 413 ")
        with Raw(server, "web") as raw:
            raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "2801\r\n" + "x" * 10241 + "\r\n")
            raw.expect("HTTP/1.1 413 ")
        begun = [Raw(server, "web") for _ in range(6)]
        for raw in begun:
            raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10240\r\n"
                     "Expect: 100-continue\r\n\r\n").expect("HTTP/1.1 100 Continue\r\n\r\n")
            raw.send("x" * 10000)
        # Four of 16K fill 64K; the others are refused, and what is given back can be used again.
        refused = 0
        for raw in begun:
            raw.send("y" * 240)
            status = int(raw.until(b"\r\n").split()[1])
            holds(status in (200, 503), status)
            refused += status == 503
            raw.close()
        holds(refused >= 2, f"{refused} were refused")
        equal(ask(server, "/api/x", method="POST", body=b"x" * 10240).status, 200)


def a_client_that_goes_away_harms_nobody_and_ends_what_it_asked():
    with upstream() as behind, _server(behind, proxy_threads=1, proxy_requests=1) as server:
        with Raw(server, "web") as raw:
            raw.send("POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc")
            raw.reset()
        gone = Raw(server, "web")
        gone.send("GET /api/hangs HTTP/1.1\r\nHost: a.test\r\n\r\n")
        holds(behind.asked.wait(15), "the upstream is asked")
        waits = Raw(server, "web").send("GET /api/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        equal(ask(server, "/").body, b"page", "files do not wait for it")
        gone.reset()
        behind.released.set()
        waits.expect("HTTP/1.1 200 OK\r\n")
        waits.close()


def many_clients_are_served_at_once_and_connections_are_kept():
    with upstream() as behind, _server(behind, proxy_threads=4) as server:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            told = list(pool.map(lambda i: _told(ask(server, f"/api/{i}")), range(100)))
        equal([t["path"] for t in told], [f"/{i}" for i in range(100)])
        holds(len({t["peer"] for t in told}) <= 8, "few connections to the upstream")


def the_server_ends_while_an_upstream_hangs():
    with upstream() as behind, _server(behind) as server:
        raw = Raw(server, "web").send("GET /api/hangs HTTP/1.1\r\nHost: a.test\r\n\r\n")
        holds(behind.asked.wait(15), "the upstream is asked")
        server.stop()
        raw.close()


def curl_and_node_talk_through_it_and_websockets_are_ours():
    with upstream() as behind, _server(behind) as server:
        body = b"z" * 3_000_000
        done = subprocess.run(
            ["curl", "-sS", "--fail", "--data-binary", "@-", "-H", "Host: a.test",
             server.url("http", "web", "/api/x")], input=body, check=True, capture_output=True)
        equal(len(json.loads(done.stdout)["body"]), len(body))
        done = subprocess.run(
            ["curl", "-sS", "--fail", "-T", "-", "-H", "Host: a.test",
             server.url("http", "web", "/api/x")], input=body, check=True, capture_output=True)
        told = json.loads(done.stdout)
        equal((told["method"], len(told["body"])), ("PUT", len(body)), "in chunks")
        with NodeClient("web.mjs") as node:
            got = node.call("fetch", url=server.url("http", "shared", "/api/cookies"),
                            method="POST", body="x" * 100_000)
            equal((got["status"], got["sha256"]), (201, hashlib.sha256(b"two").hexdigest()))
        with WebSocket(server, "shared", path="/nats") as ws:
            equal(ws.status, 101)


def another_host_on_loopback_does_not_reach_it():
    with upstream() as behind, _server(behind) as server:
        equal(ask(server, "/api/x", host="rebound.example").status, 403)
        equal(ask(server, "/api/x", host="localhost").status, 200)


def what_is_wrong_with_a_proxy_is_told_at_the_start():
    for proxies in ({"api": "https://x.example"}, {"api": "http://"}, {"/": "http://x.example"},
                    {"a/../b": "http://x.example"}, {"api": "http://u@x.example"}):
        server = Server(**pages.config(ROOT, proxies=proxies))
        server.spawn()
        if server.wait() == 0:
            raise Failure(f"{proxies} was taken")
        holds("web.proxies: expected prefix: http://host:port" in server.log(), server.log())
        server.remove()
