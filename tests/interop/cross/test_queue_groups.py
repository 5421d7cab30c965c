"""One queue group, of MQTT shared subscriptions and NATS queue subscriptions."""

import collections

from clients import MqttJs, Nats
from harness import TIMEOUT, Failure, equal, holds, poll

COUNT = 10_000


def each_of_10_000_messages_goes_to_one_member_and_both_are_used(server):
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as mqtt, \
            Nats(server.url("nats", "nats")) as nats, \
            MqttJs(server.url("mqtt", "mqtt")) as mqtt_publisher, \
            Nats(server.url("nats", "nats")) as nats_publisher:
        mqtt.subscribe("$share/workers/jobs/#", qos=1)
        nats.subscribe("jobs.>", queue="workers")
        done = [
            mqtt_publisher.begin("publishMany", topic="jobs/m", count=COUNT // 2, prefix="m", qos=1),
            nats_publisher.begin("publishMany", subject="jobs.n", count=COUNT // 2, prefix="n"),
        ]
        mqtt_publisher.finish(done[0])
        nats_publisher.finish(done[1])
        try:
            poll(lambda: mqtt.messages.qsize() + nats.messages.qsize() >= COUNT,
                 "for 10,000 messages", TIMEOUT * 2)
        except Failure as failure:
            raise Failure(f"{failure}: {mqtt.messages.qsize()} came to MQTT, "
                          f"{nats.messages.qsize()} to NATS; {server.get('/metrics')[1].decode()}") from None
        seen = collections.Counter()
        for client in (mqtt, nats):
            count = 0
            while not client.messages.empty():
                seen[client.next().data] += 1
                count += 1
            holds(count > COUNT // 10, f"{client} got {count} of {COUNT}")
        equal(len(seen), COUNT, "different messages")
        equal(seen.most_common(1)[0][1], 1, "deliveries of one message")


def two_groups_and_a_plain_subscriber_each_get_every_message(server):
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as red, \
            Nats(server.url("nats", "nats")) as red_too, \
            Nats(server.url("nats", "nats")) as blue, \
            MqttJs(server.url("mqtt", "mqtt")) as plain, \
            Nats(server.url("nats", "nats")) as publisher:
        red.subscribe("$share/red/work", qos=1)
        red_too.subscribe("work", queue="red")
        blue.subscribe("work", queue="blue")
        plain.subscribe("work")
        publisher.publish_many("work", 100)
        poll(lambda: red.messages.qsize() + red_too.messages.qsize() == 100, "group red")
        for number in range(100):
            blue.expect("work", str(number))
            plain.expect("work", str(number))


def a_member_that_leaves_leaves_its_share_to_the_others(server):
    with Nats(server.url("nats", "nats")) as stays, Nats(server.url("nats", "nats")) as publisher:
        stays.subscribe("shift", queue="crew")
        with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as leaves:
            leaves.subscribe("$share/crew/shift", qos=1)
            publisher.publish_many("shift", 50)
            poll(lambda: stays.messages.qsize() + leaves.messages.qsize() == 50, "all 50")
            leaves.unsubscribe("$share/crew/shift")
            before = stays.messages.qsize()
            publisher.publish_many("shift", 50)
            poll(lambda: stays.messages.qsize() == before + 50, "all 50 for the one that is left")
