"""autobahn for Python as a client of tests, on asyncio.

    async with peers(where, "cbor", 2) as (a, b):
        events = await a.watch("some.topic")
        await b.session.publish("some.topic", 1, options=PublishOptions(acknowledge=True))
        equal((await events.take()).args, (1,))

where is a URL: ws://…, wss://…, rs://host:port, rss://host:port or unix:path.
"""

import asyncio
import collections
import contextlib
import ssl

import txaio
from autobahn.asyncio.rawsocket import WampRawSocketClientFactory, WampRawSocketClientProtocol
from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp import serializer as serializers
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, SubscribeOptions
from autobahn.websocket.util import parse_url

from harness import TIMEOUT, Certificates, Failure

SERIALIZERS = {
    "json": lambda: serializers.JsonSerializer(),
    "msgpack": lambda: serializers.MsgPackSerializer(),
    "cbor": lambda: serializers.CBORSerializer(),
    "msgpack.batched": lambda: serializers.MsgPackSerializer(batched=True),
    "cbor.batched": lambda: serializers.CBORSerializer(batched=True),
}

Event = collections.namedtuple("Event", "args kwargs details")


async def within(awaitable, what):
    try:
        return await asyncio.wait_for(awaitable, TIMEOUT)
    except asyncio.TimeoutError:
        raise Failure(f"waited {TIMEOUT:g} s for {what}") from None


async def refused(awaitable):
    """The ApplicationError that a call, a publication or a registration ends with."""
    try:
        value = await within(awaitable, "a refusal")
    except ApplicationError as error:
        return error
    raise Failure(f"not refused: {value!r}")


class Inbox:
    def __init__(self):
        self.queue = asyncio.Queue()

    async def take(self, what="an event"):
        return await within(self.queue.get(), what)

    def put(self, *args, details=None, **kwargs):
        self.queue.put_nowait(Event(args, kwargs, details))

    def expect_none(self):
        """For use after another event told that nothing can come any more."""
        if not self.queue.empty():
            raise Failure(f"got {self.queue.get_nowait()}, expected nothing")


class RawSocketProtocol(WampRawSocketClientProtocol):
    # Version 22.7.1 asks for it and has it on WebSockets only.
    transport_details = property(lambda self: self._transport_details)


class Session(ApplicationSession):
    def __init__(self, config):
        super().__init__(config)
        self.peer = config.extra

    def onConnect(self):
        self.join(self.config.realm)

    def onJoin(self, details):
        self.peer.details = details
        self.peer.joined.set_result(details)

    def onLeave(self, details):
        if not self.peer.joined.done():
            self.peer.joined.set_exception(ApplicationError(details.reason, details.message))
        self.peer.left.set_result(details)
        self.disconnect()

    def onDisconnect(self):
        if not self.peer.gone.done():
            self.peer.gone.set_result(None)

    def onUserError(self, fail, msg):
        pass


class Peer:
    """session is autobahn's; details its SessionDetails; left and gone end with the session."""

    def __init__(self, where, serializer, realm="realm1"):
        loop = asyncio.get_running_loop()
        txaio.config.loop = loop
        self.joined, self.left, self.gone = (loop.create_future() for _ in range(3))
        self.where, self.serializer, self.realm = where, SERIALIZERS[serializer](), realm

    def _make(self):
        self.session = Session(ComponentConfig(self.realm, extra=self))
        self.session.log.warn = self.session.log.error = lambda *_, **__: None
        return self.session

    async def open(self):
        loop = asyncio.get_running_loop()
        is_tls = self.where.startswith(("wss", "rss"))
        context = ssl.create_default_context(cafile=str(Certificates().ca)) if is_tls else None
        if self.where.startswith("ws"):
            _, host, port, *_ = parse_url(self.where)
            factory = WampWebSocketClientFactory(self._make, url=self.where,
                                                 serializers=[self.serializer])
            made = loop.create_connection(factory, host, port, ssl=context)
        else:
            factory = WampRawSocketClientFactory(self._make, serializer=self.serializer)
            factory.protocol = RawSocketProtocol
            kind, _, rest = self.where.partition(":")
            if kind == "unix":
                made = loop.create_unix_connection(factory, rest)
            else:
                host, _, port = rest.strip("/").partition(":")
                made = loop.create_connection(factory, host, int(port), ssl=context)
        self.transport, _ = await within(made, "the connection")
        await within(self.joined, "WELCOME")
        return self

    async def close(self):
        if self.session.is_attached():
            self.session.leave()
            await within(self.left, "GOODBYE")
        await within(self.gone, "the end of the connection")

    async def watch(self, topic, **options):
        inbox = Inbox()
        inbox.subscription = await within(
            self.session.subscribe(inbox.put, topic, SubscribeOptions(details=True, **options)),
            f"SUBSCRIBED {topic}")
        return inbox


@contextlib.asynccontextmanager
async def peers(where, serializer, count):
    """So many sessions, closed at the end."""
    all_of_them = [await Peer(where, serializer).open() for _ in range(count)]
    yield all_of_them
    for peer in all_of_them:
        await peer.close()
