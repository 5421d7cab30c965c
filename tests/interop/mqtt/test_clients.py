"""MQTT clients as people have them: mqtt.js, paho, libmosquitto, the mosquitto tools."""

from clients import LibMosquitto, MosquittoSub, MqttJs, Paho, mosquitto_pub
from harness import equal, holds
from packets import connected


def _each(server):
    """Makes one client of each library and version, under the given name."""
    url, address = server.url("mqtt", "mqtt"), server.address("mqtt")
    return [
        lambda name, **o: MqttJs(url, clientId=name, protocolVersion=4, **o),
        lambda name, **o: MqttJs(url, clientId=name, protocolVersion=5, **o),
        lambda name, **o: MqttJs(server.url("ws", "shared", "/mqtt"), clientId=name, **o),
        lambda name, **o: LibMosquitto(address, name, 3, **o),
        lambda name, **o: LibMosquitto(address, name, 4, **o),
        lambda name, **o: LibMosquitto(address, name, 5, **o),
        lambda name, **o: Paho(address, client_id=name, **o),
    ]


def _forget(address, topic):
    with LibMosquitto(address) as client:
        client.publish(topic, "", retain=True)


def every_qos_goes_through_every_client(server):
    for number, make in enumerate(_each(server)):
        topic = f"each/{number}"
        with make(f"each-{number}") as client:
            client.subscribe(topic, 2)
            for qos in (0, 1, 2):
                client.publish(topic, f"qos {qos}", qos=qos)
            equal({client.next().data for _ in range(3)}, {b"qos 0", b"qos 1", b"qos 2"})


def thousands_of_messages_keep_their_order(server):
    for qos in (0, 1, 2):
        with MqttJs(server.url("mqtt", "mqtt")) as publisher, \
                MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as subscriber:
            subscriber.subscribe("order", qos)
            publisher.publish_many("order", 5000, qos=qos)
            for i in range(5000):
                equal(int(subscriber.next().data), i)


def a_retained_message_reaches_who_comes_later(server):
    address = server.address("mqtt")
    mosquitto_pub(address, "kept/1", "21.5", retain=True)
    with MosquittoSub(address, "kept/#") as sub:
        sub.expect("kept/1", b"21.5", retain=True)
    _forget(address, "kept/1")
    with MosquittoSub(address, "kept/#") as sub:
        mosquitto_pub(address, "kept/2", "live")
        sub.expect("kept/2", b"live", retain=False)


def a_session_waits_for_its_client(server):
    url = server.url("mqtt", "mqtt")
    options = {"clientId": "waits", "clean": False, "protocolVersion": 5,
               "properties": {"sessionExpiryInterval": 100}}
    with MqttJs(url, **options) as client:
        equal(client.connack["sessionPresent"], False)
        client.subscribe("waits", 1)
        client.end()
    for i in range(20):
        mosquitto_pub(server.address("mqtt"), "waits", str(i), qos=1)
    with MqttJs(url, **options) as client:
        equal(client.connack["sessionPresent"], True)
        for i in range(20):
            equal(client.next().data, str(i).encode())
    with MqttJs(url, **{**options, "clean": True}) as client:
        equal(client.connack["sessionPresent"], False)


def a_will_of_mqtt_js_reaches_mosquitto_sub(server):
    with MosquittoSub(server.address("mqtt"), "wills/#", qos=1) as sub:
        client = MqttJs(server.url("mqtt", "mqtt"), will={
            "topic": "wills/js", "payload": "gone", "qos": 1})
        client.end(force=True)
        sub.expect("wills/js", b"gone")
        client.close()


def subscription_options_of_version_5_hold(server):
    url = server.url("mqtt", "mqtt")
    mosquitto_pub(server.address("mqtt"), "options/kept", "old", retain=True)
    with MqttJs(url, protocolVersion=5) as client, MqttJs(url, protocolVersion=5) as other:
        client.subscribe("options/#", 1, nl=True, rap=True, rh=2,
                         properties={"subscriptionIdentifier": 42})
        client.publish("options/own", "no")
        other.publish("options/kept", "new", retain=True)
        message = client.next()
        equal((message.name, message.data, message.retain), ("options/kept", b"new", True))
        equal(message.properties["subscriptionIdentifier"], 42)
    _forget(server.address("mqtt"), "options/kept")


def a_client_without_an_id_is_given_one(server):
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5, clientId="") as client:
        holds(client.connack["properties"]["assignedClientIdentifier"], "an assigned client id")


def messages_share_a_group_of_both_versions(server):
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as five, \
            LibMosquitto(server.address("mqtt"), "four", 4) as four, \
            MqttJs(server.url("mqtt", "mqtt")) as publisher:
        five.subscribe("$share/pool/shared/#", 1)
        four.subscribe("$share/pool/shared/#", 1)
        publisher.publish_many("shared/1", 500)
        five.subscribe("done")
        four.subscribe("done")
        publisher.publish("done", "")
        seen = []
        for client in (five, four):
            count = 0
            while (message := client.next()).name != "done":
                seen.append(int(message.data))
                count += 1
            holds(count > 0, f"{client} got none")
        equal(sorted(seen), list(range(500)))


def aliases_of_mqtt_js_stand_for_their_topics(server):
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5, autoAssignTopicAlias=True,
                properties={"topicAliasMaximum": 5}) as client, \
            connected(server, "aliases", 4) as raw:
        raw.say("82 (0001 <'alias/#'> 00)").hear("90 (0001 00)")
        client.subscribe("alias/#")
        for i in range(3):
            for topic in ("alias/a", "alias/b"):
                client.publish(topic, str(i), qos=0)
        for i in range(3):
            for topic in ("alias/a", "alias/b"):
                raw.hear(f"30 (<'{topic}'> '{i}')")
                client.expect(topic, str(i).encode())
