"""Compressed pages: found beside the original, or made once; and what a browser keeps of them."""

import concurrent.futures
import gzip
import os
import subprocess
import time

from harness import Raw, Server, equal, holds

import pages
from pages import TEXT, ask


def _root(**more):
    return pages.sites({"a.test/page.html": TEXT, "a.test/app.js": TEXT, "a.test/photo.jpg": TEXT,
                        "a.test/tiny.txt": "tiny", "a.test/model.svgz": gzip.compress(TEXT),
                        **{f"a.test/{name.replace('_', '.')}": body
                           for name, body in more.items()}})


def the_client_says_which_encoding_it_gets():
    with Server(**pages.config(_root())) as server:
        for accept, encoding in (
                ("zstd", "zstd"), ("br", "br"), ("gzip", "gzip"), ("gzip, br", "br"),
                ("gzip, deflate, br, zstd", "zstd"), ("gzip;q=1, br;q=0.5", "gzip"),
                ("br;q=0, gzip;q=0", None), ("identity", None), ("deflate", None), ("*", "zstd"),
                ("identity, br;q=0.1", None)):
            answer = ask(server, "/page.html", Accept_Encoding=accept)
            equal(answer["Content-Encoding"], encoding, accept)
            equal(answer["Vary"], "Accept-Encoding")
            equal(int(answer["Content-Length"]), len(answer.body))
            holds((len(answer.body) < len(TEXT)) == (encoding is not None), accept)
        equal(ask(server, "/photo.jpg", Accept_Encoding="br")["Content-Encoding"], None)
        equal(ask(server, "/photo.jpg", Accept_Encoding="br")["Vary"], None)
        equal(ask(server, "/tiny.txt", Accept_Encoding="br")["Content-Encoding"], None)
        answer = ask(server, "/model.svgz", Accept_Encoding="br")
        equal((answer["Content-Type"], answer["Content-Encoding"]), ("image/svg+xml", "gzip"))
        equal(gzip.decompress(answer.body), TEXT)


def each_form_has_its_own_tag_and_is_not_sent_twice():
    with Server(**pages.config(_root())) as server:
        tags = set()
        for accept in ("identity", "gzip", "br", "zstd"):
            tag = ask(server, "/page.html", Accept_Encoding=accept)["ETag"]
            holds(tag.startswith('"'), f"{tag} is strong")
            tags.add(tag)
            again = ask(server, "/page.html", Accept_Encoding=accept, If_None_Match=tag)
            equal((again.status, again["ETag"], again["Vary"]), (304, tag, "Accept-Encoding"))
        equal(len(tags), 4)


def a_file_beside_the_original_is_taken_unless_it_is_older():
    root = _root(page_html_br=b"this is brotli", page_html_gz=b"this is gzip")
    now = int(time.time())
    pages.set_time(root / "a.test/page.html", now - 100)
    pages.set_time(root / "a.test/page.html.br", now - 100)
    pages.set_time(root / "a.test/page.html.gz", now - 50)
    with Server(**pages.config(root)) as server:
        answer = ask(server, "/page.html", Accept_Encoding="br")
        equal((answer.body, answer["Content-Encoding"]), (b"this is brotli", "br"))
        equal(answer["Content-Type"], "text/html; charset=utf-8")
        equal(ask(server, "/page.html", Accept_Encoding="gzip").body, b"this is gzip")
        equal(ask(server, "/page.html").body, TEXT)
        pages.set_time(root / "a.test/page.html", now - 60)
        stale = ask(server, "/page.html", Accept_Encoding="br")
        holds(stale.body != b"this is brotli" and stale["Content-Encoding"] == "br", "made anew")
        equal(ask(server, "/page.html", Accept_Encoding="gzip").body, b"this is gzip")
        (root / "a.test/page.html.gz").unlink()
        (root / "a.test/page.html.gz").symlink_to("/etc/passwd")
        answer = ask(server, "/page.html", Accept_Encoding="gzip")
        equal(gzip.decompress(answer.body), TEXT, "a link out of the site is not taken")


def a_page_that_changes_is_new_in_every_encoding():
    root = _root()
    page = root / "a.test/page.html"
    with Server(**pages.config(root)) as server:
        old = {accept: ask(server, "/page.html", Accept_Encoding=accept)
               for accept in ("identity", "gzip")}
        page.write_bytes(TEXT.replace(b"before", b"after"))
        pages.set_time(page, int(time.time()) + 5)
        for accept, before in old.items():
            after = ask(server, "/page.html", Accept_Encoding=accept, If_None_Match=before["ETag"],
                        If_Modified_Since=before["Last-Modified"])
            equal(after.status, 200)
            body = gzip.decompress(after.body) if accept == "gzip" else after.body
            holds(b"after" in body and b"before" not in body, accept)
        part = ask(server, "/page.html", Range="bytes=0-1", If_Range=old["identity"]["ETag"])
        equal(part.status, 200, "a part of the old page is the whole of the new one")
        os.unlink(page)
        equal(ask(server, "/page.html", Accept_Encoding="gzip").status, 404)


def without_a_cache_only_what_lies_there_is_compressed():
    root = _root(app_js_br=b"beside")
    with Server(**pages.config(root, compression_cache=0)) as server:
        equal(ask(server, "/page.html", Accept_Encoding="br")["Content-Encoding"], None)
        equal(ask(server, "/app.js", Accept_Encoding="br").body, b"beside")


def what_does_not_fit_is_sent_plain():
    large = b"".join(b"%d and so on\n" % (i * i) for i in range(20_000))
    root = _root(large_txt=large)
    with Server(**pages.config(root, compression_cache="20K", compress="200K")) as server:
        equal(ask(server, "/large.txt", Accept_Encoding="br").body, large, "over web.compress")
    with Server(**pages.config(root, compression_cache="20K")) as server:
        ask(server, "/large.txt", Accept_Encoding="br")
        equal(ask(server, "/large.txt", Accept_Encoding="br").body, large, "over half of the cache")
        equal(ask(server, "/page.html", Accept_Encoding="br")["Content-Encoding"], "br")


def many_ask_at_once_for_what_is_not_made_yet():
    large = b"".join(b"%d and so on\n" % (i * i) for i in range(100_000))
    with Server(**pages.config(_root(large_txt=large), threads=4)) as server:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(
                lambda _: ask(server, "/large.txt", Accept_Encoding="gzip"), range(32)))
        for answer in answers:
            body = answer.body
            if answer["Content-Encoding"]:
                body = gzip.decompress(body)
            holds(body == large, "each got the whole, in one form or the other")
        equal(ask(server, "/large.txt", Accept_Encoding="gzip")["Content-Encoding"], "gzip")


def a_browser_may_be_told_how_long_a_page_is_good():
    with Server(**pages.config(_root(), max_age="1h")) as server:
        equal(ask(server, "/page.html")["Cache-Control"], "public, max-age=3600")
        equal(ask(server, "/nothing.html")["Cache-Control"], None)


def hidden_names_are_served_if_asked_for():
    root = pages.sites({"a.test/.dot": "dot"})
    with Server(**pages.config(root, hidden=True)) as server:
        equal(ask(server, "/.dot").body, b"dot")
        equal(ask(server, "/../.dot").status, 404)


def new_connections_of_an_address_are_limited_together():
    with Server(**pages.config(_root(), rate_limit=5)) as server:
        open_ones = []
        for listener in ("web", "redirect", "web", "secure", "web"):
            raw = Raw(server, listener)
            open_ones.append(raw)
        open_ones[0].send("GET /tiny.txt HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("HTTP/1.1 200")
        for listener in ("web", "redirect", "secure"):
            with Raw(server, listener) as raw:
                raw.expect_close()
        open_ones[0].until(b"tiny")
        open_ones[0].send("GET /tiny.txt HTTP/1.1\r\nHost: a.test\r\n\r\n").until(b"tiny")
        status, body = server.get("/metrics")
        equal(status, 200)
        holds(b'reason="address_rate"} 3' in body or b'address_rate"} 3\n' in body,
              [line for line in body.splitlines() if b"refused" in line])
        for raw in open_ones:
            raw.close()


def who_asks_and_does_not_read_is_not_read_from():
    config = pages.config(_root())
    for listener in config["listeners"]:
        listener["client"] = {"output": "100K"}
    with Server(**config) as server:
        with Raw(server, "web") as raw:
            raw.socket.settimeout(1)
            ask_for = b"GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n" * 1000
            sent = 0
            try:
                while sent < 100_000_000:
                    sent += raw.socket.send(ask_for)
            except TimeoutError:
                pass
            holds(sent < 50_000_000, f"{sent} bytes were taken")
            holds(server.rss() < 400 << 20, f"{server.rss() >> 20} MB")
            raw.socket.settimeout(15)
            for _ in range(1000):
                raw.expect("HTTP/1.1 404 ").until(b"Not Found\n")


def every_page_of_https_has_hsts():
    root = _root()
    with Server(**pages.config(root, hsts="365d")) as server:
        for path in ("/page.html", "/nothing", "/app.js"):
            done = subprocess.run(
                ["curl", "-sS", "-k", "-i", "-H", "Host: a.test",
                 server.url("https", "secure", path)], check=True, capture_output=True)
            holds(b"Strict-Transport-Security: max-age=31536000\r\n" in done.stdout, done.stdout)
