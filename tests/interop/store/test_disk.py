"""An acknowledgement tells that the disk has it: the syncs of a server are held up, and counted."""

from harness import Raw, equal
from stores import (EXPIRY, Client5, Gate, RawSocket, connect, hears_nothing, history,
                    killed_and_started, packet, stored, take_packet)


def no_acknowledgement_comes_before_the_sync_and_none_waits_without_need():
    with Gate() as gate, stored(env=gate.env) as server, Client5(server, "kept") as kept, \
            Client5(server) as a, Client5(server) as b, Client5(server) as memory:
        kept.subscribe("sessions/#")  # Not to be woken by what is not for it.
        live = Client5(server)
        live.subscribe("log/#", 0)
        gate.shut()
        a.say("32 (<'log/1'> 0001 00 'one')")
        gate.wait()
        b.say("34 (<'log/2'> 0001 00 'two')")
        # What promises nothing of the disk is answered meanwhile, by the thread that read it all.
        equal(memory.publish("plain/x", "x"), 0x10)
        a.hears_nothing()
        b.hears_nothing()
        live.hears_nothing()
        gate.open()
        a.expect("40 (0001)")
        b.expect("50 (0001)")
        equal([live.data(), live.data()], ["one", "two"])
        live.close()


def a_message_for_a_session_is_acknowledged_when_its_queue_is_on_disk():
    with Gate() as gate, stored(env=gate.env) as server:
        with Client5(server, "kept") as kept:
            kept.subscribe("sessions/#")
        with Client5(server) as publisher:
            gate.shut()
            publisher.say("32 (<'sessions/1'> 0001 00 'x')")
            gate.wait()
            publisher.hears_nothing()
            gate.open()
            publisher.expect("40 (0001)")


def a_retained_message_is_acknowledged_when_it_is_on_disk():
    with Gate() as gate, stored(env=gate.env) as server, Client5(server) as publisher:
        gate.shut()
        publisher.say("33 (<'kept/1'> 0001 00 'x')")
        gate.wait()
        publisher.hears_nothing()
        gate.open()
        equal(publisher.hear()[0], 0x40)


def many_publishers_share_a_sync():
    with Gate() as gate, stored(env=gate.env) as server:
        clients = [Client5(server) for _ in range(50)]
        gate.shut()
        clients[0].say("32 (<'log/first'> 0001 00 'x')")
        gate.wait()
        for client in clients[1:]:
            client.say("32 (<'log/more'> 0001 00 'x')")
        gate.open()
        for client in clients:
            client.hear()
        killed_and_started(server)
        equal(len(history(server, "log")), 50)
        for client in clients:
            client.close()


def wamp_and_redis_are_answered_when_it_is_on_disk():
    with Gate() as gate, stored(env=gate.env) as server, RawSocket(server) as wamp, \
            Raw(server, "redis") as redis:
        gate.shut()
        number = wamp.begin(16, {"acknowledge": True}, "log.wamp", ["x"])
        gate.wait()
        redis.send("PUBLISH log.redis x\r\nPING\r\n")
        wamp.fence()
        gate.open()
        equal(wamp.hear()[:2], [17, number])
        redis.expect(":0\r\n+PONG\r\n")
        killed_and_started(server)
        equal(len(history(server, "log")), 2)


def a_pong_of_nats_tells_that_what_came_before_is_on_disk():
    with Gate() as gate, stored(env=gate.env) as server, Raw(server, "nats") as nats:
        nats.until()  # INFO
        nats.send('CONNECT {"verbose":false}\r\nPING\r\n').expect("PONG\r\n")
        gate.shut()
        nats.send("PUB log.nats 1\r\nx\r\nPING\r\n")
        gate.wait()
        hears_nothing(nats)
        gate.open()
        nats.expect("PONG\r\n")
        killed_and_started(server)
        equal(history(server, "log"), ["x"])


def a_kept_session_and_its_subscription_are_answered_when_they_are_on_disk():
    with Gate() as gate, stored(env=gate.env) as server:
        with Client5(server, "kept") as client:
            gate.shut()
            client.say("82 (0001 00 <'a'> 01)")
            gate.wait()
            client.hears_nothing()
            gate.open()
            client.expect("90 (0001 00 01)")
        gate.shut()
        with Raw(server, "mqtt") as raw:
            raw.send(packet(connect("new", 5, clean=False, properties=EXPIRY)))
            gate.wait()
            hears_nothing(raw)
            gate.open()
            equal(take_packet(raw)[0], 0x20)
