"""Three reactors under ThreadSanitizer, which reports when the server ends."""

import collections
import contextlib
import queue
import threading

from clients import IoRedis, MqttJs, Nats
from harness import TIMEOUT, Raw, Server, equal, holds, poll

SECONDS_MAX = 300
COUNT = 2000


def _mqtt_string(text):
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _mqtt_session(server, client_id):
    """A raw connection with a session that stays, subscribed to everything under seq/ with QoS 1."""
    raw = Raw(server, "mqtt")
    connect = _mqtt_string("MQTT") + b"\x04\x00\x00\x3c" + _mqtt_string(client_id)
    raw.send(b"\x10" + bytes([len(connect)]) + connect)
    raw.expect(b"\x20\x02")
    flags, code = raw.take(2)
    equal(code, 0, "CONNACK")
    subscribe = b"\x00\x01" + _mqtt_string("seq/#") + b"\x01"
    raw.send(b"\x82" + bytes([len(subscribe)]) + subscribe)
    return raw, bool(flags)


def _churn(server, stop, rounds):
    """Sessions are taken over, and subscriptions come and go, as fast as the server lets them."""
    held, present = None, False
    while not stop.is_set():
        taking, known = _mqtt_session(server, "taken")
        if held:
            # It was told by the end of its connection.
            held.read_all()
            held.close()
            holds(known or not present, "the session was kept at the takeover")
        held, present = taking, True
        with Raw(server, "nats") as raw:
            raw.send('CONNECT {"verbose":false}\r\nSUB seq.> 1\r\nSUB seq.* q 2\r\nPING\r\n')
            raw.until(b"PONG\r\n")
            raw.send("UNSUB 1\r\nUNSUB 2\r\nPING\r\n")
            raw.until(b"PONG\r\n")
        with Raw(server, "redis") as raw:
            raw.send("PSUBSCRIBE seq.* s*\r\nPUNSUBSCRIBE\r\n")
            raw.until(b"punsubscribe")
            raw.reset()
        rounds.append(1)
    held.close()


def order_and_memory_hold_under_takeover_and_churn():
    with Server(tsan=True, threads=3) as server, contextlib.ExitStack() as stack:
        def add(client):
            return stack.enter_context(client)

        mqtt, nats = server.url("mqtt", "mqtt"), server.url("nats", "nats")
        subscribers = [add(MqttJs(mqtt)), add(MqttJs(mqtt, protocolVersion=5)), add(Nats(nats)),
                       add(IoRedis(server.address("redis")))]
        subscribers[0].subscribe("seq/#", 1)
        subscribers[1].subscribe("seq/+", 1)
        subscribers[2].subscribe("seq.>")
        subscribers[3].psubscribe("seq.*")

        publishers = [(add(MqttJs(mqtt)), {"topic": "seq/a", "qos": 1}),
                      (add(MqttJs(mqtt, protocolVersion=5)), {"topic": "seq/b", "qos": 1}),
                      (add(Nats(nats)), {"subject": "seq.c"}),
                      (add(Nats(nats)), {"subject": "seq.d"}),
                      (add(IoRedis(server.address("redis"))), {"channel": "seq.e"})]

        stop, rounds, failures = threading.Event(), [], queue.Queue()

        def churn():
            try:
                _churn(server, stop, rounds)
            except BaseException as error:
                failures.put(error)

        thread = threading.Thread(target=churn, daemon=True)
        thread.start()
        poll(lambda: rounds or not failures.empty(), "for the first round")
        answers = [(client, client.begin("publishMany", count=COUNT, **where))
                   for client, where in publishers]
        for client, answer in answers:
            client.finish(answer, TIMEOUT * 8)
        total = COUNT * len(publishers)
        for subscriber in subscribers:
            poll(lambda: subscriber.messages.qsize() >= total, f"{subscriber} gets {total} messages",
                 TIMEOUT * 4)
        stop.set()
        thread.join(TIMEOUT * 2)
        if not failures.empty():
            raise failures.get()
        holds(len(rounds) > 2, f"{len(rounds)} rounds of churn")

        for subscriber in subscribers:
            numbers = collections.defaultdict(list)
            while not subscriber.messages.empty():
                message = subscriber.next()
                numbers[message.name].append(int(message.data))
            equal(len(numbers), len(publishers), "publishers heard")
            for name, sequence in numbers.items():
                equal(sequence, list(range(COUNT)), f"{subscriber}'s numbers of {name}")
