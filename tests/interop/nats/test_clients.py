"""nats.js, nats.ws and libnats as their users use them."""

from clients import LibNats, Nats, NatsWs, Refused
from harness import Failure, Raw, equal, holds, poll


def every_client_hears_every_other(server):
    clients = [
        Nats(server.url("nats", "nats")),
        Nats(server.url("nats", "natss"), tls={"caFile": server.ca}),
        NatsWs(server.url("ws", "shared")),
        NatsWs(server.url("ws", "shared", "/nats")),
        LibNats(server.url("nats", "nats")),
    ]
    try:
        for client in clients:
            client.subscribe("hello.>")
        for i, client in enumerate(clients):
            client.publish(f"hello.{i}", f"from {client}")
            for other in clients:
                other.expect(f"hello.{i}", f"from {client}")
        clients[0].publish("hello.bytes", bytes(range(256)))
        for other in clients:
            other.expect("hello.bytes", bytes(range(256)))
    finally:
        for client in clients:
            client.close()


def info_says_what_it_is(server):
    with Nats(server.url("nats", "nats")) as client:
        info = client.info
        equal(info["headers"], True)
        equal(info["proto"], 1)
        equal(info["max_payload"], 1 << 20)
        holds("jetstream" not in info, "JetStream is not announced")


def headers_keep_their_order_and_their_bytes(server):
    headers = [["B", "2"], ["A", "one two"], ["B", "3"], ["X-Äh", "ü"]]
    with Nats(server.url("nats", "nats")) as a, NatsWs(server.url("ws", "shared")) as b:
        a.subscribe("h")
        b.publish("h", "x", headers=headers[:3])
        message = a.expect("h", "x")
        equal(sorted(map(tuple, message.headers)), sorted(map(tuple, headers[:3])))


def a_message_of_the_largest_size_passes_and_a_larger_one_is_refused(server):
    with Nats(server.url("nats", "nats")) as a, Nats(server.url("nats", "nats")) as b:
        a.subscribe("big")
        data = bytes(range(256)) * 4096
        b.publish("big", data)
        a.expect("big", data)
        try:
            b.publish("big", data + b"x")
        except (Refused, Failure):
            pass
        else:
            raise Failure("a message over max_payload was taken")


def requests_are_answered_and_a_missing_responder_is_told(server):
    responders = [Nats(server.url("nats", "nats")), NatsWs(server.url("ws", "shared")),
                  LibNats(server.url("nats", "nats"))]
    try:
        for i, responder in enumerate(responders):
            responder.respond(f"service.{i}", prefix="done ")
        for asker in responders:
            for i in range(len(responders)):
                equal(asker.request(f"service.{i}", "wash").data, b"done wash")
        try:
            responders[0].request("service.none", "x")
        except Refused as refused:
            equal(refused.code, "503")
        else:
            raise Failure("nobody answered")
    finally:
        for responder in responders:
            responder.close()


def a_queue_group_shares_and_everyone_else_hears_all(server):
    url, count = server.url("nats", "nats"), 600
    with Nats(url) as all_of_it, Nats(url) as one, NatsWs(server.url("ws", "shared")) as two, \
            LibNats(url) as publisher:
        all_of_it.subscribe("job.*")
        one.subscribe("job.*", queue="workers")
        two.subscribe("job.>", queue="workers")
        for i in range(count):
            publisher.publish("job.x", str(i))
        for i in range(count):
            all_of_it.expect("job.x", str(i))
        equal([], [])
        got = []

        def have_all():
            for client in (one, two):
                while not client.messages.empty():
                    got.append((client, int(client.next().data)))
            return len(got) >= count

        poll(have_all, "for the group to get all of it")
        equal(sorted(number for _, number in got), list(range(count)))
        equal({client for client, _ in got}, {one, two})


def unsubscribing_after_a_number_is_exact(server):
    url = server.url("nats", "nats")
    with Nats(url) as a, Nats(url) as b:
        subscription = a.subscribe("n")
        a.unsubscribe(subscription, max=3)
        a.subscribe("n.end")
        b.publish_many("n", 5)
        b.publish("n.end", "")
        for i in range(3):
            a.expect("n", str(i))
        a.expect("n.end", "")


def order_holds_over_many_messages(server):
    url, count = server.url("nats", "nats"), 20000
    with Nats(url) as a, Nats(url) as b:
        a.subscribe("o")
        b.publish_many("o", count)
        for i in range(count):
            equal(a.next().data, str(i).encode())


def a_client_that_goes_away_leaves_nothing(server):
    url = server.url("nats", "nats")
    with Nats(url) as a:
        with Nats(url) as b:
            b.subscribe("gone")
            a.publish("gone", "1")
            b.expect("gone", "1")
        a.subscribe("inbox")

        def nobody():
            try:
                a.request("gone", "x", timeout=2000)
            except Refused as refused:
                return refused.code == "503"
            return False

        poll(nobody, "for the subscription to go")


def a_websocket_frame_may_hold_parts_of_lines(server):
    from harness import WebSocket
    with WebSocket(server, "shared", path="/nats") as ws:
        holds(ws.take_frame()[1].startswith(b"INFO {"), "INFO comes first")
        for piece in (b"CONNECT {\"verbose\":fa", b"lse}\r\nSUB foo 1\r", b"\nPUB foo 2\r\nh", b"i\r\nPI",
                      b"NG\r\n"):
            ws.send_frame(2, piece)
        heard = b""
        while not heard.endswith(b"PONG\r\n"):
            heard += ws.take_frame()[1]
        equal(heard, b"MSG foo 1 2\r\nhi\r\nPONG\r\n")


def a_drain_is_announced_before_the_end():
    import signal

    from harness import Server
    with Server() as server, Raw(server, "nats") as raw:
        raw.until()
        raw.send('CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n').expect("PONG\r\n")
        server.signal(signal.SIGTERM)
        holds(b'"ldm":true' in raw.until(), "INFO says that the server is going")
        raw.expect_close()
