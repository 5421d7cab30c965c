"""WAMP by HTTP long-poll: requests by hand, and autobahn-js with its transport for browsers."""

import http.client
import json
import queue
import threading

from harness import TIMEOUT, Server, equal, holds
from raw_session import HELLO, RawSocket
from walks import walk

SECONDS_MAX = 240


class _Poll:
    """A transport; each request on a connection of its own, so that threads meet."""

    def __init__(self, server, protocols=("wamp.2.json",), listener="wamp"):
        self.address = server.address(listener)
        status, body = self.post("/lp/open", json.dumps({"protocols": list(protocols)}))
        equal(status, 200, str(body))
        self.terms = json.loads(body)
        self.path = f"/lp/{self.terms['transport']}"

    def post(self, path, body=""):
        connection = http.client.HTTPConnection(*self.address, timeout=15)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def send(self, message):
        text = message if isinstance(message, str) else json.dumps(message)
        return self.post(f"{self.path}/send", text)[0]

    def receive(self):
        status, body = self.post(f"{self.path}/receive")
        equal(status, 200)
        return json.loads(body)

    def join(self):
        equal(self.send(HELLO), 204)
        equal(self.receive()[0], 2)
        return self


def a_session_by_long_poll_hears_and_is_heard(server):
    poll = _Poll(server).join()
    equal(poll.terms["protocol"], "wamp.2.json")
    equal(poll.send([32, 1, {}, "poll.x"]), 204)
    equal(poll.receive()[:2], [33, 1])
    with RawSocket(server) as other:
        for i in range(20):
            other.publish("poll.x", i)
        for i in range(20):
            equal(poll.receive()[4], [i])
        other.subscribe("poll.y")
        equal(poll.send([16, 2, {"acknowledge": True}, "poll.y", ["from the poll"]]), 204)
        equal(other.hear()[4], ["from the poll"])
        equal(poll.receive()[:2], [17, 2])


def a_request_for_a_message_is_held_until_there_is_one(server):
    poll = _Poll(server).join()
    equal(poll.send([32, 1, {}, "held.x"]), 204)
    equal(poll.receive()[0], 33)
    got = []
    thread = threading.Thread(target=lambda: got.append(poll.receive()))
    thread.start()
    with RawSocket(server) as other:
        other.publish("held.x", "now")
    thread.join(10)
    equal(got[0][4], ["now"])


def the_first_known_protocol_is_chosen_and_none_is_400(server):
    equal(_Poll(server, ["wamp.2.ubjson", "wamp.2.cbor", "wamp.2.json"]).terms["protocol"], "wamp.2.cbor")
    poll = _Poll(server)
    for body in ('{"protocols":["wamp.2.ubjson"]}', "{}", "no json", ""):
        equal(poll.post("/lp/open", body)[0], 400, body)


def what_is_not_there_is_404(server):
    poll = _Poll(server)
    for path in (f"/lp/{'0' * 34}/receive", f"/lp/ff{'0' * 32}/send", "/lp/short/close", "/lp/receive"):
        equal(poll.post(path)[0], 404, path)
    equal(poll.post(f"{poll.path}/close")[0], 204)
    equal(poll.send(HELLO), 404)


def goodbye_and_a_violation_are_fetched_before_the_end(server):
    poll = _Poll(server).join()
    equal(poll.send([6, {}, "wamp.close.normal"]), 204)
    equal(poll.receive()[2], "wamp.close.goodbye_and_out")
    equal(poll.post(f"{poll.path}/receive")[0], 404)
    poll = _Poll(server)
    equal(poll.send("no message"), 204)
    equal(poll.receive()[2], "wamp.error.protocol_violation")
    equal(poll.post(f"{poll.path}/receive")[0], 404)


def a_closed_transport_ends_its_session(server):
    with RawSocket(server) as other:
        other.subscribe("wamp.session.on_leave")
        poll = _Poll(server)
        equal(poll.send(HELLO), 204)
        session = poll.receive()[1]
        equal(poll.post(f"{poll.path}/close")[0], 204)
        while other.hear()[4][0] != session:
            pass


def a_body_above_the_limit_is_413(server):
    poll = _Poll(server)
    holds(poll.send("x" * 200_000) in (413, 404), "413")


def a_drain_says_goodbye_to_those_who_poll():
    with Server() as server:
        poll = _Poll(server).join()
        got = queue.Queue()
        for _ in range(2):
            threading.Thread(target=lambda: got.put(poll.post(f"{poll.path}/receive")),
                             daemon=True).start()
        # The second one is held when the first is let go.
        equal(got.get(timeout=TIMEOUT)[0], 204)
        server.signal(15)
        status, body = got.get(timeout=TIMEOUT)
        equal((status, json.loads(body)[2]), (200, "wamp.close.system_shutdown"))


def autobahn_js_walks_every_feature_by_long_poll(server):
    walk("walk_autobahn.mjs", 43, serializer="json",
         transport={"type": "longpoll", "url": server.url("http", "wamp", "/lp")})
