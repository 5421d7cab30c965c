"""A WAMP session over RawSocket in JSON, of which every message counts."""

import itertools
import json
import struct

from harness import Failure, Raw, as_bytes, equal

MESSAGE, PING, PONG = 0, 1, 2
FEATURES = {
    "publisher": {"features": {"publisher_identification": True}},
    "subscriber": {"features": {"publisher_identification": True, "subscription_revocation": True}},
    "caller": {"features": {"caller_identification": True, "progressive_call_results": True}},
    "callee": {"features": {"caller_identification": True, "call_canceling": True,
                            "call_timeout": True, "progressive_call_results": True,
                            "progressive_call_invocations": True,
                            "registration_revocation": True}},
}
ROLES = {"roles": {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}}}
HELLO = json.dumps([1, "realm1", ROLES])


class RawSocket(Raw):
    """Past the handshake and HELLO. say and hear are messages; ask is a request with its answer."""

    def __init__(self, server, listener="rawsocket", length=15, realm="realm1", **details):
        super().__init__(server, listener)
        self.numbers = itertools.count(1)
        self.send(bytes([0x7F, length << 4 | 1, 0, 0]))
        self.answer = self.take(4)
        self.say([1, realm, {**ROLES, **details}])
        kind, self.id, self.welcome = self.hear()
        equal(kind, 2)

    def send_frame(self, kind, data=b""):
        data = as_bytes(data)
        return self.send(bytes([kind]) + struct.pack("!I", len(data))[1:] + data)

    def take_frame(self):
        head = self.take(4)
        return head[0], self.take(int.from_bytes(head[1:], "big"))

    def say(self, message):
        return self.send_frame(MESSAGE, message if isinstance(message, str) else json.dumps(message))

    def hear(self):
        kind, data = self.take_frame()
        equal(kind, MESSAGE)
        return json.loads(data)

    def begin(self, kind, *rest):
        """A request: PUBLISH 16, SUBSCRIBE 32, CALL 48, REGISTER 64 …; its number."""
        number = next(self.numbers)
        self.say([kind, number, *rest])
        return number

    def ask(self, kind, *rest):
        """The message that answers, other than ERROR."""
        number = self.begin(kind, *rest)
        answer = self.hear()
        if answer[0] == 8:
            raise Failure(f"{[kind, *rest]}: {answer}")
        equal(answer[1], number, str(answer))
        return answer

    def refused(self, kind, *rest):
        """The URI of the ERROR that answers."""
        number = self.begin(kind, *rest)
        answer = self.hear()
        equal(answer[:3], [8, kind, number], str(answer))
        return answer[4]

    def publish(self, topic, *args, **options):
        return self.ask(16, {"acknowledge": True, **options}, topic, list(args))[2]

    def subscribe(self, topic, **options):
        return self.ask(32, options, topic)[2]

    def register(self, procedure, **options):
        return self.ask(64, options, procedure)[2]

    def call(self, procedure, *args, **kwargs):
        """Arguments of the RESULT."""
        answer = self.ask(48, {}, procedure, list(args), kwargs)
        return answer[3] if len(answer) > 3 else []

    def fence(self):
        """Nothing came before the answer to this ping."""
        self.send_frame(PING, b"fence")
        equal(self.take_frame(), (PONG, b"fence"))
