"""Certificates from an authority: ordered, kept, renewed, with Let's Encrypt's test authority."""

from harness import equal, holds
from pebble import Pebble, Shown, cached, trusted

NAMES = ["b.example.test", "a.example.test"]


def two_names_get_one_certificate_by_tls_alpn():
    with Pebble() as pebble, pebble.server(domains=NAMES) as server:
        server.wait_log(r"certificate_issued name=b\.example\.test")
        shown = Shown(pebble.tls_port, "a.example.test")
        equal(shown.names, NAMES)
        holds("id-ecPublicKey" in shown.text and "prime256v1" in shown.text, shown.text)
        for name in NAMES:
            trusted(pebble.tls_port, name, pebble.root())
        equal(sorted(cached(server).values()), ["0o600", "0o600"])
        equal(oct((server.data / "acme").stat().st_mode & 0o777), "0o700")
