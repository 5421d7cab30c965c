"""Who may answer: the one who was asked, once, without a publish right of its own."""

from clients import MqttJs, Nats
from harness import Server, equal, holds
from people import PASSWORD, users
from wires import Mqtt
from wires import Nats as RawNats

CONFIG = {
    "files": {"users": users(asker="all", helper="helper", other="helper", low="low", flo="filtered")},
    "auth": {"users": "users"},
    "roles": {
        "helper": {"subscribe": ["ask.#"]},
        "low": {"publish": ["ask.>"], "subscribe": ["target.>"]},
        "filtered": {"subscribe": [">"], "deny_subscribe": ["job.secret"]},
    },
    "calls": {"timeout": "700ms"},
}


def _is_refused(error):
    return bool(error) and "permissions violation for publish" in error.lower()


def a_nats_responder_without_a_publish_right_answers_once(server):
    asker, helper = RawNats(server, "asker"), RawNats(server, "helper")
    holds(asker.subscribe("_INBOX.mine.*"), "an own inbox")
    holds(helper.subscribe("ask.>"), "what the role allows")
    holds(_is_refused(helper.publish("_INBOX.mine.1", "unasked")), "before it is asked")
    equal(asker.publish("ask.me", "?", "_INBOX.mine.1"), None)
    equal(helper.next(), ("ask.me", "?"))
    equal(helper.reply, "_INBOX.mine.1")
    holds(_is_refused(helper.publish("_INBOX.mine.2", "other")), "another inbox than the one given")
    equal(helper.publish("_INBOX.mine.1", "answer"), None)
    holds(_is_refused(helper.publish("_INBOX.mine.1", "again")), "a second answer")
    equal(asker.next(), ("_INBOX.mine.1", "answer"))
    asker.idle()


def only_who_got_the_request_may_answer_it(server):
    asker, helper, other = (RawNats(server, name) for name in ("asker", "helper", "other"))
    asker.subscribe("_INBOX.mine.*")
    helper.subscribe("ask.one")
    other.subscribe("ask.two")
    asker.publish("ask.one", "?", "_INBOX.mine.1")
    equal(helper.next(), ("ask.one", "?"))
    holds(_is_refused(other.publish("_INBOX.mine.1", "mine!")), "somebody else's request")
    equal(helper.publish("_INBOX.mine.1", "yes"), None)
    equal(asker.next(), ("_INBOX.mine.1", "yes"))


def the_right_to_answer_ends_with_the_time_of_the_call(server):
    import time
    asker, helper = RawNats(server, "asker"), RawNats(server, "helper")
    helper.subscribe("ask.late")
    asker.publish("ask.late", "?", "_INBOX.mine.1")
    equal(helper.next(), ("ask.late", "?"))
    time.sleep(1)  # calls.timeout: the passing of time is what this is about
    holds(_is_refused(helper.publish("_INBOX.mine.1", "late")), "an answer after calls.timeout")


def an_mqtt_responder_without_a_publish_right_answers_once(server):
    asker, helper = RawNats(server, "asker"), Mqtt(server, "helper", version=5)
    asker.subscribe("_INBOX.mine.*")
    holds(helper.subscribe("ask/#"), "what the role allows")
    equal(helper.publish("_INBOX/mine/1", "unasked"), 0x87)
    asker.publish("ask.me", "?", "_INBOX.mine.1")
    equal(helper.next(), ("ask/me", "?"))
    equal(helper.response_topic(), "_INBOX/mine/1")
    equal(helper.publish("_INBOX/mine/1", "answer") in (0, 0x10), True)
    equal(helper.publish("_INBOX/mine/1", "again"), 0x87)
    equal(asker.next(), ("_INBOX.mine.1", "answer"))
    asker.idle()


def nobody_lends_a_right_that_he_has_not(server):
    """A reply subject that its sender could not publish to gives its receiver nothing."""
    low, helper = RawNats(server, "low"), RawNats(server, "helper")
    watch = RawNats(server, "asker")
    watch.subscribe("target.>")
    helper.subscribe("ask.>")
    equal(low.publish("ask.x", "?", "target.x"), None)
    equal(helper.next(), ("ask.x", "?"))
    holds(_is_refused(helper.publish("target.x", "for you")), "the sender could not say it himself")
    # One who could, lends it.
    equal(watch.publish("ask.x", "?", "target.y"), None)
    equal(helper.next(), ("ask.x", "?"))
    equal(helper.publish("target.y", "lent"), None)
    equal(watch.next(), ("target.y", "lent"))


def real_clients_answer_without_a_publish_right(server):
    with Nats(server.url("nats", "nats"), user="asker", **{"pass": PASSWORD}) as asker, \
            Nats(server.url("nats", "nats"), user="helper", **{"pass": PASSWORD}) as nats, \
            MqttJs(server.url("mqtt", "mqtt"), username="helper", password=PASSWORD,
                   protocolVersion=5) as mqtt:
        nats.respond("ask.nats", prefix="nats ")
        mqtt.respond("ask/mqtt", prefix="mqtt ")
        for i in range(20):
            equal(asker.request("ask.nats", f"{i}").data, b"nats %d" % i)
            equal(asker.request("ask.mqtt", f"{i}").data, b"mqtt %d" % i)


def a_will_needs_the_right_to_publish_it(server):
    denied = Mqtt(server, "helper", version=5, will=("ask/x", "gone"))
    equal(denied.code, 0x87)
    equal(Mqtt(server, "helper", will=("ask/x", "gone")).code, 5)
    allowed = Mqtt(server, "low", version=5, will=("ask/x", "gone"))
    equal(allowed.code, 0)
    watch = RawNats(server, "helper")
    watch.subscribe("ask.x")
    allowed.reset()
    equal(watch.next(), ("ask.x", "gone"))


def a_queue_group_gives_a_message_to_a_member_that_may_see_it(server):
    flo, root, sender = (RawNats(server, name) for name in ("flo", "asker", "asker"))
    flo.subscribe("job.>", "workers")
    root.subscribe("job.>", "workers")
    for i in range(40):
        sender.publish("job.secret", f"{i}")
    equal([root.next() for _ in range(40)], [("job.secret", f"{i}") for i in range(40)])
    flo.idle()
