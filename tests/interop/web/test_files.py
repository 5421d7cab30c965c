"""Files of a site, as real clients and hand-made requests see them."""

import concurrent.futures
import gzip
import hashlib
import os
import signal
import subprocess

from clients import NodeClient
from harness import Raw, Server, WebSocket, equal, holds, poll

import pages
from pages import BYTES, TEXT, ask

ROOT = pages.sites({
    "a.test/index.html": TEXT,
    "a.test/docs/index.html": "docs of a",
    "a.test/empty.txt": "",
    "a.test/a b/\u00e4.txt": "umlaut",
    "a.test/data.json": "{}",
    "a.test/big.bin": BYTES,
    "a.test/404.html": "<h1>not here</h1>",
    "a.test/.secret": "hidden",
    "a.test/.well-known/security.txt": "Contact: mailto:a@a.test",
    "a.test/photo.PNG": b"\x89PNG",
    "a.test/unknown.xyz": "?",
    "a.test/no-index/x": "x",
    "a.test/inside": ("link", "docs/index.html"),
    "a.test/outside": ("link", "/etc/passwd"),
    "a.test/other": ("link", "../b.test/index.html"),
    "a.test/up": ("link", ".."),
    "b.test/index.html": "this is b",
    "127.0.0.1/index.html": TEXT,
    "127.0.0.1/app.js": TEXT,
    "127.0.0.1/big.bin": BYTES,
    "secret.txt": "above the sites",
})
os.mkfifo(ROOT / "a.test" / "fifo")
CONFIG = pages.config(ROOT, hsts="1h")


def each_domain_has_its_own_pages(server):
    equal(ask(server, "/").body, TEXT)
    equal(ask(server, "/", host="b.test").body, b"this is b")
    equal(ask(server, "/?a=b", host="B.TEST:8080").body, b"this is b", "any case, any port")
    equal(ask(server, "/", host="b.test.").body, b"this is b")
    for host in ("c.test", "a.test.evil", "..", "localhost"):
        equal(ask(server, "/", host=host).status, 404, host)


def another_host_on_tls_is_misdirected(server):
    with Raw(server, "secure", tls=True) as raw:
        raw.send("GET / HTTP/1.1\r\nHost: c.test\r\n\r\n")
        raw.expect("HTTP/1.1 421 Misdirected Request\r\n")


def a_folder_has_its_index_behind_a_slash(server):
    answer = ask(server, "/docs?x=%20y")
    equal((answer.status, answer["Location"]), (301, "/docs/?x=%20y"))
    equal(ask(server, "/docs/").body, b"docs of a")
    equal(ask(server, "/no-index/").status, 404)
    equal(ask(server, "/index.html/").status, 404)
    equal(ask(server, "/a%20b")["Location"], "/a%20b/")
    equal(ask(server, "//docs")["Location"], "/docs/", "no way to another host")


def names_are_decoded_once(server):
    equal(ask(server, "/a%20b/%C3%A4.txt").body, b"umlaut")
    equal(ask(server, "/a%20b//./%c3%a4.txt").body, b"umlaut")
    equal(ask(server, "/a%2520b/%C3%A4.txt").status, 404)
    equal(ask(server, "/empty.txt").body, b"")


def there_is_no_way_out_of_the_root(server):
    paths = ["/../secret.txt", "/../b.test/index.html", "/%2e%2e/secret.txt", "/..%2fsecret.txt",
             "/docs/../../secret.txt", "/docs/%2e./%2e%2e/secret.txt", "/.%2e/.%2e/etc/passwd",
             "/%252e%252e/secret.txt", "/..%5csecret.txt", "/..\\secret.txt", "/docs/%00",
             "/index.html%00.png", "/%c0%ae%c0%ae/secret.txt", "//etc/passwd",
             "/outside", "/other", "/up/secret.txt", "/up/b.test/index.html", "/fifo",
             "/.secret", "/%2esecret", "/" + "x" * 5000, "/" + "d/" * 2000, "/%zz", "/proc/self/"]
    for path in paths:
        with Raw(server, "web") as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            answer = raw.read_all()
            holds(answer.startswith(b"HTTP/1.1 404 ") or answer.startswith(b"HTTP/1.1 400 "),
                  f"{path}: {answer[:100]}")
            holds(b"secret.txt" not in answer and b"root:" not in answer, f"{path}: {answer}")
    equal(ask(server, "/inside").body, b"docs of a")
    equal(ask(server, "/.well-known/security.txt").status, 200)


def a_missing_page_is_the_domains_own(server):
    answer = ask(server, "/nothing")
    equal((answer.status, answer.body), (404, b"<h1>not here</h1>"))
    equal(answer["Content-Type"], "text/html; charset=utf-8")
    answer = ask(server, "/nothing", host="b.test")
    equal((answer.status, answer.body), (404, b"Not Found\n"))
    equal(ask(server, "/nothing", method="HEAD").body, b"")


def the_head_tells_what_it_is(server):
    answer = ask(server, "/")
    equal(answer["Content-Type"], "text/html; charset=utf-8")
    equal(answer["Content-Length"], str(len(TEXT)))
    equal(answer["X-Content-Type-Options"], "nosniff")
    equal(answer["Vary"], "Accept-Encoding")
    equal(answer["Cache-Control"], "no-cache")
    equal(answer["Access-Control-Allow-Origin"], None)
    equal(answer["Strict-Transport-Security"], None, "in the clear")
    equal(ask(server, "/data.json")["Access-Control-Allow-Origin"], "*")
    equal(ask(server, "/photo.PNG")["Content-Type"], "image/png")
    equal(ask(server, "/unknown.xyz")["Content-Type"], "application/octet-stream")
    with Raw(server, "secure", tls=True) as raw:
        raw.send("GET /data.json HTTP/1.1\r\nHost: a.test\r\n\r\n")
        holds(b"\r\nStrict-Transport-Security: max-age=3600\r\n" in raw.until(b"\r\n\r\n"),
              "by TLS it is told")


def head_is_get_without_the_body_and_the_rest_is_not_allowed(server):
    for path in ("/", "/big.bin", "/docs", "/nothing"):
        for encoding in ("identity", "br"):
            get = ask(server, path, Accept_Encoding=encoding)
            head = ask(server, path, method="HEAD", Accept_Encoding=encoding)
            equal((head.status, head["Content-Length"], head["ETag"], head.body),
                  (get.status, get["Content-Length"], get["ETag"], b""), path)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        answer = ask(server, "/", method=method, body=b"x=y")
        equal((answer.status, answer["Allow"]), (405, "GET, HEAD"), method)


def who_has_a_page_is_told_so(server):
    first = ask(server, "/")
    again = ask(server, "/", If_None_Match=first["ETag"])
    equal((again.status, again.body, again["ETag"]), (304, b"", first["ETag"]))
    holds(again["Content-Type"] is None and again["Content-Length"] is None, again.headers)
    equal(ask(server, "/", If_None_Match='"x", *').status, 304)
    equal(ask(server, "/", If_None_Match='"other"').status, 200)
    equal(ask(server, "/", If_Modified_Since=first["Last-Modified"]).status, 304)
    equal(ask(server, "/", If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT").status, 200)
    equal(ask(server, "/", If_Match='"other"').status, 412)


def parts_of_a_file_are_parts(server):
    def part(range, **more):
        answer = ask(server, "/big.bin", Range=range, **more)
        return answer.status, answer["Content-Range"], answer.body

    size = len(BYTES)
    equal(part("bytes=5-9"), (206, f"bytes 5-9/{size}", BYTES[5:10]))
    equal(part(f"bytes={size - 3}-"), (206, f"bytes {size - 3}-{size - 1}/{size}", BYTES[-3:]))
    equal(part("bytes=-3"), (206, f"bytes {size - 3}-{size - 1}/{size}", BYTES[-3:]))
    holds(part("bytes=1000-2000000")[2] == BYTES[1000:2000001], "a part in pieces")
    equal(part(f"bytes={size}-"), (416, f"bytes */{size}", b""))
    holds(part("bytes=0-1,5-6") == (200, None, BYTES), "several: the whole")
    holds(part("lines=1-2") == (200, None, BYTES), "another unit: the whole")
    whole = ask(server, "/big.bin")
    equal(whole["Accept-Ranges"], "bytes")
    equal(part("bytes=0-1", If_Range=whole["ETag"])[0], 206)
    equal(part("bytes=0-1", If_Range=whole["Last-Modified"])[0], 206)
    equal(part("bytes=0-1", If_Range='"other"')[0], 200)
    equal(ask(server, "/", Range="bytes=0-1", Accept_Encoding="br")["Content-Encoding"], None,
          "a part is of the plain file")


def requests_follow_each_other_on_one_connection(server):
    with Raw(server, "web") as raw:
        one = "GET {} HTTP/1.1\r\nHost: a.test\r\n\r\n"
        raw.send("".join(one.format(path) for path in
                         ("/docs/", "/big.bin", "/nothing", "/docs", "/data.json", "/docs/")))
        raw.expect("HTTP/1.1 200 OK\r\n").until(b"\r\n\r\n")
        raw.expect("docs of a")
        raw.expect("HTTP/1.1 200 OK\r\n").until(b"\r\n\r\n")
        holds(raw.take(len(BYTES)) == BYTES, "the large one is whole")
        raw.expect("HTTP/1.1 404 Not Found\r\n").until(b"\r\n\r\n")
        raw.expect("<h1>not here</h1>")
        raw.expect("HTTP/1.1 301 Moved Permanently\r\n").until(b"\r\n\r\n")
        raw.expect("HTTP/1.1 200 OK\r\n").until(b"\r\n\r\n")
        raw.expect("{}")
        raw.expect("HTTP/1.1 200 OK\r\n").until(b"\r\n\r\n")
        raw.expect("docs of a")


def clients_of_old_are_served(server):
    with Raw(server, "web") as raw:
        raw.send("GET /big.bin HTTP/1.0\r\nHost: a.test\r\n\r\n")
        head, _, body = raw.read_all().partition(b"\r\n\r\n")
        holds(b"Connection: close" in head and body == BYTES, "whole, then the end")
    with Raw(server, "web") as raw:
        raw.send("GET /docs/ HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        holds(b"Connection: keep-alive" in raw.until(b"\r\n\r\n"), "it may stay")
        raw.expect("docs of a")
        raw.send("GET /docs/ HTTP/1.0\r\nHost: a.test\r\n\r\n")
        holds(raw.read_all().endswith(b"docs of a"), "and ask again")


def a_client_that_reads_slowly_or_goes_away_harms_nobody(server):
    slow = []
    for _ in range(20):
        slow.append(Raw(server, "web").send("GET /big.bin HTTP/1.1\r\nHost: a.test\r\n\r\n"))
    for raw in slow:
        raw.until(b"\r\n\r\n")
    equal(ask(server, "/docs/").body, b"docs of a", "others are served meanwhile")
    for raw in slow[:10]:
        raw.reset()
    for raw in slow[10:19]:
        raw.close()
    holds(slow[19].take(len(BYTES)) == BYTES, "who reads on gets all of it")
    slow[19].close()
    poll(lambda: _open_files(server, "big.bin") == 0, "for the files to be closed")


def _open_files(server, name):
    folder = f"/proc/{server.process.pid}/fd"
    links = []
    for entry in os.listdir(folder):
        try:
            links.append(os.readlink(f"{folder}/{entry}"))
        except OSError:
            continue
    return sum(link.endswith(name) for link in links)


def many_requests_wait_for_few_files():
    with Server(**pages.config(ROOT, filelimit=2, threads=1)) as server:
        slow = []
        for _ in range(2):
            raw = Raw(server, "web")
            raw.send("GET /big.bin HTTP/1.1\r\nHost: a.test\r\n\r\n")
            raw.until(b"\r\n\r\n")
            slow.append(raw)
        with Raw(server, "web") as waits, Raw(server, "web") as gone:
            gone.send("GET /docs/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
            waits.send("GET /docs/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
            gone.reset()
            equal(_open_files(server, "big.bin"), 2)
            slow[0].reset()
            waits.expect("HTTP/1.1 200 OK\r\n")
        slow[1].reset()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            bodies = list(pool.map(lambda _: ask(server, "/big.bin").body == BYTES, range(32)))
        holds(all(bodies), "all were served in the end")


def a_line_that_is_full_is_told_so():
    with Server(**pages.config(ROOT, filelimit=1, queue=1)) as server:
        with Raw(server, "web") as slow, Raw(server, "web") as waits, Raw(server, "web") as late:
            slow.send("GET /big.bin HTTP/1.1\r\nHost: a.test\r\n\r\n").until(b"\r\n\r\n")
            waits.send("GET /docs/ HTTP/1.1\r\nHost: a.test\r\n\r\n")

            def is_told():
                late = ask(server, "/docs/")
                return late.status == 503

            poll(is_told, "for a refusal")
            slow.reset()
            waits.expect("HTTP/1.1 200 OK\r\n")
            late.send("GET /docs/ HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("HTTP/1.1 200 OK\r\n")


def who_takes_nothing_is_closed():
    with Server(**pages.config(ROOT, timeout="1s")) as server:
        with Raw(server, "web") as raw:
            raw.send("GET /big.bin HTTP/1.1\r\nHost: a.test\r\n\r\n").until(b"\r\n\r\n")
            poll(lambda: _open_files(server, "big.bin") == 0, "for its file to be closed")


def what_is_being_sent_when_the_server_ends_is_sent():
    with Server(**pages.config(ROOT), drain={"spread": "0s", "timeout": "20s"}) as server:
        with Raw(server, "web") as raw, Raw(server, "web") as idle:
            idle.send("GET /docs/ HTTP/1.1\r\nHost: a.test\r\n\r\n").until(b"docs of a")
            raw.send("GET /big.bin HTTP/1.1\r\nHost: a.test\r\n\r\n").until(b"\r\n\r\n")
            server.signal(signal.SIGTERM)
            idle.expect_close()
            holds(raw.take(len(BYTES)) == BYTES, "whole")
            raw.expect_close()


def a_file_that_shrinks_while_it_is_sent_ends_the_connection(server):
    path = ROOT / "a.test" / "shrinks.bin"
    path.write_bytes(BYTES)
    with Raw(server, "web") as raw:
        raw.send("GET /shrinks.bin HTTP/1.1\r\nHost: a.test\r\n\r\n").until(b"\r\n\r\n")
        os.truncate(path, 1000)
        holds(len(raw.read_all()) < len(BYTES), "it does not get what is not there")
    equal(ask(server, "/shrinks.bin").body, BYTES[:1000])


def plain_http_is_sent_to_https(server):
    port = server.port("secure")
    for path in ("/", "/a%20b?x=1&y", "//evil.test/x"):
        answer = ask(server, path, host="B.test:80", listener="redirect")
        equal((answer.status, answer["Location"]), (301, f"https://b.test:{port}{path}"))
    equal(ask(server, "/", method="HEAD", listener="redirect").status, 301)
    equal(ask(server, "/", host="c.test", listener="redirect").status, 404)
    equal(ask(server, "/", method="POST", body=b"x", listener="redirect").status, 405)


def pages_and_protocols_share_a_port(server):
    equal(ask(server, "/", host="b.test", listener="shared").body, b"this is b")
    equal(ask(server, "/healthz", listener="shared").body, b"ok\n")
    equal(ask(server, "/", host="c.test", listener="shared").status, 404)
    with WebSocket(server, "shared", path="/nats") as ws:
        equal(ws.status, 101)
        holds(ws.take_frame()[1].startswith(b"INFO {"), "NATS speaks there")
    with Raw(server, "shared") as raw:
        raw.send(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc").expect(b"\x20\x02\x00\x00")


def curl_gets_the_same_by_every_encoding(server):
    digest = hashlib.sha256(TEXT).hexdigest()
    for encoding in ("zstd", "br", "gzip", "gzip, deflate, br, zstd", "identity"):
        body = subprocess.run(
            ["curl", "-sS", "--fail", "--compressed", "-H", f"Accept-Encoding: {encoding}",
             "-H", "Host: a.test", server.url("http", "web", "/")],
            check=True, capture_output=True).stdout
        equal(hashlib.sha256(body).hexdigest(), digest, encoding)


def node_fetches_and_chats_on_one_port(server):
    with NodeClient("web.mjs") as node:
        for path, body in (("/", TEXT), ("/app.js", TEXT), ("/big.bin", BYTES)):
            got = node.call("fetch", url=server.url("http", "shared", path))
            equal(got["status"], 200)
            equal(got["sha256"], hashlib.sha256(body).hexdigest(), path)
        got = node.call("fetch", url=server.url("http", "shared", "/"),
                        headers={"Accept-Encoding": "br"})
        equal(got["encoding"], "br")
        equal(got["sha256"], hashlib.sha256(TEXT).hexdigest())
    with NodeClient("ws.mjs") as ws:
        ws.call("connect", url=server.url("ws", "shared", "/nats"), options={})
        holds(ws.call("take", size=4)["data"], "a WebSocket on the same port")


def a_domain_without_a_folder_and_a_root_that_is_not_there_are_told():
    empty = pages.sites({"a.test/index.html": "x"})
    with Server(**pages.config(empty)) as server:
        equal(ask(server, "/", host="b.test").status, 404)
    gone = Server(**pages.config("/nonexistent/root"))
    gone.spawn()
    holds(gone.wait() != 0, "it does not start")
    holds("web.root: /nonexistent/root" in gone.log(), gone.log())
    gone.remove()


def metrics_count_what_was_answered():
    with Server(**pages.config(ROOT)) as server:
        for path in ("/", "/docs", "/nothing", "/docs/"):
            ask(server, path, Accept_Encoding="br")
        ask(server, "/", listener="redirect")
        ask(server, "/", host="c.test")
        _, body = server.get("/metrics")
        for line in ('parley_web_answers_total{status="2xx"} 2',
                     'parley_web_answers_total{status="3xx"} 2',
                     'parley_web_answers_total{status="4xx"} 2',
                     'parley_web_waiting{for="files"} 0'):
            holds(line.encode() in body.splitlines(), line)
        kept, = [line for line in body.splitlines() if line.startswith(b"parley_web_cache_bytes ")]
        holds(0 < int(kept.split()[1]) < len(TEXT), kept)


def a_domain_may_be_another_name_of_a_folder_in_the_root():
    root = pages.sites({"a.test/index.html": "a", "www.a.test": ("link", "a.test"),
                        "out.test": ("link", "/etc"), "c.test": "no folder"})
    with Server(**pages.config(root, domains=["a.test", "www.a.test", "out.test", "c.test"])) as server:
        equal(ask(server, "/", host="www.a.test").body, b"a")
        equal(ask(server, "/passwd", host="out.test").status, 404)
        equal(ask(server, "/", host="c.test").status, 404)
    with Server(**pages.config(root, domains=["a.test"])) as server:
        with Raw(server, "web") as raw:
            raw.send("GET / HTTP/1.0\r\n\r\n")
            holds(raw.read_all().endswith(b"\r\n\r\na"), "one of old need not name the only one")


def gzip_is_what_the_library_of_others_reads(server):
    answer = ask(server, "/", Accept_Encoding="gzip")
    equal(answer["Content-Encoding"], "gzip")
    equal(gzip.decompress(answer.body), TEXT)
