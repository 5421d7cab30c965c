"""The drivers against the servers that their libraries were made for: what fails here is not Parley."""

from clients import (
    IoRedis, LibMosquitto, LibNats, MosquittoSub, MqttJs, Nats, NatsWs, Paho, RedisCliSubscribe,
    Refused, mosquitto_pub, redis_cli)
from harness import Raw, WebSocket, equal
from peers import Mosquitto, NatsServer, RedisServer


def every_mqtt_client_hears_every_other():
    with Mosquitto() as peer:
        address, url = peer.address(), peer.url("mqtt")
        with MosquittoSub(address, "a/#") as sub, MqttJs(url) as js, \
                MqttJs(peer.url("ws", "websocket")) as ws, Paho(address) as paho, \
                LibMosquitto(address) as lib:
            subscribers = [sub, js, ws, paho, lib]
            for client in subscribers[1:]:
                client.subscribe("a/#", 1)
            for publisher in [js, ws, paho, lib]:
                publisher.publish("a/b", f"from {publisher}")
                for client in subscribers:
                    client.expect("a/b", f"from {publisher}")
            mosquitto_pub(address, "a/c", b"\0\xff", qos=2)
            for client in subscribers:
                client.expect("a/c", b"\0\xff")


def mqtt_js_keeps_what_mqtt_5_says_beside_the_payload():
    with Mosquitto() as peer, MqttJs(peer.url("mqtt"), protocolVersion=5) as js:
        js.subscribe("t", qos=2)
        js.publish("t", "x", qos=2, retain=True, properties={
            "contentType": "text/plain", "userProperties": {"a": "1"},
            "correlationData": {"base64": "AAE="}})
        message = js.expect("t", "x", qos=2, retain=False)
        equal(message.properties["contentType"], "text/plain")
        equal(message.properties["userProperties"], {"a": "1"})
        equal(message.properties["correlationData"], {"base64": "AAE="})


def mqtt_5_requests_are_answered():
    with Mosquitto() as peer, MqttJs(peer.url("mqtt"), protocolVersion=5) as asker, \
            MqttJs(peer.url("mqtt"), protocolVersion=5) as responder:
        responder.respond("$share/workers/job/+", prefix="done ")
        reply = asker.request("job/1", "wash", "answers/me")
        equal((reply.name, reply.data), ("answers/me", b"done wash"))


def a_refused_mqtt_login_is_told():
    with Mosquitto("password_file /dev/null\nallow_anonymous false") as peer:
        for client in (MqttJs, Paho):
            try:
                where = peer.url("mqtt") if client is MqttJs else peer.address()
                client(where, username="a", password="b")
            except Refused as refused:
                equal(refused.code, 5)
            else:
                raise AssertionError("was let in")


def every_nats_client_hears_every_other():
    with NatsServer() as peer, Nats(peer.url("nats")) as js, \
            NatsWs(peer.url("ws", "websocket")) as ws, LibNats(peer.url("nats")) as lib:
        clients = [js, ws, lib]
        for client in clients:
            client.subscribe("a.>")
        for publisher in clients:
            publisher.publish("a.b", f"from {publisher}", reply="somewhere")
            for client in clients:
                client.expect("a.b", f"from {publisher}", reply="somewhere")


def nats_requests_are_answered_and_missing_responders_told():
    with NatsServer() as peer, Nats(peer.url("nats")) as js, \
            NatsWs(peer.url("ws", "websocket")) as ws, LibNats(peer.url("nats")) as lib:
        js.respond("js", prefix="js ", queue="q")
        lib.respond("lib", prefix="lib ")
        equal(js.request("lib", "x").data, b"lib x")
        equal(ws.request("js", "x", headers=[["k", "v"]]).data, b"js x")
        equal(lib.request("js", "x").data, b"js x")
        equal(js.next().headers, [["k", "v"]])
        for client in (js, ws):
            try:
                client.request("nobody", "x")
            except Refused as refused:
                equal(refused.code, "503")
            else:
                raise AssertionError("somebody answered")


def every_redis_client_hears_every_other():
    with RedisServer() as peer, IoRedis(peer.address()) as js, IoRedis(peer.address()) as talker, \
            RedisCliSubscribe(peer.address(), "subscribe", "news") as cli:
        equal(js.subscribe("news"), 1)
        equal(js.psubscribe("n*"), 2)
        equal(talker.publish("news", "one"), 3)
        equal(redis_cli(peer.address(), "publish", "news", "two"), "3")
        for text in ("one", "two"):
            cli.expect("news", text)
            js.expect("news", text, pattern=None)
            js.expect("news", text, pattern="n*")
        equal(talker.command("PUBSUB", "NUMSUB", "news"), ["news", 2])


def raw_connections_see_every_byte():
    with RedisServer() as peer, Raw(peer.address()) as raw:
        raw.send("PING\r\n*1\r\n$4\r\nQUIT\r\n")
        raw.expect("+PONG\r\n+OK\r\n")
        raw.expect_close()


def raw_websockets_see_every_frame():
    with NatsServer() as peer, WebSocket(peer.address("websocket"), headers=["Origin: http://localhost"]) as raw:
        equal(raw.status, 101)
        opcode, data = raw.take_frame()
        equal((opcode, data[:5]), (0x82, b"INFO "))
        raw.send_frame(8, b"\x03\xe8")
        raw.expect_frame(8, b"\x03\xe8")
