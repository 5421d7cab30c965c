"""What tests of pages share: folders of sites, a server of these, and requests for them."""

import atexit
import http.client
import os
import pathlib
import shutil
import tempfile

from harness import TIMEOUT

TEXT = b"<p>All these words were here before.</p>\n" * 200
BYTES = bytes(range(256)) * 4096 * 12  # no text, and more than the system keeps for a socket


def sites(files):
    """A folder with these files, by path; removed at the end. A value may be ("link", target)."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="parley-pages-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            path.symlink_to(content[1])
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def config(root, *, listeners=(), **web):
    """Changes of the configuration: listeners web (plain), secure and redirect."""
    def listener(name, **more):
        return {"name": name, "address": "127.0.0.1", "port": 0, **more}

    return {
        "web": {"root": str(root), "domains": ["a.test", "b.test", "127.0.0.1"], **web},
        "listeners": [
            listener("web", web=True),
            listener("secure", web=True, tls="on"),
            listener("redirect", redirect=True),
            listener("shared", protocols=["mqtt", "nats", "wamp"], websocket=True, web=True),
            *listeners,
        ],
    }


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def __getitem__(self, name):
        return self.headers.get(name)


def ask(server, path, *, method="GET", host="a.test", listener="web", body=None, **headers):
    """One request by http.client; names of headers have _ for -."""
    connection = http.client.HTTPConnection(*server.address(listener), timeout=TIMEOUT)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host)
        for name, value in given.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def set_time(path, unix_s):
    os.utime(path, (unix_s, unix_s))
