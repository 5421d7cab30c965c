"""MQTT and NATS meet over WebSocket and TLS as they do over TCP."""

from clients import IoRedis, LibMosquitto, MosquittoSub, MqttJs, Nats, NatsWs, Paho, mosquitto_pub
from harness import Raw, equal


def _talk(mqtt, nats):
    mqtt.subscribe("to/mqtt", 1)
    nats.subscribe("to.nats")
    for number in range(3):
        mqtt.publish("to/nats", f"n{number}")
        nats.publish("to.mqtt", f"m{number}")
    for number in range(3):
        nats.expect("to.nats", f"n{number}")
        mqtt.expect("to/mqtt", f"m{number}")


def mqtt_js_and_nats_ws_talk_over_websocket(server):
    with MqttJs(server.url("ws", "shared", "/mqtt")) as mqtt, \
            NatsWs(server.url("ws", "shared")) as nats:
        _talk(mqtt, nats)


def mqtt_5_and_nats_talk_over_encrypted_websocket(server):
    with MqttJs(server.url("wss", "wss"), protocolVersion=5) as mqtt, \
            NatsWs(server.url("wss", "wss", "/nats")) as nats:
        _talk(mqtt, nats)


def mqtt_js_and_nats_js_talk_over_tls(server):
    with MqttJs(server.url("mqtts", "mqtts")) as mqtt, \
            Nats(f"127.0.0.1:{server.port('natss')}", tls={}) as nats:
        equal(nats.info.get("tls_required"), True)
        _talk(mqtt, nats)


def paho_over_tls_and_nats_over_tcp_talk(server):
    with Paho(server.address("mqtts"), ca=server.ca) as mqtt, \
            Nats(server.url("nats", "nats")) as nats:
        _talk(mqtt, nats)


def mosquitto_tools_and_ioredis_talk_over_tls(server):
    address = server.address("mqtts")
    redis_address = server.address("rediss")
    with MosquittoSub(address, "a/b", ca=server.ca) as sub, \
            IoRedis(redis_address, ca=server.ca) as redis, \
            IoRedis(redis_address, ca=server.ca) as talker:
        redis.subscribe("a.b")
        mosquitto_pub(address, "a/b", "1", ca=server.ca, qos=1)
        sub.expect("a/b", "1")
        redis.expect("a.b", "1")
        equal(talker.publish("a.b", "2"), 2)
        sub.expect("a/b", "2")
        redis.expect("a.b", "2")


def one_port_takes_every_protocol_by_its_first_bytes(server):
    address = server.address("shared")
    with LibMosquitto(address) as mqtt, IoRedis(address) as redis, \
            NatsWs(server.url("ws", "shared")) as nats:
        redis.subscribe("x.y")
        nats.subscribe("x.*")
        mqtt.publish("x/y", "z")
        redis.expect("x.y", "z")
        nats.expect("x.y", "z")
        equal(server.get("/healthz", "shared")[0], 200)


def one_encrypted_port_takes_every_protocol_by_its_first_bytes(server):
    with MqttJs(server.url("mqtts", "wss")) as mqtt, \
            IoRedis(server.address("wss"), ca=server.ca) as redis:
        redis.subscribe("x.y")
        mqtt.publish("x/y", "z")
        redis.expect("x.y", "z")


def an_unknown_first_byte_closes_the_shared_port(server):
    for first in (b"\x00\x01\x02\x03\r\n", b"SUB a 1\r\n", b"PING\r\n"):
        with Raw(server, "shared") as raw:
            raw.send(first)
            raw.read_all()


def large_messages_cross_over_websocket_and_tls(server):
    data = bytes(range(251)) * 2000  # 502,000 bytes
    with MqttJs(server.url("wss", "wss")) as mqtt, \
            NatsWs(server.url("ws", "shared")) as nats, \
            Nats(f"127.0.0.1:{server.port('natss')}", tls={}) as tls:
        mqtt.subscribe("big")
        nats.subscribe("big")
        tls.subscribe("big")
        for publisher in (mqtt, nats, tls):
            publisher.publish("big", data)
            for client in (mqtt, nats, tls):
                client.expect("big", data)
