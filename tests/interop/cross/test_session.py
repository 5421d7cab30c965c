"""The session that Parley is for: clients of three protocols, each as it comes, hear each other."""

from clients import (
    IoRedis, LibMosquitto, LibNats, MosquittoSub, MqttJs, Nats, Paho, RedisCliSubscribe,
    mosquitto_pub, redis_cli)
from harness import Process, equal


def mosquitto_parley_and_redis_cli_see_what_mosquitto_publishes(server):
    mqtt, shared = server.address("mqtt"), server.address("shared")
    with MosquittoSub(mqtt, "plant/+/temp") as device, Nats(server.url("nats", "nats")) as service, \
            RedisCliSubscribe(shared, "subscribe", "plant.line1.temp") as redis:
        service.subscribe("plant.>")
        mosquitto_pub(mqtt, "plant/line1/temp", "21.5")
        device.expect("plant/line1/temp", "21.5")
        service.expect("plant.line1.temp", "21.5")
        redis.expect("plant.line1.temp", "21.5")


def the_command_line_hears_and_speaks(server):
    nats = server.url("nats", "nats")
    with Process([server.binary, "sub", "plant.>", "--server", nats]) as sub, \
            MosquittoSub(server.address("mqtt"), "#") as device:
        # `sub` does not say when it is subscribed; a message that comes through says so.
        for attempt in range(2000):
            mosquitto_pub(server.address("mqtt"), "plant/ready", str(attempt))
            if not sub.lines.queue.empty():
                break
        Process([server.binary, "pub", "plant.line1.temp", "21.5", "--server", nats]).wait()
        sub.lines.until(rb"plant\.line1\.temp.*21\.5")
        while device.next().name != "plant/line1/temp":
            pass


def _clients(server):
    """(client, its name for plant.line1.temp, its pattern) of each protocol and library."""
    mqtt, nats, redis = server.address("mqtt"), server.url("nats", "nats"), server.address("redis")
    topic = ("plant/line1/temp", "plant/#")
    subject = ("plant.line1.temp", "plant.>")
    return [
        (MqttJs(server.url("mqtt", "mqtt")), *topic),
        (MqttJs(server.url("mqtt", "shared"), protocolVersion=5), *topic),
        (Paho(mqtt), *topic),
        (LibMosquitto(mqtt), *topic),
        (Nats(nats), *subject),
        (LibNats(nats), *subject),
        (IoRedis(redis), "plant.line1.temp", None),
        (IoRedis(server.address("shared")), "plant.line1.temp", None),
    ]


def every_client_hears_every_other_in_all_directions(server):
    clients = _clients(server)
    talkers = [IoRedis(server.address("redis"))]
    try:
        for client, name, pattern in clients:
            if pattern:
                client.subscribe(pattern)
            else:
                client.subscribe(name)
        for number, (client, name, pattern) in enumerate(clients):
            # A Redis connection that subscribes cannot publish.
            publisher = client if pattern else talkers[0]
            publisher.publish(name, f"from {number}")
            for listener, heard, _ in clients:
                listener.expect(heard, f"from {number}")
        for client, _, _ in clients:
            client.expect_none()
    finally:
        for client in [*talkers, *(item[0] for item in clients)]:
            client.close()


def redis_publish_counts_the_receivers_of_every_protocol(server):
    with Nats(server.url("nats", "nats")) as nats, MqttJs(server.url("mqtt", "mqtt")) as mqtt:
        nats.subscribe("count.*")
        mqtt.subscribe("count/me")
        equal(redis_cli(server.address("redis"), "publish", "count.me", "x"), "2")
        equal(redis_cli(server.address("redis"), "publish", "count.nobody.here", "x"), "0")


def payloads_are_bytes_in_every_protocol(server):
    every_byte = bytes(range(256)) * 16
    with Nats(server.url("nats", "nats")) as nats, MqttJs(server.url("mqtt", "mqtt")) as mqtt, \
            IoRedis(server.address("redis")) as redis, IoRedis(server.address("redis")) as talker:
        nats.subscribe("raw")
        mqtt.subscribe("raw")
        redis.subscribe("raw")
        for publisher in (nats, mqtt, talker):
            for payload in (every_byte, b""):
                publisher.publish("raw", payload)
                for client in (nats, mqtt, redis):
                    client.expect("raw", payload)
