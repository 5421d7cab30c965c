"""Names go from each protocol to each other one, and back, as docs/reference and DESIGN tell."""

import random

from clients import IoRedis, MqttJs, Nats
from harness import Failure, Raw

# One subject in the words of each protocol: MQTT topic, NATS subject, Redis channel.
NAMES = [
    ("plant/line1/temp", "plant.line1.temp", "plant.line1.temp"),
    ("plant/line.1/temp", "plant.line/1.temp", "plant.line/1.temp"),
    ("a b/c", "a%20b.c", "a b.c"),
    ("a//b", "a.%.b", "a..b"),
    ("/a", "%.a", ".a"),
    ("a/", "a.%", "a."),
    ("a/*", "a.%2A", "a.*"),
    (">/b", "%3E.b", ">.b"),
    ("a*b/c>d", "a*b.c>d", "a*b.c>d"),
    ("%20", "%2520", "%20"),
    ("a/%/b", "a.%25.b", "a.%.b"),
    ("100%", "100%", "100%"),
    ("%41/%zz", "%41.%zz", "%41.%zz"),
    ("a%2Bb", "a+b", "a+b"),
    ("a%23", "a#", "a#"),
    ("grün/€/😀", "grün.€.😀", "grün.€.😀"),
    ("%0A", "%0A", "\n"),
    ("%00", "%00", "\0"),
]


def _clients(server):
    return (MqttJs(server.url("mqtt", "mqtt")), Nats(server.url("nats", "nats")),
            IoRedis(server.address("redis")), IoRedis(server.address("redis")))


def each_name_is_told_to_each_protocol_in_its_words(server):
    mqtt, nats, redis, redis_publisher = _clients(server)
    with mqtt, nats, redis, redis_publisher:
        mqtt.subscribe("#")
        nats.subscribe(">")
        redis.psubscribe("*")
        for names in NAMES:
            for publisher, name in zip((mqtt, nats, redis_publisher), names):
                publisher.publish(name, "x")
                for subscriber, expected in zip((mqtt, nats, redis), names):
                    subscriber.expect(expected, "x")


def each_name_can_be_subscribed_by_itself(server):
    mqtt, nats, redis, redis_publisher = _clients(server)
    with mqtt, nats, redis, redis_publisher:
        for topic, subject, channel in NAMES:
            mqtt.subscribe(topic)
            subscription = nats.subscribe(subject)
            redis.subscribe(channel)
            # Neighbours that a wildcard would take.
            redis_publisher.publish("a.b", "no")
            redis_publisher.publish("axb.cyd", "no")
            for publisher, name in ((mqtt, topic), (nats, subject), (redis_publisher, channel)):
                publisher.publish(name, "x")
                for subscriber, expected in ((mqtt, topic), (nats, subject), (redis, channel)):
                    subscriber.expect(expected, "x")
            mqtt.unsubscribe(topic)
            nats.unsubscribe(subscription)
            redis.unsubscribe(channel)


def _bulk(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def random_names_of_any_bytes_come_back_through_nats(server):
    """A Redis channel may be any bytes: what NATS is told of it, and says again, is that channel."""
    pieces = [b".", b"%", b"25", b"%25", b"%2A", b"*", b">", b" ", b"\t", b"\r\n", b"\0", b"a", b"/",
              b"\xc3\xa9", b"\xc3", b"\xff", b"%C3", b"%A9", b"%20", b"+", b"#", b"$", b"temp"]
    chosen = random.Random(7)
    names = [b"r" + b"".join(chosen.choices(pieces, k=chosen.randrange(8))) for _ in range(300)]
    with Raw(server, "nats") as nats, Raw(server, "redis") as redis, \
            Raw(server, "redis") as publisher:
        nats.send('CONNECT {"verbose":false,"echo":false}\r\nSUB > 1\r\nPING\r\n').until("PONG\r\n")
        redis.send("PSUBSCRIBE *\r\n").until(b":1\r\n")
        for name in names:
            message = _bulk(b"pmessage", b"*", name, b"x")
            publisher.send(_bulk(b"PUBLISH", name, b"x")).expect(b":2\r\n")
            redis.expect(message)
            head = nats.until(b"\r\n")
            nats.expect(b"x\r\n")
            words = head.split(b" ")
            if len(words) != 4 or words[0] != b"MSG" or words[2:] != [b"1", b"1\r\n"]:
                raise Failure(f"{name!r} is told as {head!r}")
            if any(byte in words[1] for byte in b"\0\t\r\n"):
                raise Failure(f"{name!r} is told as {words[1]!r}")
            nats.send(b"PUB " + words[1] + b" 1\r\nx\r\n")
            redis.expect(message)
