"""autobahn-js (npm autobahn): every feature that it has, over every transport and serializer of it."""

from harness import Server, default_config
from walks import walk

SECONDS_MAX = 240
STEPS = 43

CONFIG = {"listeners": [*default_config()["listeners"],
                        {"name": "unix", "unix": "wamp.sock", "protocols": ["wamp"]}]}


def _websocket(server, serializer, scheme="ws", listener="wamp"):
    walk("walk_autobahn.mjs", STEPS, serializer=serializer,
         transport={"type": "websocket", "url": server.url(scheme, listener, "/ws")})


def autobahn_js_walks_every_feature_over_websocket_in_json(server):
    _websocket(server, "json")


def autobahn_js_walks_every_feature_over_websocket_in_messagepack(server):
    _websocket(server, "msgpack")


def autobahn_js_walks_every_feature_over_websocket_in_cbor(server):
    _websocket(server, "cbor")


def autobahn_js_walks_every_feature_over_tls_on_the_shared_port(server):
    _websocket(server, "msgpack", "wss", "wss")


def autobahn_js_walks_every_feature_over_rawsocket(server):
    host, port = server.address("rawsocket")
    walk("walk_autobahn.mjs", STEPS, serializer="json",
         transport={"type": "rawsocket", "host": host, "port": port})


def autobahn_js_walks_every_feature_over_a_unix_socket(server):
    walk("walk_autobahn.mjs", STEPS, serializer="json",
         transport={"type": "rawsocket", "path": str(server.folder / "wamp.sock")})


def autobahn_js_walks_what_is_configured_in_each_serializer():
    with Server(wamp={"meta_kill": True, "meta_modify": True},
                history=[{"subject": "kept.>", "limit": 5}]) as server:
        for serializer in ("json", "msgpack", "cbor"):
            walk("walk_autobahn.mjs", STEPS + 4, serializer=serializer, configured=True,
                 transport={"type": "websocket", "url": server.url("ws", "wamp", "/ws")})
