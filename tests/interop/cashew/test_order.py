"""Ping-pong as handlers do it: packets of one connection take effect in order, one copy each."""

from cashew import WAYS, Client, device, handler, options
from harness import equal

CONFIG = options()


def a_handler_hears_what_it_publishes_right_after_subscribing(server):
    for way in WAYS:
        with Client(server, handler(user_id="U"), way=way) as client, \
                Client(server, device("U"), way=way) as caller:
            client.subscribe_all("+/ping")
            caller.say("U/ping", '{"n":1}')
            client.hears(("U/ping", '{"n":1}'))
            # SUBSCRIBE and PUBLISH in one piece, no SUBACK awaited.
            empty = b"\x00" if way[1] == 5 else b""
            subscribe = b"\x00\x02" + empty + b"\x00\x06U/pong\x00"
            publish = b"\x00\x06U/pong" + empty + b'{"n":1}'
            client.raw.send(bytes([0x82, len(subscribe)]) + subscribe
                            + bytes([0x30, len(publish)]) + publish)
            equal(client._packet()[0], 0x90)
            client.hears(("U/pong", '{"n":1}'))


def overlapping_filters_of_a_session_get_one_copy(server):
    for way in WAYS:
        with Client(server, handler(), way=way) as client, Client(server, handler()) as other:
            client.subscribe_all("+/pong", "U/pong", "#", "U/#", "U/+")
            other.say("U/pong", "1")
            client.hears(("U/pong", "1"))
            equal(client.settled(), [])


def several_handlers_of_a_command_all_get_it(server):
    with Client(server, handler()) as one, Client(server, handler(), way=("ws", 5)) as two, \
            Client(server, device("7")) as caller:
        for client in (one, two):
            client.subscribe_all("+/get_apples")
        caller.subscribe_all("7/got_apples")
        caller.say("7/get_apples", "{}")
        for number, client in enumerate((one, two)):
            client.hears(("7/get_apples", "{}"))
            client.say("7/got_apples", str(number))
            caller.hears(("7/got_apples", str(number)))


def handlers_that_share_a_command_get_it_once(server):
    with Client(server, handler(), way=("ws", 4)) as one, Client(server, handler()) as two, \
            Client(server, device("7")) as caller:
        for client in (one, two):
            client.subscribe_all("$share/apples/+/get_apples")
            client.subscribe_all("+/that_was_all")
        for number in range(20):
            caller.say("7/get_apples", str(number))
        caller.say("7/that_was_all", "")
        got = []
        for client in (one, two):
            got += iter(client.next, ("7/that_was_all", ""))
        equal(sorted(int(data) for _, data in got), list(range(20)))
