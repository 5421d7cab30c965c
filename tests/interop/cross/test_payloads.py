"""What a payload of one protocol is in the others, as a table: the page docs/reference/subjects.md
tells the same."""

from clients import Autobahn, IoRedis, MqttJs, Nats
from harness import equal, holds

SECONDS_MAX = 120
SERIALIZERS = ("json", "msgpack", "cbor")

# Bytes of protocols without arguments, and the arguments that a WAMP client gets.
TO_WAMP = [
    (b"21.5", ["21.5"]),
    (b"hello", ["hello"]),
    ("grüße".encode(), ["grüße"]),
    (b"", []),
    (b'{"a":[1,null,true,"x"]}', [{"a": [1, None, True, "x"]}]),
    (b"[1,2.5]", [[1, 2.5]]),
    (b"{not json", ["{not json"]),
    (b"\x00\xff\xfe", [b"\x00\xff\xfe"]),
    (b'{"args":[1,"two"],"kwargs":{}}', [1, "two"]),
]

# Arguments, keywords, and the bytes that the others get.
FROM_WAMP = [
    (["hello"], {}, b"hello"),
    (["grüße"], {}, "grüße".encode()),
    ([b"\x00\xff\xfe"], {}, b"\x00\xff\xfe"),
    ([], {}, b""),
    ([21.5], {}, b"21.5"),
    ([True], {}, b"true"),
    ([{"a": [1, None, "x"]}], {}, b'{"a":[1,null,"x"]}'),
    ([[1, 2]], {}, b"[1,2]"),
    ([1, "two"], {}, b'{"args":[1,"two"],"kwargs":{}}'),
    ([], {"k": "v"}, b'{"args":[],"kwargs":{"k":"v"}}'),
    (["a"], {"k": 1}, b'{"args":["a"],"kwargs":{"k":1}}'),
]


def _wamp(server, serializer="json"):
    return Autobahn(server.url("ws", "shared"), serializer)


def what_nats_mqtt_and_redis_publish_is_arguments_in_every_serializer(server):
    with Nats(server.url("nats", "nats")) as nats, MqttJs(server.url("mqtt", "mqtt")) as mqtt, \
            IoRedis(server.address("redis")) as redis, _wamp(server, "json") as json, \
            _wamp(server, "msgpack") as msgpack, _wamp(server, "cbor") as cbor:
        for wamp in (json, msgpack, cbor):
            wamp.subscribe("to.wamp")
        for data, args in TO_WAMP:
            nats.publish("to.wamp", data)
            mqtt.publish("to/wamp", data)
            redis.publish("to.wamp", data)
            for wamp in (json, msgpack, cbor):
                for _ in range(3):
                    wamp.expect("to.wamp", args, kwargs={})
        nats.publish("to.wamp", b'{"args":[1],"kwargs":{"k":[2]}}')
        for wamp in (json, msgpack, cbor):
            wamp.expect("to.wamp", [1], kwargs={"k": [2]})


def what_wamp_publishes_is_the_same_bytes_for_everyone(server):
    with Nats(server.url("nats", "nats")) as nats, IoRedis(server.address("redis")) as redis, \
            MqttJs(server.url("mqtt", "mqtt")) as old, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as new:
        nats.subscribe("from.wamp")
        redis.subscribe("from.wamp")
        for mqtt in (old, new):
            mqtt.subscribe("from/wamp", qos=1)
        for serializer in SERIALIZERS:
            with _wamp(server, serializer) as wamp:
                for args, kwargs, data in FROM_WAMP:
                    wamp.publish("from.wamp", *args, **kwargs)
                    nats.expect("from.wamp", data, headers=[])
                    redis.expect("from.wamp", data)
                    for mqtt in (old, new):
                        mqtt.expect("from/wamp", data)


def arguments_cross_serializers_unharmed(server):
    with _wamp(server, "json") as json, _wamp(server, "msgpack") as msgpack, \
            _wamp(server, "cbor") as cbor:
        everyone = (json, msgpack, cbor)
        for wamp in everyone:
            wamp.subscribe("across.serializers")
        args = ["text", 0, -1, 2**31, 1.5, True, None, [], {}, [[1], {"a": {"b": b"\x01\x00"}}],
                b"\x00\x01\x02", "\u20ac\U0001f600"]
        for publisher in everyone:
            publisher.publish("across.serializers", *args, named=args)
            for wamp in everyone:
                wamp.expect("across.serializers", args, kwargs={"named": args})


def text_is_told_as_text_and_bytes_are_not(server):
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as mqtt, \
            _wamp(server, "msgpack") as wamp:
        mqtt.subscribe("told/as")
        wamp.publish("told.as", "text")
        equal(mqtt.next().properties.get("payloadFormatIndicator"), True)
        wamp.publish("told.as", b"\xff")
        holds("payloadFormatIndicator" not in mqtt.next().properties, "bytes are no text")


def headers_cross_as_details(server):
    with Nats(server.url("nats", "nats")) as nats, _wamp(server) as wamp, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as mqtt:
        nats.subscribe("with.headers")
        mqtt.subscribe("with/headers")
        wamp.publish("with.headers", "x", options={"x_trace": "abc"})
        equal(nats.next().headers, [["trace", "abc"]])
        equal(mqtt.next().properties["userProperties"], {"trace": "abc"})


def a_value_that_wamp_retains_is_had_by_a_late_mqtt_subscriber_and_the_other_way_round(server):
    with _wamp(server, "cbor") as wamp, MqttJs(server.url("mqtt", "mqtt")) as mqtt:
        wamp.publish("kept.by.wamp", "v1", options={"retain": True})
        mqtt.subscribe("kept/by/wamp")
        equal(mqtt.expect("kept/by/wamp", b"v1").retain, True)
        mqtt.publish("kept/by/mqtt", "v2", retain=True)
        wamp.subscribe("kept.by.mqtt", get_retained=True)
        wamp.expect("kept.by.mqtt", ["v2"], details={"retained": True})
