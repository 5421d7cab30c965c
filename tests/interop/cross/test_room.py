"""One room for four protocols: everyone hears everyone, and who comes later is given what was said."""

from clients import Autobahn, Mles, MqttJs, Nats
from harness import Server, equal

SECONDS_MAX = 120


def _room(**more):
    return Server(client={"replay": "history"}, **more)


def four_protocols_talk_in_one_room_and_late_joiners_hear_the_past():
    with _room() as server, Mles(server.url("ws", "shared"), "mila", "room.1") as mles:
        url = server.url("mqtt", "mqtt")
        mles.say("from mles")
        mles.say(b"\x00\xff")
        with MqttJs(url, protocolVersion=5) as mqtt:
            mqtt.subscribe("room/1", qos=1)
            told = mqtt.expect("room/1", "from mles")
            equal(told.properties["userProperties"], {"mles-uid": "mila", "mles-frame": "text"})
            mqtt.expect("room/1", b"\x00\xff")
            mqtt.publish("room/1", "from mqtt", properties={"payloadFormatIndicator": True})
            mles.hears("from mqtt")
            mqtt.expect("room/1", "from mqtt")
            with Nats(server.url("nats", "nats")) as nats:
                nats.subscribe("room.1")
                for said in ("from mles", b"\x00\xff", "from mqtt"):
                    nats.expect("room.1", said)
                nats.publish("room.1", b"from nats")
                mles.hears(b"from nats")
                mqtt.expect("room/1", "from nats")
                nats.expect("room.1", "from nats")
                with Autobahn(server.url("ws", "shared")) as wamp:
                    wamp.subscribe("room.1")
                    wamp.expect("room.1", ["from mles"])
                    wamp.expect("room.1", [b"\x00\xff"])
                    wamp.expect("room.1", ["from mqtt"])
                    wamp.expect("room.1", ["from nats"])
                    wamp.publish("room.1", "from wamp")
                    mles.hears("from wamp")
                    mqtt.expect("room/1", "from wamp")
                    nats.expect("room.1", "from wamp")
                    wamp.publish("room.1", b"\x01\x02")
                    wamp.publish("room.1", {"a": 1})
                    mles.hears(b"\x01\x02", '{"a":1}')
                    with Mles(server.url("ws", "shared"), "late", "room.1") as late:
                        late.hears(mles.header, "from mles", b"\x00\xff", "from mqtt", b"from nats",
                                   "from wamp", b"\x01\x02", '{"a":1}')
                        late.say("everyone?")
                        for other, name in ((mqtt, "room/1"), (nats, "room.1")):
                            for said in (b"\x01\x02", '{"a":1}', "everyone?"):
                                other.expect(name, said)
                        for said in ("from wamp", b"\x01\x02", {"a": 1}, "everyone?"):
                            wamp.expect("room.1", [said])
                        mles.hears("everyone?")


def members_first_frames_are_seen_by_members_alone():
    with _room() as server, Mles(server.url("ws", "shared"), "mila", "room") as mles, \
            Mles(server.url("ws", "shared"), "nina", "room") as other, \
            MqttJs(server.url("mqtt", "mqtt")) as mqtt:
        other.hears(mles.header)
        mqtt.subscribe("#")
        mqtt.publish("room", "first")
        mqtt.expect("room", "first")
        other.hears(b"first")


def a_rule_of_the_operator_comes_before_the_default_of_a_channel():
    with _room(history=[{"subject": "kept.>", "limit": 2}]) as server, \
            Mles(server.url("ws", "shared"), "mila", "kept.room") as mles:
        for i in range(5):
            mles.say(str(i))
        with Mles(server.url("ws", "shared"), "late", "kept.room") as late:
            late.hears("3", "4")


def channels_have_a_prefix_among_subjects_if_one_is_configured():
    with _room(mles={"prefix": "mles."}) as server, \
            Mles(server.url("ws", "shared"), "mila", "room/1") as mles, \
            Nats(server.url("nats", "nats")) as nats:
        mles.say("hello")
        nats.subscribe("mles.>")
        nats.expect("mles.room/1", "hello")
        nats.publish("mles.room/1", b"back")
        mles.hears(b"back")
