"""Let's Encrypt's own test authority, on loopback: pebble and pebble-challtestsrv of Debian."""

import contextlib
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request

from harness import Certificates, Failure, Process, Server, Skip, poll
from peers import free_port


class Pebble:
    """An authority that resolves every name to 127.0.0.1 and looks at one port.

        with Pebble() as pebble, pebble.server(domains=["a.test"]) as server: …
    """

    def __init__(self, *, validity=None, nonce_reject=0, authz_reuse=0, bindings=None):
        if not shutil.which("pebble") or not shutil.which("pebble-challtestsrv"):
            raise Skip("there is no pebble")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-pebble-"))
        self.tls_port, self.http_port = free_port(), free_port()
        self.port, self.management_port = free_port(), free_port()
        self.dns_port, self.dns_management_port = free_port(), free_port()
        self.certificates = Certificates()
        self.validity = validity
        self.bindings = bindings  # id → key, in base64url
        self.env = {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
            "PEBBLE_AUTHZREUSE": str(authz_reuse),
        }
        self.processes = []

    def start(self):
        self.dns = Process([
            "pebble-challtestsrv", "-dns01", f"127.0.0.1:{self.dns_port}",
            "-management", f"127.0.0.1:{self.dns_management_port}", "-http01", "", "-https01", "",
            "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""], merge_stderr=True)
        self._wait_for(self.dns_management_port, self.dns)
        self.start_authority()
        return self

    def start_authority(self):
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(self.certificates.certificate),
            "privateKey": str(self.certificates.key),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
        }
        if self.validity:
            config["certificateValidityPeriod"] = self.validity
        if self.bindings:
            config["externalAccountBindingRequired"] = True
            config["externalAccountMACKeys"] = self.bindings
        file = self.folder / "pebble.json"
        file.write_text(json.dumps({"pebble": config}))
        self.authority = Process(
            ["pebble", "-config", file, "-dnsserver", f"127.0.0.1:{self.dns_port}"],
            merge_stderr=True, env=self.env)
        self._wait_for(self.port, self.authority)

    def stop_authority(self):
        self.authority.process.kill()
        self.authority.close()

    @staticmethod
    def _wait_for(port, process):
        def answers():
            if process.process.poll() is not None:
                raise Failure(f"{process.command[0]} ended: {process.lines.seen}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return False
        poll(answers, f"for {process.command[0]}")

    def _dns(self, what, **body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dns_management_port}/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def point(self, name, address):
        """The name is at this address from now on."""
        self._dns("add-a", host=f"{name}.", addresses=[address])

    def point_back(self, name):
        self._dns("clear-a", host=f"{name}.")

    def root(self):
        """The authority's own certificate, PEM."""
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with opener.open(f"https://127.0.0.1:{self.management_port}/roots/0", timeout=10) as answer:
            return answer.read().decode()

    def logged(self, text):
        """How often it has said that so far."""
        return sum(text.encode() in line for line in self.lines())

    def lines(self):
        queue = self.authority.lines.queue
        while not queue.empty():
            line = queue.get()
            if line is not None:
                self.authority.lines.seen.append(line)
        return self.authority.lines.seen

    def config(self, **acme):
        """The configuration of a server whose certificates come from here."""
        every = ["mqtt", "redis", "wamp"]
        place = {"address": "127.0.0.1", "protocols": every, "websocket": True}
        return {
            "threads": 2,
            "admin": {"address": "127.0.0.1", "port": 0},
            "drain": {"spread": "0s", "timeout": "2s"},
            "acme": {
                "directory": f"https://127.0.0.1:{self.port}/dir",
                "ca": str(self.certificates.ca),
                "email": ["admin@example.test"],
                "backoff": "200ms",
                **acme,
            },
            "listeners": [
                {"name": "tls", "port": self.tls_port, "tls": "on", **place},
                {"name": "web", "port": self.http_port, **place},
            ],
        }

    def server(self, *, data=None, files=None, **acme):
        return Server(config=self.config(**acme), data=data, files=files, env={"no_proxy": "*"})

    def close(self):
        for process in (self.authority, self.dns):
            process.process.kill()
            process.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            for name in ("authority", "dns"):
                if hasattr(self, name):
                    getattr(self, name).process.kill()
            raise

    def __exit__(self, *_):
        self.close()


class Shown:
    """What a listener shows to who asks for a name: names, serial, expires; unchecked."""

    def __init__(self, port, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), 10) as raw, \
                context.wrap_socket(raw, server_hostname=name) as tls:
            der = tls.getpeercert(binary_form=True)
        text = subprocess.run(
            ["openssl", "x509", "-inform", "DER", "-noout", "-text", "-serial"], input=der,
            stdout=subprocess.PIPE, check=True).stdout.decode()
        self.text = text
        self.serial = text.rsplit("serial=", 1)[1].strip()
        line = text.partition("Subject Alternative Name:")[2].splitlines()
        self.names = [part.strip().removeprefix("DNS:") for part in line[1].split(",")] if line else []


def trusted(port, name, root):
    """A handshake that checks everything; the peer's certificate."""
    context = ssl.create_default_context(cadata=root)
    with socket.create_connection(("127.0.0.1", port), 10) as raw, \
            context.wrap_socket(raw, server_hostname=name) as tls:
        return tls.getpeercert()


def cached(server):
    """Names and modes of what the cache folder has."""
    folder = server.data / "acme"
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}

