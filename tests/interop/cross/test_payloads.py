"""What a payload of one protocol is in the others, as a table: the page docs/reference/subjects.md
tells the same."""

import json

from clients import Autobahn, IoRedis, MqttJs, Nats
from harness import Server, WebSocket, equal, holds

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
            IoRedis(server.address("redis")) as redis, _wamp(server, "json") as text, \
            _wamp(server, "msgpack") as msgpack, _wamp(server, "cbor") as cbor:
        for wamp in (text, msgpack, cbor):
            wamp.subscribe("to.wamp")
        for data, args in TO_WAMP:
            nats.publish("to.wamp", data)
            mqtt.publish("to/wamp", data)
            redis.publish("to.wamp", data)
            for wamp in (text, msgpack, cbor):
                for _ in range(3):
                    wamp.expect("to.wamp", args, kwargs={})
        nats.publish("to.wamp", b'{"args":[1],"kwargs":{"k":[2]}}')
        for wamp in (text, msgpack, cbor):
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
    with _wamp(server, "json") as text, _wamp(server, "msgpack") as msgpack, \
            _wamp(server, "cbor") as cbor:
        everyone = (text, msgpack, cbor)
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


def headers_of_others_are_details_of_an_event(server):
    with Nats(server.url("nats", "nats")) as nats, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as mqtt, \
            WebSocket(server, "shared", protocol="wamp.2.json") as raw:
        def ask(message):
            raw.send_frame(1, json.dumps(message))
            return json.loads(raw.take_frame()[1])

        equal(ask([1, "realm1", {"roles": {"subscriber": {}}}])[0], 2)
        equal(ask([32, 1, {}, "headed.by.others"])[0], 33)
        nats.publish("headed.by.others", "x", headers=[["trace", "abc"], ["Content-Type", "a/b"]])
        mqtt.publish("headed/by/others", "y", properties={"userProperties": {"trace": "def"}})
        for trace, argument in (("abc", "x"), ("def", "y")):
            event = json.loads(raw.take_frame()[1])
            equal((event[0], event[3], event[4]), (36, {"x_trace": trace}, [argument]))


def a_value_that_wamp_retains_is_had_by_a_late_mqtt_subscriber_and_the_other_way_round(server):
    with _wamp(server, "cbor") as wamp, MqttJs(server.url("mqtt", "mqtt")) as mqtt:
        wamp.publish("kept.by.wamp", "v1", options={"retain": True})
        mqtt.subscribe("kept/by/wamp")
        equal(mqtt.expect("kept/by/wamp", b"v1").retain, True)
        mqtt.publish("kept/by/mqtt", "v2", retain=True)
        wamp.subscribe("kept.by.mqtt", get_retained=True)
        wamp.expect("kept.by.mqtt", ["v2"], details={"retained": True})


# One row of each kind, for what is kept: WAMP's arguments, and the bytes.
KEPT = [(["text"], {}, b"text"), ([b"\x00\xff"], {}, b"\x00\xff"), ([7], {}, b"7"),
        ([{"a": [1]}], {}, b'{"a":[1]}'), ([1, 2], {"k": "v"}, b'{"args":[1,2],"kwargs":{"k":"v"}}')]


def a_retained_value_is_the_same_as_a_live_one(server):
    with _wamp(server, "msgpack") as wamp, MqttJs(server.url("mqtt", "mqtt")) as mqtt, \
            _wamp(server, "cbor") as cbor, _wamp(server, "json") as text:
        for number, (args, kwargs, data) in enumerate(KEPT):
            wamp.publish(f"kept.row.{number}", *args, options={"retain": True}, **kwargs)
            mqtt.subscribe(f"kept/row/{number}")
            mqtt.expect(f"kept/row/{number}", data, retain=True)
            for late in (text, cbor):
                late.subscribe(f"kept.row.{number}", get_retained=True)
                late.expect(f"kept.row.{number}", args, kwargs=kwargs, details={"retained": True})


def no_arguments_clear_a_retained_value_as_an_empty_payload_does(server):
    with _wamp(server) as wamp, MqttJs(server.url("mqtt", "mqtt")) as mqtt, \
            MqttJs(server.url("mqtt", "mqtt")) as late:
        mqtt.publish("cleared/value", "old", retain=True)
        mqtt.publish("cleared/other", "stays", retain=True)
        wamp.publish("cleared.value", options={"retain": True})
        late.subscribe("cleared/#")
        late.expect("cleared/other", "stays")


def history_is_told_to_mqtt_and_wamp_as_it_was_live():
    with Server(history=[{"subject": "log.>", "limit": 100}]) as server, \
            _wamp(server, "cbor") as wamp, MqttJs(server.url("mqtt", "mqtt")) as old, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as mqtt, \
            _wamp(server, "msgpack") as reader:
        for args, kwargs, _ in KEPT:
            wamp.publish("log.a", *args, **kwargs)
        for data, _ in TO_WAMP:
            old.publish("log/a", data)
        mqtt.subscribe("log/#", properties={"userProperties": {"parley-since": "all"}})
        for _, _, data in KEPT:
            mqtt.expect("log/a", data)
        for data, _ in TO_WAMP:
            mqtt.expect("log/a", data)
        reader.subscribe("log.a")
        number = reader.ask("wamp.subscription.lookup", "log.a")["args"][0]
        events = reader.ask("wamp.subscription.get_events", number)["args"]
        told = [(event.get("args") or [], event.get("kwargs") or {}) for event in events]
        equal(told, [(args, kwargs) for args, kwargs, _ in KEPT] + [(args, {}) for _, args in TO_WAMP])


def a_listener_of_wamp_may_fix_how_payloads_become_arguments():
    rows = [(b"21.5", 21.5), (b'{"a":1}', {"a": 1}), (b"plain", "plain"), (b"\xff", b"\xff")]
    for rule in ("raw", "json"):
        with Server(wamp={"payload": rule}) as server, Nats(server.url("nats", "nats")) as nats, \
                _wamp(server, "msgpack") as wamp:
            wamp.subscribe("fixed.rule")
            for data, value in rows:
                nats.publish("fixed.rule", data)
                if rule == "raw" and data != b"\xff":
                    value = data.decode()
                wamp.expect("fixed.rule", [value])


def a_content_type_says_that_a_payload_is_json(server):
    with Nats(server.url("nats", "nats")) as nats, _wamp(server) as wamp, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as mqtt:
        wamp.subscribe("typed.payload")
        nats.publish("typed.payload", b"21.5", headers=[["Content-Type", "application/x-wamp+json"]])
        wamp.expect("typed.payload", [21.5])
        mqtt.publish("typed/payload", b"true", properties={"contentType": "application/x-wamp+json"})
        wamp.expect("typed.payload", [True])
        mqtt.publish("typed/payload", b"true")
        wamp.expect("typed.payload", ["true"])


def bytes_of_one_protocol_are_never_changed_for_another(server):
    """What looks like arguments, or like a binary of JSON, is bytes between those that know none."""
    with Nats(server.url("nats", "nats")) as nats, MqttJs(server.url("mqtt", "mqtt")) as mqtt, \
            IoRedis(server.address("redis")) as redis:
        nats.subscribe("un.changed")
        redis.subscribe("un.changed")
        for data in (b'{"args":[1],"kwargs":{}}', b'"\\u0000AP8="', b"[ 1 , 2 ]", b"\x00AP8=", b"\xff"):
            mqtt.publish("un/changed", data)
            nats.expect("un.changed", data)
            redis.expect("un.changed", data)
