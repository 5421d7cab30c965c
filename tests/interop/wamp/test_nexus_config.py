"""nexusd's configuration file and flags, as that project ships them, serve its clients."""

import asyncio
import os
import signal
import subprocess

from autobahn.wamp.types import CallOptions, PublishOptions
from harness import SANITIZER_OPTIONS, Failure, Server, WebSocket, equal, holds
from python_peer import Peer, refused, within

_REALM = {"uri": "nexus.realm", "strict_uri": False, "allow_disclose": True, "anonymous_auth": True,
          "enable_meta_kill": True, "enable_meta_modify": True}
_SHIPPED = {
    "websocket": {"address": "127.0.0.1:0", "cert_file": "", "key_file": "", "keep_alive": 30,
                  "enable_compression": True, "enable_tracking_cookie": True,
                  "enable_request_capture": True, "allow_origins": ["*.domain.com", "example.com:8080"],
                  "out_queue_size": 16},
    "rawsocket": {"tcp_address": "127.0.0.1:0", "tcp_keepalive_interval": 180,
                  "unix_address": "nexus.sock", "max_msg_len": 0, "out_queue_size": 16},
    "log_path": "",
    "router": {"realms": [_REALM, {"uri": "second.realm", "anonymous_auth": True,
                                   "allow_disclose": True}],
               "debug": False},
}


class _Nexusd(Server):
    """parley serve with nexusd's file, or its flags."""

    def __init__(self, config=None, flags=()):
        super().__init__(config=config or "")
        self.flags = list(flags)
        self.config_file = self.folder / "nexus.json"

    def spawn(self):
        self.write_config()
        file = ["--nexus-config", str(self.config_file)] if self.config else []
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", *file, *self.flags, "--data", str(self.data),
                 "--set", "admin.enabled=false", "--ports-file", str(self.ports_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **SANITIZER_OPTIONS})
        return self


def _with(**changes):
    return {**_SHIPPED, "router": {"realms": [{**_REALM, **changes}]}}


def _join(where, realm="nexus.realm", serializer="msgpack"):
    return within(Peer(where, serializer, realm=realm).open(), "the session")


def the_file_that_nexus_ships_serves_its_realms_on_its_transports():
    async def run(server):
        ws = server.url("ws", "websocket", "/")
        a = await _join(ws)
        equal((a.details.realm, a.details.authrole, a.details.authmethod),
              ("nexus.realm", "anonymous", "anonymous"))
        b = await _join(server.url("rs", "tcp"))
        c = await _join(f"unix:{server.folder / 'nexus.sock'}", serializer="cbor")
        events = await a.watch("some.topic", match="prefix")
        for peer in (b, c):
            await within(peer.session.publish("some.topic.x", 1,
                                              options=PublishOptions(acknowledge=True)), "PUBLISHED")
            equal((await events.take()).args, (1,))
        await within(b.session.register(lambda x: x + 1, "some.procedure"), "REGISTERED")
        equal(await within(c.session.call("some.procedure", 41), "RESULT"), 42)
        # enable_meta_kill
        equal(await within(a.session.call("wamp.session.kill_by_authid", c.details.authid,
                                          reason="some.reason"), "RESULT") is not None, True)
        equal((await within(c.left, "GOODBYE")).reason, "some.reason")
        other = await _join(ws, "second.realm")
        equal((await refused(other.session.call("some.procedure", 1))).error,
              "wamp.error.no_such_procedure")
        equal((await refused(Peer(ws, "json", realm="third.realm").open())).error,
              "wamp.error.no_such_realm")
        for peer in (a, b, other):
            await peer.close()

    with _Nexusd(_SHIPPED) as server:
        asyncio.run(run(server))
        for origin, status in (("http://www.domain.com", 101), ("https://example.com:8080", 101),
                               ("https://example.com", 403)):
            with WebSocket(server, "websocket", protocol="wamp.2.json",
                           headers=[f"Origin: {origin}"]) as ws:
                equal(ws.status, status, origin)
                equal("Set-Cookie: nexus-wamp-cookie=" in ws.head, status == 101)


def flags_alone_are_nexusd_without_a_file():
    async def run(server):
        for where in (server.url("ws", "websocket"), server.url("rs", "tcp")):
            peer = await _join(where, "flag.realm")
            equal(peer.details.realm, "flag.realm")
            await peer.close()

    with _Nexusd(flags=["--realm", "flag.realm", "--ws", "127.0.0.1:0", "--tcp", ":0"]) \
            as server:
        asyncio.run(run(server))


def unknown_keys_and_those_without_a_meaning_are_told():
    config = _with(require_local_auth=True, colour="red")
    config["surprise"] = 1
    with _Nexusd(config) as server:
        for line in (r"nexus\.json:\d+: surprise: is no key of nexus",
                     r"nexus\.json:\d+: router\.realms\.colour: is no key of nexus",
                     r"nexus\.json:\d+: router\.realms\.require_local_auth: has no meaning here",
                     r"nexus\.json:\d+: websocket\.out_queue_size: has no meaning here"):
            server.wait_log(line)


def event_history_is_kept_and_has_nexus_names():
    async def run(server):
        a = await _join(server.url("ws", "websocket"))
        for i in range(5):
            await within(a.session.publish("hist.exact", i, options=PublishOptions(acknowledge=True)),
                         "PUBLISHED")
        subscription = await a.watch("hist.exact")
        got = await within(a.session.call("wamp.subscription.get_events", subscription.subscription.id,
                                          options=CallOptions()), "the history")
        entries = getattr(got, "results", None) or (got,)
        entries = entries[0] if isinstance(entries[0], list) else entries
        holds(len(entries) == 3, f"three entries, not {entries}")
        holds("Arguments" in entries[0], f"nexus' names in {entries[0]}")
        await a.close()

    history = [{"topic": "hist.exact", "match": "exact", "limit": 3},
               {"topic": "hist.pre", "match": "prefix", "limit": 10},
               {"topic": "hist..c", "match": "wildcard", "limit": 10}]
    with _Nexusd(_with(event_history=history)) as server:
        asyncio.run(run(server))


def what_cannot_be_served_is_one_line():
    for config, text in (({}, "neither websocket.address nor rawsocket"),
                         ({"websocket": {"address": "nowhere"}}, "expected host:port"),
                         ({"websocket": {"address": ":0"}, "router": {"realms": [{}]}}, "a realm has a uri")):
        server = _Nexusd({"websocket": {}, **config})
        try:
            server.spawn()
            equal(server.wait(), 2)
            holds(text in server.log(), server.log())
        except Failure:
            raise
        finally:
            server.remove()


def a_reload_and_a_check_read_it_too():
    with _Nexusd(_SHIPPED) as server:
        server.signal(signal.SIGHUP)
        server.wait_log(r" reloaded ")
        equal(subprocess.run([server.binary, "check", "--nexus-config", str(server.config_file)],
                             check=False, capture_output=True,
                             env={**os.environ, **SANITIZER_OPTIONS}).returncode, 0)
