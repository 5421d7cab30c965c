"""What stands after kill -9, with clients as people have them."""

import time

from clients import Autobahn, LibMosquitto, Mles, MosquittoSub, MqttJs, Nats, Paho, mosquitto_pub
from harness import equal, holds
from stores import Client5, history, killed_and_started, settled, stored


def sessions_of_mqtt_js_get_what_was_acknowledged_while_they_were_away():
    options = {"clientId": "away", "clean": False, "protocolVersion": 5,
               "properties": {"sessionExpiryInterval": 100}}
    with stored() as server:
        with MqttJs(server.url("mqtt", "mqtt"), **options) as client:
            client.subscribe("jobs/#", 2)
            client.end()
        with MqttJs(server.url("mqtt", "mqtt")) as publisher:
            publisher.publish_many("jobs/1", 500, qos=1)
            publisher.publish_many("jobs/2", 500, qos=2)
        killed_and_started(server)
        with MqttJs(server.url("mqtt", "mqtt"), **options) as client:
            equal(client.connack["sessionPresent"], True)
            got = [client.next() for _ in range(1000)]
        for name in ("jobs/1", "jobs/2"):
            equal([int(m.data) for m in got if m.name == name], list(range(500)), name)


def sessions_of_every_library_stand():
    with stored() as server:
        def paho():
            return Paho(server.address("mqtt"), client_id="paho", clean_session=False)

        def js():
            return MqttJs(server.url("mqtt", "mqtt"), clientId="js", clean=False, protocolVersion=4)

        for number, make in enumerate((paho, js)):
            with make() as client:
                client.subscribe(f"each/{number}", 1)
        killed_and_started(server)
        for number, make in enumerate((paho, js)):
            mosquitto_pub(server.address("mqtt"), f"each/{number}", "still", qos=1)
            with make() as client:
                client.expect(f"each/{number}", "still")


def a_clean_session_does_not_come_back():
    with stored() as server:
        with MqttJs(server.url("mqtt", "mqtt"), clientId="clean") as client:
            client.subscribe("any", 1)
            mosquitto_pub(server.address("mqtt"), "any", "1", qos=1)
            client.expect("any", "1")
            killed_and_started(server)
            client.event("closed")
        Client5(server, "clean", present=0).close()


def a_session_that_its_client_gave_up_does_not_come_back():
    with stored() as server:
        with Client5(server, "gone") as client:
            client.subscribe("any")
            client.say("e0 (00 (11 00000000))")
            client.raw.expect_close()
        settled(server)
        killed_and_started(server)
        Client5(server, "gone", present=0).close()


def a_sessions_expiry_goes_on_while_there_is_no_server():
    with stored() as server:
        with Client5(server, "short") as client:
            client.subscribe("any")
            client.say("e0 (00 (11 00000001))")
            client.raw.expect_close()
        settled(server)
        server.kill()
        time.sleep(1.2)
        server.start()
        Client5(server, "short", present=0).close()


def unsubscribed_stays_unsubscribed():
    with stored() as server:
        with Client5(server, "changes") as client:
            client.subscribe("a")
            client.subscribe("b")
            client.say("a2 (0002 00 <'a'>)")
            client.expect("b0 (0002 00 00)")
        killed_and_started(server)
        with Client5(server, "changes", present=1) as client, Client5(server) as publisher:
            publisher.publish("a", "no")
            publisher.publish("b", "yes")
            equal(client.message()[:2], ("b", "yes"))


def what_a_client_did_not_acknowledge_comes_again_marked_and_with_its_id():
    with stored() as server:
        with Client5(server, "dup") as client, Client5(server) as publisher:
            client.subscribe("again")
            publisher.publish("again", "1")
            publisher.publish("again", "2")
            first = client.message(acknowledge=False)
            equal(first[:3], ("again", "1", 0b0010))
            equal(client.message(acknowledge=False)[:3], ("again", "2", 0b0010))
            killed_and_started(server)
        with Client5(server, "dup", present=1) as client:
            again = client.message()
            equal(again, ("again", "1", 0b1010, first[3]))
            equal(client.message()[:3], ("again", "2", 0b1010))


def what_a_client_acknowledged_before_an_orderly_end_does_not_come_again():
    with stored() as server:
        with Client5(server, "once") as client, Client5(server) as publisher:
            client.subscribe("once")
            publisher.publish("once", "1")
            client.message()
            client.say("c0 ()").expect("d0 ()")
        server.stop()
        server.start()
        with Client5(server, "once", present=1) as client, Client5(server) as publisher:
            publisher.publish("once", "2")
            equal(client.message()[:3], ("once", "2", 0b0010))


def a_qos_2_publish_that_had_its_pubrec_is_kept_once():
    with stored() as server:
        with Client5(server, "exact") as client:
            client.acknowledged("34 (<'log/exact'> 0007 00 'once')", 0x50, 7)
            killed_and_started(server)
        with Client5(server, "exact", present=1) as client:
            client.acknowledged("3c (<'log/exact'> 0007 00 'once')", 0x50, 7)
            client.say("62 (0007)").expect("70 (0007)")
        equal(history(server, "log"), ["once"])
        with Client5(server, "exact", present=1) as client:  # The id is free again.
            client.acknowledged("34 (<'log/exact'> 0007 00 'twice')", 0x50, 7)
            client.say("62 (0007)").expect("70 (0007)")
        killed_and_started(server)
        equal(history(server, "log"), ["once", "twice"])


def a_qos_2_publish_that_had_its_pubcomp_may_have_its_id_again():
    with stored() as server:
        with Client5(server, "free") as client:
            client.acknowledged("34 (<'log/free'> 0007 00 'one')", 0x50, 7)
            client.say("62 (0007)").expect("70 (0007)")
            killed_and_started(server)
        with Client5(server, "free", present=1) as client:
            client.acknowledged("34 (<'log/free'> 0007 00 'two')", 0x50, 7)
            client.say("62 (0007)").expect("70 (0007)")
        equal(history(server, "log"), ["one", "two"])


def a_qos_2_delivery_goes_on_where_it_stood():
    with stored() as server:
        with Client5(server, "half") as client, Client5(server) as publisher:
            client.subscribe("half", 2)
            publisher.say("34 (<'half'> 0001 00 'x')").expect("50 (0001)")
            publisher.say("62 (0001)").expect("70 (0001)")
            *_, number = client.message()
            client.say(f"50 ({number:04x})").expect(f"62 ({number:04x})")
            killed_and_started(server)
        with Client5(server, "half", present=1) as client:
            first, body = client.hear()  # PUBREL; or, if the PUBREC was not on disk, it again
            holds(first == 0x62 or first & 0xf8 == 0x38, f"got {first:x} {body.hex()}")
            if first != 0x62:
                client.say(f"50 ({number:04x})").expect(f"62 ({number:04x})")
            client.say(f"70 ({number:04x})")


def retained_messages_stand_and_cleared_ones_do_not():
    with stored() as server:
        address = server.address("mqtt")
        for data in ("20", "21", "22"):
            mosquitto_pub(address, "kept/1", data, qos=1, retain=True)
        mosquitto_pub(address, "kept/2", "x", qos=1, retain=True)
        with LibMosquitto(address) as client:
            client.publish("kept/2", "", retain=True)
        killed_and_started(server)
        with MosquittoSub(server.address("mqtt"), "kept/#") as sub:
            sub.expect("kept/1", b"22", retain=True)
            mosquitto_pub(server.address("mqtt"), "kept/3", "live")
            sub.expect("kept/3", b"live", retain=False)


def a_retained_messages_expiry_goes_on_while_there_is_no_server():
    with stored() as server:
        with Client5(server) as client:
            client.say("33 (<'kept/short'> 0001 (02 00000001) 'x')").hear()
            client.say("33 (<'kept/long'> 0001 (02 00000e10) 'y')").hear()
        server.kill()
        time.sleep(1.2)
        server.start()
        with Client5(server) as client:
            client.subscribe("kept/#", 0)
            first, body = client.hear()
            at = 2 + len("kept/long")
            equal((first, body[2:at]), (0x31, b"kept/long"))
            rest = int.from_bytes(body[at + 2:at + 6], "big")
            holds(body[at + 1] == 2 and 3500 < rest < 3600, body.hex())


def durable_history_stands_for_mqtt_nats_and_wamp_and_brief_history_does_not():
    with stored() as server:
        with MqttJs(server.url("mqtt", "mqtt")) as mqtt, Nats(server.url("nats", "nats")) as nats, \
                Autobahn(server.url("ws", "wamp")) as wamp:
            mqtt.publish("log/a", "from mqtt")
            nats.publish("log.b", "from nats")
            wamp.publish("log.c", "from wamp", options={"acknowledge": True})
            mqtt.publish("brief/a", "is gone")
        killed_and_started(server)
        equal(sorted(history(server, "log")), ["from mqtt", "from nats", "from wamp"])
        equal(history(server, "brief"), [])
        with Autobahn(server.url("ws", "wamp")) as wamp:
            holds("from wamp" in str(_events(wamp, "log.")), "WAMP's event history lost it")


def a_durable_channel_of_mles_has_its_past():
    with stored(history=[{"subject": "room", "limit": 200, "durable": True}]) as server:
        with Mles(server.url("ws", "shared"), "ann", "room") as ann, \
                MqttJs(server.url("mqtt", "mqtt")) as mqtt:
            mqtt.subscribe("room", 1)
            ann.say("before the crash")
            mqtt.expect("room", "before the crash")  # It is delivered when it is on disk.
            mqtt.publish("room", b"and \xff more", qos=1)
            first = ann.header
            killed_and_started(server)
        with Mles(server.url("ws", "shared"), "bob", "room") as bob:
            bob.hears(first, "before the crash", b"and \xff more")


def _events(wamp, topic):
    """Event history of a prefix subscription, in autobahn's words."""
    wamp.subscribe(topic, match="prefix")
    found = wamp.ask("wamp.subscription.lookup", topic, {"match": "prefix"})["args"][0]
    return wamp.ask("wamp.subscription.get_events", found, {"limit": 10})


def a_cursor_from_before_is_recovered_for_what_is_durable():
    with stored() as server:
        with Client5(server) as client, Client5(server) as publisher:
            body = client.subscribe("log/#", 0, "26 <'parley-since'> <'all'>")
            cursor = _property(body, "parley-cursor")
            publisher.publish("log/1", "1")
            equal(client.data(), "1")
            publisher.publish("log/2", "2")
        killed_and_started(server)
        with Client5(server) as client:
            body = client.subscribe("log/#", 0, f"26 <'parley-since'> <'{cursor}'>")
            equal(_property(body, "parley-recovered"), "true")
            equal([client.data(), client.data()], ["1", "2"])
        with Client5(server) as client:
            body = client.subscribe("brief/#", 0, f"26 <'parley-since'> <'{cursor}'>")
            equal(_property(body, "parley-recovered"), "false")


def _property(body, name):
    """A user property in a SUBACK."""
    mark = bytes([0x26]) + len(name).to_bytes(2, "big") + name.encode()
    at = body.index(mark) + len(mark)
    return body[at + 2:at + 2 + int.from_bytes(body[at:at + 2], "big")].decode()


def history_whose_rule_is_gone_stays_until_the_rule_is_back():
    with stored() as server:
        for word in ("one", "two"):
            mosquitto_pub(server.address("mqtt"), "log/kept", word, qos=1)
        rules = server.config["history"]
        for server.config["history"], found in (([], []), (rules, ["one", "two"])):
            server.stop()  # in order: what it says under sanitizers counts
            server.write_config(server.config)
            server.start()
            equal(history(server, "log/kept"), found)
        equal(server.log().count("history_without_rule"), 1, "said at the start without the rule")
        server.stop()
