"""A server behind ours: it tells what it was asked, or does what the path says."""

import contextlib
import http.server
import json
import socket
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "upstream", ""

    def log_message(self, *_):
        pass

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)

    def _echo(self):
        body = self._body()
        told = {"method": self.command, "path": self.path, "headers": list(self.headers.items()),
                "body": body.decode("latin-1"), "peer": self.client_address[1]}
        self._answer(200, json.dumps(told).encode(), [("Content-Type", "application/json")])

    def _cookies(self):
        self._answer(201, b"two", [
            ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("X-Empty", ""),
            ("Connection", "X-Private"), ("X-Private", "no"), ("Keep-Alive", "timeout=5"),
            ("X-Kept", "yes")])

    def _chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", "X-Late")
        self.end_headers()
        for piece in (b"one ", b"two ", b"x" * 100_000):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\nX-Late: yes\r\n\r\n")

    def _until_close(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"until the end")
        self.close_connection = True

    def _broken(self):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"short")
        self.close_connection = True

    def _interim(self):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n")
        self._answer(200, b"after hints")

    def _large(self):
        self._answer(200, b"y" * 2_000_000)

    def _nothing(self):
        self._answer(204, None)

    def _unchanged(self):
        self._answer(304, None, [("ETag", '"x"')])

    def _hangs(self):
        self.server.asked.set()
        self.server.released.wait(60)
        self._answer(200, b"late")

    def _garbage(self):
        self.wfile.write(b"this is no HTTP\r\n\r\n")
        self.close_connection = True

    def _any(self):
        name = self.path.partition("?")[0].rpartition("/")[2]
        getattr(self, f"_{name}", self._echo)()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_BREW = _any


class _Upstream(http.server.ThreadingHTTPServer):
    daemon_threads = True


@contextlib.contextmanager
def upstream():
    """Has `.url`, `.asked` (set when /hangs is), `.released` (to be set, so that it answers)."""
    server = _Upstream(("127.0.0.1", 0), _Handler)
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.asked, server.released = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
