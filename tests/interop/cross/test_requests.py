"""Requests of one protocol, answered in another."""

from clients import IoRedis, LibNats, MqttJs, Nats, NatsWs, Refused, redis_cli
from harness import Failure, equal, holds


def _mqtt5(server, **options):
    return MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5, **options)


def a_nats_request_is_answered_by_mqtt_js_through_its_response_topic(server):
    with _mqtt5(server) as responder, Nats(server.url("nats", "nats")) as asker, \
            LibNats(server.url("nats", "nats")) as other:
        responder.respond("service/upper", prefix="did ")
        equal(asker.request("service.upper", "one").data, b"did one")
        equal(other.request("service.upper", "two").data, b"did two")
        holds(responder.next().properties["responseTopic"].startswith("_INBOX/"),
              "the response topic is the reply subject")


def an_mqtt_5_request_is_answered_by_a_nats_responder_in_a_queue_group(server):
    with _mqtt5(server) as asker, Nats(server.url("nats", "nats")) as one, \
            Nats(server.url("nats", "nats")) as two:
        for number, responder in enumerate((one, two)):
            responder.respond("job.*", queue="workers", prefix=f"{number} did ")
        answers = [asker.request("job/wash", f"{i}", "answers/me").data for i in range(20)]
        for i, answer in enumerate(answers):
            holds(answer in (b"0 did %d" % i, b"1 did %d" % i), answer)
        for number, responder in enumerate((one, two)):
            for _ in range(sum(answer.startswith(b"%d" % number) for answer in answers)):
                responder.next()
            holds(responder.messages.empty(), "a responder got what it answered, and no more")


def correlation_data_comes_back_with_an_answer_from_mqtt(server):
    with _mqtt5(server) as asker, _mqtt5(server) as responder:
        responder.respond("ask/me", prefix="yes ")
        reply = asker.request("ask/me", "?", "answers/mine")
        equal((reply.name, reply.data), ("answers/mine", b"yes ?"))
        holds("correlationData" in reply.properties, "correlation data came back")


def a_request_over_websocket_is_answered_over_websocket(server):
    with MqttJs(server.url("ws", "shared"), protocolVersion=5) as responder, \
            NatsWs(server.url("ws", "shared")) as asker:
        responder.respond("a/b", prefix="ws ")
        equal(asker.request("a.b", "x").data, b"ws x")


def headers_cross_with_a_request(server):
    with _mqtt5(server) as responder, Nats(server.url("nats", "nats")) as asker:
        responder.respond("headers/here")
        asker.request("headers.here", "x", headers=[["trace", "abc"], ["trace", "def"]])
        properties = responder.next().properties["userProperties"]
        equal(properties, {"trace": ["abc", "def"]})


def nobody_there_is_told_at_once_to_a_nats_requester(server):
    with Nats(server.url("nats", "nats")) as asker:
        try:
            asker.request("nobody.there", "x")
        except Refused as refused:
            equal(refused.code, "503")
        else:
            raise Failure("somebody answered")


def a_redis_subscriber_hears_requests_and_is_a_receiver(server):
    with IoRedis(server.address("redis")) as redis, _mqtt5(server) as responder, \
            Nats(server.url("nats", "nats")) as asker:
        redis.subscribe("both.hear")
        responder.respond("both/hear", prefix="m ")
        equal(asker.request("both.hear", "x").data, b"m x")
        redis.expect("both.hear", "x")


def nobody_sees_anothers_inbox_by_a_wide_pattern(server):
    with Nats(server.url("nats", "nats")) as asker, Nats(server.url("nats", "nats")) as tap, \
            _mqtt5(server) as mqtt_tap, IoRedis(server.address("redis")) as redis_tap, \
            _mqtt5(server) as responder:
        tap.subscribe(">")
        mqtt_tap.subscribe("#")
        redis_tap.psubscribe("*")
        responder.respond("secret/service", prefix="answer ")
        equal(asker.request("secret.service", "x").data, b"answer x")
        # Order holds: had they seen the answer, it would stand before this.
        redis_cli(server.address("redis"), "publish", "the.end", "")
        for client, end in ((tap, "the.end"), (mqtt_tap, "the/end"), (redis_tap, "the.end")):
            names = []
            while not names or names[-1] != end:
                names.append(client.next().name)
            holds(not any("INBOX" in name for name in names), f"{client} saw {names}")
