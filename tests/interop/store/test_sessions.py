"""Sessions of MQTT whose place in the store is hard to get right."""

from harness import equal, holds
from stores import Client5, Gate, history, killed_and_started, settled, stored


def a_client_that_began_anew_stands_with_what_it_asked_for_since():
    with stored() as server:
        with Client5(server, "anew") as client:
            client.subscribe("before/#")
        client = Client5(server, "anew", clean=True, present=0)
        client.subscribe("since/#")
        settled(server)
        killed_and_started(server)
        client.close()
        with Client5(server) as publisher:
            publisher.publish("before/1", "before")
            publisher.publish("since/1", "since")
        with Client5(server, "anew", present=1) as client:
            equal(client.data(), "since")
            client.hears_nothing()


def a_qos_2_publish_that_was_refused_may_have_its_id_again():
    with stored(limits={"payload": 1024}) as server:
        with Client5(server, "twice") as client:
            first, body = client.say(f"34 (<'log/1'> 0001 00 '{'x' * 2000}')").hear()
            holds(first == 0x50 and body[2] >= 0x80, "it was taken")
            settled(server)
            killed_and_started(server)
        with Client5(server, "twice", present=1) as client:
            client.acknowledged("34 (<'log/1'> 0001 00 'small')", 0x50, 1)
            client.acknowledged("62 (0001)", 0x70, 1)
        equal(history(server, "log"), ["small"])


def what_a_shared_subscription_has_given_to_one_is_not_lost_with_the_other():
    with stored() as server:
        for name in ("one", "two"):
            with Client5(server, name) as client:
                client.subscribe("$share/both/jobs/#")
        with Client5(server) as publisher:
            for number in range(40):
                publisher.publish("jobs/x", str(number))
        got = []
        with Client5(server, "one", present=1) as client, Client5(server) as publisher:
            publisher.publish("jobs/x", "40")  # For who is connected.
            while "40" not in got:
                got.append(client.data())
        settled(server)
        killed_and_started(server)
        with Client5(server, "two", present=1) as client, Client5(server) as publisher:
            publisher.publish("jobs/x", "41")
            while "41" not in got:
                got.append(client.data())
        equal(sorted(set(map(int, got))), list(range(42)))


def who_subscribes_again_misses_nothing_meanwhile():
    with Gate() as gate, stored(env=gate.env) as server, Client5(server, "again") as client, \
            Client5(server) as publisher:
        client.subscribe("any/#")
        gate.shut()
        client.say("82 (0002 () <'any/#'> 01)")
        gate.wait()
        publisher.say("32 (<'any/1'> 0001 00 'x')")
        publisher.hears_nothing()
        gate.open()
        equal(client.hear()[0], 0x90)
        equal(client.data(), "x")
        equal(publisher.hear()[1][2:3] or b"\0", b"\0")
