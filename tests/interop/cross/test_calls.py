"""Calls: procedures of WAMP asked by other protocols, and responders of these asked by WAMP."""

import subprocess
import time

from clients import Autobahn, IoRedis, MqttJs, Nats, Refused
from harness import SANITIZER_OPTIONS, TIMEOUT, Failure, Server, equal, holds, os

SECONDS_MAX = 120


def _wamp(server, serializer="json"):
    return Autobahn(server.url("ws", "shared"), serializer)


def _mqtt5(server):
    return MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5)


def _nats(server):
    return Nats(server.url("nats", "nats"))


def _refusal(ask, *arguments, **options):
    """(URI, arguments) of the error that a call ends with."""
    try:
        answer = ask(*arguments, **options)
    except Refused as refused:
        return refused.text, refused.code
    raise Failure(f"it was answered: {answer}")


def _command(server, *arguments):
    done = subprocess.run(
        [server.binary, "request", *arguments], capture_output=True, timeout=TIMEOUT * 2, check=False,
        env={**os.environ, **SANITIZER_OPTIONS, "PARLEY_URL": server.url("nats", "nats")})
    return done.returncode, done.stdout


# ---- A procedure of WAMP, asked by everyone ----

def one_procedure_answers_nats_mqtt_the_command_line_and_wamp_in_each_serializer(server):
    with _wamp(server) as callee, _nats(server) as nats, _mqtt5(server) as mqtt:
        callee.register("one.procedure")
        equal(nats.request("one.procedure", "hello").data, b"hello")
        equal(nats.request("one.procedure", '{"a": [1, 2.5]}').data, b'{"a":[1,2.5]}')
        equal(mqtt.request("one/procedure", "from mqtt", "answers/one").data, b"from mqtt")
        equal(_command(server, "one.procedure", "from a shell", "--raw"), (0, b"from a shell\n"))
        for serializer in ("json", "msgpack", "cbor"):
            with _wamp(server, serializer) as caller:
                answer = caller.ask("one.procedure", "x", 7, b"\x00\xff", named=True)
                equal(answer["args"], ["x", 7, b"\x00\xff"])
                equal(answer["kwargs"], {"named": True})


def correlation_data_comes_back_from_a_procedure(server):
    with _wamp(server) as callee, _mqtt5(server) as mqtt:
        callee.register("correlated.procedure")
        reply = mqtt.request("correlated/procedure", "x", "answers/correlated")
        holds("correlationData" in reply.properties, "correlation data came back")


def an_error_of_a_procedure_is_told_in_each_protocols_words(server):
    with _wamp(server) as callee, _wamp(server, "cbor") as caller, _nats(server) as nats, \
            _mqtt5(server) as mqtt:
        callee.register("bad.procedure", "error", uri="com.example.error.bad")
        uri, said = _refusal(caller.ask, "bad.procedure", "why")
        equal((uri, said["args"]), ("com.example.error.bad", ["why"]))
        reply = nats.request("bad.procedure", "why")
        equal(dict(reply.headers), {"Nats-Service-Error": "com.example.error.bad",
                                    "Nats-Service-Error-Code": "500"})
        equal(reply.data, b"why")
        reply = mqtt.request("bad/procedure", "why", "answers/bad")
        equal(reply.properties["userProperties"]["parley-error"], "com.example.error.bad")
        equal(reply.data, b"why")


def a_callee_that_leaves_ends_the_call_of_each_protocol(server):
    with _nats(server) as nats, _wamp(server, "msgpack") as caller:
        with _wamp(server) as callee:
            callee.register("leaving.procedure", "silent")
            call = caller.begin("call", procedure="leaving.procedure")
            callee.event("invocation")
            request = nats.begin("request", subject="leaving.procedure", data="", timeout=20000)
            callee.event("invocation")
        equal(_refusal(caller.finish, call)[0], "wamp.error.canceled")
        headers = dict(nats.finish(request)["reply"]["headers"])
        equal(headers["Nats-Service-Error"], "wamp.error.canceled")


def progress_reaches_a_nats_requester_that_asks_for_it(server):
    with _wamp(server) as callee, _nats(server) as nats, _mqtt5(server) as mqtt:
        callee.register("slow.procedure", "progress", parts=["a", "b"])
        nats.subscribe("_INBOX.progress.1")
        nats.publish("slow.procedure", "end", reply="_INBOX.progress.1",
                     headers=[["Parley-Receive-Progress", "true"]])
        for part in ("a", "b"):
            equal(nats.expect("_INBOX.progress.1", part).headers, [["Parley-Progress", "true"]])
        equal(nats.expect("_INBOX.progress.1", "end").headers, [])
        mqtt.subscribe("parts/of/it")
        mqtt.publish("slow/procedure", "end", properties={
            "responseTopic": "parts/of/it", "userProperties": {"Parley-Receive-Progress": "true"}})
        for part in ("a", "b"):
            equal(mqtt.expect("parts/of/it", part).properties["userProperties"],
                  {"parley-progress": "true"})
        holds("userProperties" not in mqtt.expect("parts/of/it", "end").properties, "it is the end")
        equal(nats.request("slow.procedure", "alone").data, b"alone")


# ---- Responders of NATS and MQTT, asked by WAMP ----

def a_nats_responder_answers_a_call(server):
    with _nats(server) as responder, _wamp(server) as caller, _wamp(server, "msgpack") as other:
        responder.respond("nats.service", prefix="did ")
        equal(caller.ask("nats.service", "one")["args"], ["did one"])
        equal(other.ask("nats.service", "two")["args"], ["did two"])
        responder.respond("nats.json")
        equal(caller.ask("nats.json", {"a": 1})["args"], [{"a": 1}])
        equal(caller.ask("nats.json", 1, 2, k=3), {"args": [1, 2], "kwargs": {"k": 3}, "parts": []})
        equal(caller.ask("nats.json")["args"], [])


def a_service_of_nats_js_answers_a_call_and_its_error_is_one(server):
    with _nats(server) as good, _nats(server) as bad, _nats(server) as mute, \
            _wamp(server, "cbor") as caller:
        good.service("good", "service.good")
        equal(caller.ask("service.good", "x", 7)["args"], ["x", 7])
        bad.service("bad", "service.bad", 404, "com.example.not_found")
        uri, said = _refusal(caller.ask, "service.bad", "what")
        equal((uri, said["args"]), ("com.example.not_found", ["what"]))
        mute.service("mute", "service.mute", 418)
        equal(_refusal(caller.ask, "service.mute", "x")[0], "wamp.error.runtime_error")
        # Who asks which services there are hears them all.
        good.subscribe("answers.of.services")
        good.publish("$SRV.PING.bad", "", reply="answers.of.services")
        holds(b'"name":"bad"' in good.next().data, "the service says its name")


def a_queue_group_answers_each_call_once(server):
    with _nats(server) as one, _mqtt5(server) as two, _wamp(server) as caller:
        one.respond("group.>", queue="workers", prefix="nats ")
        two.respond("$share/workers/group/#", prefix="mqtt ")
        answers = [caller.ask("group.work", str(i))["args"][0] for i in range(20)]
        for i, answer in enumerate(answers):
            holds(answer in (f"nats {i}", f"mqtt {i}"), answer)


def an_mqtt_5_responder_answers_a_call(server):
    with _mqtt5(server) as responder, _wamp(server, "cbor") as caller:
        responder.respond("mqtt/service", prefix="did ")
        equal(caller.ask("mqtt.service", "it")["args"], ["did it"])


def an_error_of_a_responder_is_an_error_of_the_call(server):
    with _nats(server) as nats, _mqtt5(server) as mqtt, _wamp(server) as caller:
        nats.subscribe("nats.bad")
        for header, uri, args in (("com.example.bad", "com.example.bad", ["body"]),
                                  ("no such thing", "wamp.error.runtime_error", ["body"])):
            answer = caller.begin("call", procedure="nats.bad", args=["x"])
            nats.publish(nats.next().reply, "body", headers=[
                ["Nats-Service-Error", header], ["Nats-Service-Error-Code", "400"]])
            uri_told, said = _refusal(caller.finish, answer)
            equal((uri_told, said["args"]), (uri, args))
        mqtt.subscribe("mqtt/bad")
        answer = caller.begin("call", procedure="mqtt.bad", args=["x"])
        mqtt.publish(mqtt.next().properties["responseTopic"], "", properties={
            "userProperties": {"parley-error": "com.example.worse"}})
        equal(_refusal(caller.finish, answer)[0], "com.example.worse")


def progress_of_a_nats_responder_reaches_the_caller(server):
    with _nats(server) as nats, _wamp(server) as caller:
        nats.subscribe("nats.slow")
        answer = caller.begin("call", procedure="nats.slow", options={"receive_progress": True})
        request = nats.next()
        equal(request.headers, [["Parley-Receive-Progress", "true"]])
        for part in ("a", "b"):
            nats.publish(request.reply, part, headers=[["Parley-Progress", "true"]])
        nats.publish(request.reply, "end")
        done = caller.finish(answer)
        equal((done["parts"], done["args"]), (["a", "b"], ["end"]))


def a_responder_that_says_nothing_is_a_timeout(server):
    with _nats(server) as nats, _wamp(server) as caller:
        nats.subscribe("nats.silent")
        equal(_refusal(caller.ask, "nats.silent", options={"timeout": 50})[0], "wamp.error.timeout")
        # Too late is nobody's business.
        nats.publish(nats.next().reply, "late")
        nats.respond("nats.lively")
        equal(caller.ask("nats.lively", "x")["args"], ["x"])


def nobody_there_is_told_at_once(server):
    with _nats(server) as tap, _wamp(server) as caller, _nats(server) as nats:
        tap.subscribe(">")
        equal(_refusal(caller.ask, "nobody.here")[0], "wamp.error.no_such_procedure")
        holds(tap.messages.empty(), "whoever listens to everything is not asked")
        caller.register("somebody.here")
        equal(nats.request("somebody.here", "x").data, b"x")


def an_answer_comes_from_nobody_but_the_one_who_was_asked(server):
    with _wamp(server) as callee, _nats(server) as nats, _nats(server) as other:
        callee.register("mine.alone")
        other.subscribe("mine.alone")
        equal(nats.request("mine.alone", "x").data, b"x")
        holds(not other.next().reply, "a subscriber hears the request without where to answer")


def a_timeout_does_not_wait_for_the_next_second(server):
    with _wamp(server) as callee, _wamp(server) as one, _wamp(server) as two:
        callee.register("silent.procedure", "silent")
        began = time.monotonic()
        for caller in (one, two) * 5:
            equal(_refusal(caller.ask, "silent.procedure", options={"timeout": 20})[0],
                  "wamp.error.timeout")
        holds(time.monotonic() - began < 5, "ten timeouts of 20 ms are no ten seconds")


def progress_of_an_mqtt_5_responder_reaches_only_the_caller_that_wants_it(server):
    with _mqtt5(server) as mqtt, _wamp(server, "msgpack") as caller:
        mqtt.subscribe("mqtt/slow")
        for wanted in (True, False):
            answer = caller.begin("call", procedure="mqtt.slow",
                                  options={"receive_progress": True} if wanted else {})
            properties = mqtt.next().properties
            equal(properties.get("userProperties"),
                  {"Parley-Receive-Progress": "true"} if wanted else None)
            for part in ("a", "b"):
                mqtt.publish(properties["responseTopic"], part, properties={
                    "userProperties": {"parley-progress": "true"}})
            mqtt.publish(properties["responseTopic"], "end")
            done = caller.finish(answer)
            equal((done["parts"], done["args"]), (["a", "b"] if wanted else [], ["end"]))


def errors_of_nats_and_mqtt_responders_are_told_in_each_others_words(server):
    with _nats(server) as nats, _mqtt5(server) as mqtt:
        nats.subscribe("bad.nats")
        mqtt.subscribe("bad/mqtt")
        asked = mqtt.begin("request", topic="bad/nats", data="", response="answers/bad/nats")
        nats.publish(nats.next().reply, "why", headers=[
            ["Nats-Service-Error", "no such thing"], ["Nats-Service-Error-Code", "404"]])
        properties = mqtt.finish(asked)["reply"]["properties"]["userProperties"]
        equal(properties, {"parley-error": "no such thing", "Nats-Service-Error": "no such thing",
                           "Nats-Service-Error-Code": "404"})
        asked = nats.begin("request", subject="bad.mqtt", data="")
        mqtt.publish(mqtt.next().properties["responseTopic"], "why", properties={
            "userProperties": {"parley-error": "com.example.bad"}})
        equal(dict(nats.finish(asked)["reply"]["headers"]), {
            "Nats-Service-Error": "com.example.bad", "Nats-Service-Error-Code": "500",
            "parley-error": "com.example.bad"})


def the_limit_of_a_call_ends_requests_that_nobody_answers():
    with Server(calls={"timeout": "100ms"}) as server, _wamp(server) as callee, \
            _nats(server) as nats, _mqtt5(server) as mqtt, _wamp(server) as caller:
        callee.register("silent.procedure", "silent")
        reply = nats.request("silent.procedure", "x")
        equal((reply.data, dict(reply.headers)), (b"", {
            "Nats-Service-Error": "wamp.error.timeout", "Nats-Service-Error-Code": "504"}))
        reply = mqtt.request("silent/procedure", "x", "answers/silent")
        equal((reply.data, reply.properties["userProperties"]),
              (b"", {"parley-error": "wamp.error.timeout"}))
        # The caller's own limit is longer than what a responder is given.
        nats.subscribe("silent.responder")
        uri, _ = _refusal(caller.ask, "silent.responder", options={"timeout": 60000})
        equal(uri, "wamp.error.timeout")


def nobody_is_asked_who_hears_everything_or_cannot_answer(server):
    with _nats(server) as tap, _mqtt5(server) as mqtt_tap, MqttJs(server.url("mqtt", "mqtt")) as old, \
            IoRedis(server.address("redis")) as redis, _wamp(server) as hearer, \
            _wamp(server) as caller:
        tap.subscribe(">")
        mqtt_tap.subscribe("#")
        mqtt_tap.subscribe("+/cannot")
        old.subscribe("they/cannot")
        redis.subscribe("they.cannot")
        hearer.subscribe("they.cannot")
        equal(_refusal(caller.ask, "they.cannot", "x")[0], "wamp.error.no_such_procedure")
        caller.publish("they.cannot", "the event")
        for client, name in ((tap, "they.cannot"), (mqtt_tap, "they/cannot"), (old, "they/cannot"),
                             (redis, "they.cannot")):
            client.expect(name, "the event")
        hearer.expect("they.cannot", ["the event"])


def several_responders_are_all_asked_and_the_first_answer_counts(server):
    with _nats(server) as first, _mqtt5(server) as second, _wamp(server) as caller:
        first.subscribe("several.*")
        second.subscribe("several/here")
        answer = caller.begin("call", procedure="several.here", args=["x"])
        asked = (first.next().reply, second.next().properties["responseTopic"])
        equal(asked[0].replace(".", "/"), asked[1])
        second.publish(asked[1], "second")
        first.publish(asked[0], "first")
        equal(caller.finish(answer)["args"], ["second"])
        first.respond("several.alone")
        equal(caller.ask("several.alone", "x")["args"], ["x"])
