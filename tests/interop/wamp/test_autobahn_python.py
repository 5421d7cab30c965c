"""autobahn for Python (python3-autobahn): every feature that it has, over every transport and
serializer of it."""

import asyncio
import inspect
import itertools

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, CallResult, PublishOptions, RegisterOptions
from harness import Failure, default_config, equal, holds
from python_peer import Inbox, Peer, peers, refused, within

SECONDS_MAX = 60

CONFIG = {"listeners": [*default_config()["listeners"],
                        {"name": "unix", "unix": "wamp.sock", "protocols": ["wamp"]},
                        {"name": "rs_tls", "address": "127.0.0.1", "port": 0, "tls": "on",
                         "protocols": ["wamp"]}]}

_numbers = itertools.count()


def _unique(name):
    return f"walk.py.n{next(_numbers)}.{name}"


def _publish(peer, topic, *args, options=None, **kwargs):
    return within(peer.session.publish(
        topic, *args, options=PublishOptions(acknowledge=True, **(options or {})), **kwargs),
        f"PUBLISHED {topic}")


def _call(peer, procedure, *args, **kwargs):
    return within(peer.session.call(procedure, *args, **kwargs), f"the result of {procedure}")


def _register(peer, endpoint, procedure, **options):
    return within(peer.session.register(endpoint, procedure, RegisterOptions(**options)),
                  f"REGISTERED {procedure}")


async def _fence(peer, topic, *inboxes):
    await _publish(peer, topic, "fence", options={"exclude_me": False})
    for inbox in inboxes:
        equal((await inbox.take()).args, ("fence",))


async def _welcome(open_peers):
    async with open_peers(2) as (a, b):
        equal(a.details.realm, "realm1")
        equal(a.details.authmethod, "anonymous")
        holds(a.details.authid != b.details.authid, "two names")
        holds(1 <= a.details.session <= 2 ** 53, "an id of 53 bits")


async def _events(open_peers):
    topic = _unique("event")
    async with open_peers(2) as (a, b):
        events = await a.watch(topic)
        sent = await _publish(b, topic, 1, "zwei", None, [3], key={"vier": 4.5}, ü="€𝄞")
        event = await events.take()
        equal((event.args, event.kwargs), ((1, "zwei", None, [3]), {"key": {"vier": 4.5}, "ü": "€𝄞"}))
        equal(event.details.publication, sent.id)
        for i in range(100):
            b.session.publish(topic, i)
        for i in range(100):
            equal((await events.take()).args, (i,))


async def _exclude_me(open_peers):
    topic = _unique("me")
    async with open_peers(1) as (a,):
        events = await a.watch(topic)
        await _publish(a, topic, "not for me")
        await _publish(a, topic, "for me", options={"exclude_me": False})
        equal((await events.take()).args, ("for me",))


async def _lists(open_peers):
    topic = _unique("lists")
    async with open_peers(3) as (a, b, c):
        at_a, at_b = await a.watch(topic), await b.watch(topic)
        role = a.details.authrole
        for text, options in (
                ("A", {"eligible": [a.details.session]}), ("B", {"exclude": [a.details.session]}),
                ("A", {"eligible_authid": [a.details.authid]}),
                ("B", {"exclude_authid": [a.details.authid]}),
                ("AB", {"eligible_authrole": [role, "other"]}),
                ("", {"exclude_authrole": [role]}), ("", {"eligible": []})):
            await _publish(c, topic, text, options=options)
            for name, inbox in (("A", at_a), ("B", at_b)):
                if name in text:
                    equal((await inbox.take()).args, (text,))
        await _fence(c, topic, at_a, at_b)


async def _patterns(open_peers):
    base = _unique("patterns")
    async with open_peers(2) as (a, b):
        prefix = await a.watch(f"{base}.a", match="prefix")
        wildcard = await a.watch(f"{base}..c", match="wildcard")
        await _publish(b, f"{base}.abc", 1)
        await _publish(b, f"{base}.b.c", 2)
        event = await prefix.take()
        equal((event.args, event.details.topic), ((1,), f"{base}.abc"))
        event = await wildcard.take()
        equal((event.args, event.details.topic), ((2,), f"{base}.b.c"))
        prefix.expect_none()
        wildcard.expect_none()


async def _retained(open_peers):
    topic = _unique("retained")
    async with open_peers(2) as (a, b):
        await _publish(b, topic, "kept", options={"retain": True})
        await _publish(b, topic, "gone")
        event = await (await a.watch(topic, get_retained=True)).take()
        equal((event.args, event.details.retained), (("kept",), True))


async def _unsubscribe(open_peers):
    topic = _unique("unsubscribe")
    async with open_peers(2) as (a, b):
        events = await a.watch(topic)
        await within(events.subscription.unsubscribe(), "UNSUBSCRIBED")
        await _publish(b, topic, 1)
        await _fence(b, topic, await a.watch(topic))
        events.expect_none()


async def _calls(open_peers):
    name = _unique("echo")
    async with open_peers(2) as (a, b):
        await _register(a, lambda *args, **kwargs: CallResult(*args, **kwargs), name)
        equal(await _call(b, name), None)
        equal(await _call(b, name, "one"), "one")
        both = await _call(b, name, 1, 2, x=3)
        equal((both.results, both.kwresults), ((1, 2), {"x": 3}))
        equal(await _call(a, name, "own"), "own")
        results = await asyncio.gather(*(_call(b, name, i) for i in range(100)))
        equal(results, list(range(100)))


async def _errors(open_peers):
    name = _unique("error")

    def fail(kind):
        if kind == "own":
            raise ApplicationError("com.walk.error.own", 1, "two", three=3)
        raise ValueError("text")

    async with open_peers(2) as (a, b):
        await _register(a, fail, name)
        error = await refused(b.session.call(name, "own"))
        equal((error.error, error.args, error.kwargs["three"]), ("com.walk.error.own", (1, "two"), 3))
        error = await refused(b.session.call(name, "other"))
        equal((error.error, error.args), ("wamp.error.runtime_error", ("text",)))
        equal((await refused(b.session.call(_unique("nobody")))).error, "wamp.error.no_such_procedure")
        equal((await refused(b.session.register(fail, name))).error,
              "wamp.error.procedure_already_exists")
        equal((await refused(_register(b, fail, "wamp.forged"))).error[:11], "wamp.error.")


async def _unregister(open_peers):
    name = _unique("unregister")
    async with open_peers(2) as (a, b):
        registration = await _register(a, lambda: "a", name)
        await within(registration.unregister(), "UNREGISTERED")
        equal((await refused(b.session.call(name))).error, "wamp.error.no_such_procedure")
        await _register(b, lambda: "b", name)
        equal(await _call(a, name), "b")


async def _progress(open_peers):
    name = _unique("progress")

    def endpoint(count, details=None):
        for i in range(count if details.progress else 0):
            details.progress(i, part=i)
        return bool(details.progress)

    async with open_peers(2) as (a, b):
        await _register(a, endpoint, name, details_arg="details")
        parts = []
        equal(await _call(b, name, 4, options=CallOptions(
            on_progress=lambda i, part: parts.append((i, part)))), True)
        equal(parts, [(i, i) for i in range(4)])
        equal(await _call(b, name, 4), False)


async def _cancel(open_peers):
    name = _unique("cancel")
    async with open_peers(2) as (a, b):
        begun, canceled = Inbox(), Inbox()

        async def endpoint():
            begun.put()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                canceled.put()
                raise

        await _register(a, endpoint, name)
        call = b.session.call(name)
        await begun.take("the invocation")
        call.cancel()
        await canceled.take("INTERRUPT")
        # Both are still there.
        equal(await _call(b, "wamp.session.count") >= 2, True)
        equal(await _call(a, "wamp.session.count") >= 2, True)


async def _timeout(open_peers):
    name = _unique("timeout")
    async with open_peers(2) as (a, b):
        canceled = Inbox()

        async def endpoint():
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                canceled.put()
                raise

        await _register(a, endpoint, name)
        error = await refused(b.session.call(name, options=CallOptions(timeout=100)))
        equal(error.error, "wamp.error.timeout")
        await canceled.take("INTERRUPT")


async def _callee_gone(open_peers):
    name = _unique("gone")
    async with open_peers(2) as (a, b):
        begun = Inbox()

        async def endpoint():
            begun.put()
            await asyncio.get_running_loop().create_future()

        await _register(a, endpoint, name)
        call = b.session.call(name)
        await begun.take("the invocation")
        a.transport.abort()
        equal((await refused(call)).error, "wamp.error.canceled")


async def _registrations(open_peers):
    base = _unique("rpc")
    async with open_peers(2) as (a, b):
        def endpoint(details=None):
            return details.procedure

        await _register(a, endpoint, f"{base}.a", match="prefix", details_arg="details")
        await _register(a, endpoint, f"{base}..z", match="wildcard", details_arg="details")
        equal(await _call(b, f"{base}.a.b"), f"{base}.a.b")
        equal(await _call(b, f"{base}.y.z"), f"{base}.y.z")


async def _shared(open_peers):
    async with open_peers(4) as (a, b, c, caller):
        for invoke, expected in (("roundrobin", "abcabc"), ("first", "aaaaaa"), ("last", "cccccc"),
                                 ("random", None)):
            name = _unique(invoke)
            for text, peer in (("a", a), ("b", b), ("c", c)):
                await _register(peer, lambda text=text: text, name, invoke=invoke)
            got = [await _call(caller, name) for _ in range(6 if expected else 60)]
            if expected:
                equal("".join(got), expected)
            else:
                equal(set(got), {"a", "b", "c"})
        name = _unique("single")
        await _register(a, lambda: 1, name, invoke="single")
        equal((await refused(_register(b, lambda: 1, name, invoke="first"))).error,
              "wamp.error.procedure_already_exists")


async def _concurrency(open_peers):
    name = _unique("concurrency")
    async with open_peers(2) as (a, b):
        begun = Inbox()

        async def endpoint():
            done = asyncio.get_running_loop().create_future()
            begun.put(done)
            return await done

        await _register(a, endpoint, name, concurrency=2, invoke="roundrobin")
        calls = [b.session.call(name) for _ in range(2)]
        finish = [(await begun.take()).args[0] for _ in range(2)]
        await refused(b.session.call(name))
        for i, done in enumerate(finish):
            done.set_result(i)
        equal(await within(asyncio.gather(*calls), "both"), [0, 1])


async def _force(open_peers):
    name = _unique("force")
    async with open_peers(3) as (a, b, c):
        await _register(a, lambda: "old", name)
        await _register(b, lambda: "new", name, force_reregister=True)
        equal(await _call(c, name), "new")


async def _bytes(open_peers):
    topic, name = _unique("bytes"), _unique("bytes")
    async with open_peers(2) as (a, b):
        events = await a.watch(topic)
        await _register(a, lambda data: data, name)
        for data in (bytes.fromhex("10e3ff9053075c526f5fc06d4fe37cdb"), b"\0", b"\xff" * 300):
            await _publish(b, topic, data, key=data)
            event = await events.take()
            equal((event.args, event.kwargs), ((data,), {"key": data}))
            equal(await _call(b, name, data), data)


async def _values(open_peers):
    name = _unique("values")
    async with open_peers(2) as (a, b):
        await _register(a, lambda value: [value], name)
        for value in (0, -1, 2 ** 53, 2 ** 63 - 1, -2 ** 63, 2 ** 64 - 1, 0.5, -1e300, 2.0, "", "😀",
                      "x" * 70000, [], {}, [[[[]]]], {"a": {"b": [{"c": None}]}}, True, False, None):
            [got] = await _call(b, name, value)
            equal((got, type(got)), (value, type(value)))


async def _large(open_peers):
    topic = _unique("large")
    async with open_peers(2) as (a, b):
        events = await a.watch(topic)
        await _publish(b, topic, "ab" * 500_000)
        equal((await events.take()).args, ("ab" * 500_000,))


async def _goodbye(open_peers):
    async with open_peers(1) as (a,):
        a.session.leave("wamp.close.normal", "enough")
        equal((await within(a.left, "GOODBYE")).reason, "wamp.close.goodbye_and_out")


async def _meta(open_peers):
    name, topic = _unique("meta"), _unique("meta")
    async with open_peers(2) as (a, b):
        registration = await _register(a, lambda: 1, name)
        events = await a.watch(topic)
        holds(a.details.session in await _call(b, "wamp.session.list"), "a is listed")
        details = await _call(b, "wamp.session.get", a.details.session)
        equal(details["authid"], a.details.authid)
        equal(await _call(b, "wamp.registration.lookup", name), registration.id)
        equal((await _call(b, "wamp.registration.get", registration.id))["uri"], name)
        equal(await _call(b, "wamp.subscription.lookup", topic), events.subscription.id)
        equal(await _call(b, "wamp.subscription.list_subscribers", events.subscription.id),
              [a.details.session])
        equal((await refused(b.session.call("wamp.session.get", 1))).error,
              "wamp.error.no_such_session")


async def _testament(open_peers):
    topic = _unique("testament")
    async with open_peers(2) as (a, b):
        events = await a.watch(topic)
        await _call(b, "wamp.session.add_testament", topic, ["last words"], {"k": 1})
        b.transport.abort()
        event = await events.take("the testament")
        equal((event.args, event.kwargs), (("last words",), {"k": 1}))


_STEPS = [_welcome, _events, _exclude_me, _lists, _patterns, _retained, _unsubscribe, _calls, _errors,
          _unregister, _progress, _cancel, _timeout, _callee_gone, _registrations, _shared,
          _concurrency, _force, _bytes, _values, _large, _goodbye, _meta, _testament]


def _walk(where, serializer):
    async def run():
        failed = []
        for step in _STEPS:
            try:
                await step(lambda count: peers(where, serializer, count))
            except Exception as error:
                line = next((f.lineno for f in reversed(inspect.trace())
                             if f.filename == __file__), 0)
                failed.append(f"{step.__name__}, line {line}: {type(error).__name__}: {error}")
            if len(failed) > 3:
                break
        if failed:
            raise Failure("\n".join(failed))

    asyncio.run(run())


def autobahn_python_walks_every_feature_over_websocket_in_json(server):
    _walk(server.url("ws", "wamp", "/ws"), "json")


def autobahn_python_walks_every_feature_over_websocket_in_messagepack(server):
    _walk(server.url("ws", "wamp", "/ws"), "msgpack")


def autobahn_python_walks_every_feature_over_tls_in_cbor(server):
    _walk(server.url("wss", "wss", "/ws"), "cbor")


# Its batches of JSON end with 0x18 (an octal 30) where the standard has 0x1E.
def autobahn_python_walks_every_feature_in_batches_of_messagepack(server):
    _walk(server.url("ws", "wamp", "/ws"), "msgpack.batched")


def autobahn_python_walks_every_feature_in_batches_of_cbor(server):
    _walk(server.url("ws", "shared", "/ws"), "cbor.batched")


def autobahn_python_walks_every_feature_over_rawsocket_in_json(server):
    _walk(server.url("rs", "rawsocket"), "json")


def autobahn_python_walks_every_feature_over_rawsocket_in_messagepack(server):
    _walk(server.url("rs", "shared"), "msgpack")


def autobahn_python_walks_every_feature_over_rawsocket_with_tls(server):
    _walk(server.url("rss", "rs_tls"), "msgpack")


def autobahn_python_walks_every_feature_over_a_unix_socket_in_cbor(server):
    _walk(f"unix:{server.folder / 'wamp.sock'}", "cbor")


def a_realm_that_is_not_there_is_no_such_realm(server):
    async def run():
        equal((await refused(Peer(server.url("ws", "wamp"), "json", realm="no.such").open())).error,
              "wamp.error.no_such_realm")

    asyncio.run(run())
