"""wampy (npm): every feature that it has, over every serializer of it, compressed too."""

from walks import walk

SECONDS_MAX = 240
STEPS = 27


def _walk(server, serializer, scheme="ws", listener="wamp", **more):
    walk("walk_wampy.mjs", STEPS, serializer=serializer, url=server.url(scheme, listener, "/ws"),
         **more)


def wampy_walks_every_feature_in_json(server):
    _walk(server, "json")


def wampy_walks_every_feature_in_messagepack(server):
    _walk(server, "msgpack")


def wampy_walks_every_feature_in_cbor(server):
    _walk(server, "cbor")


def wampy_walks_every_feature_in_compressed_json(server):
    _walk(server, "json", deflate=True)


def wampy_walks_every_feature_in_compressed_cbor_over_tls(server):
    _walk(server, "cbor", "wss", "wss", deflate=True)
