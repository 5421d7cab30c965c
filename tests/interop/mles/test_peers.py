"""Servers that share channels as Mles peers: with one that is like the original, and with each other."""

from clients import Message, MqttJs, NodeClient, decoded, encoded
from harness import Server, equal
from siphash import auth

SECONDS_MAX = 240

# Waits that a person would not notice.
QUICK = {"peer_retry": "50ms", "peer_retry_max": "200ms", "peer_settle": "100ms",
         "peer_linger": "100ms"}


class _Original(NodeClient):
    """mles_server.mjs, on the same port after a restart."""

    def __init__(self, **options):
        super().__init__("mles_server.mjs")
        self.port = self.call("listen", **options)["port"]
        self.url = f"ws://127.0.0.1:{self.port}"

    @staticmethod
    def message_of(line):
        return Message(line["channel"], decoded(line["data"]), text=line["text"])

    def say(self, channel, data, text=False):
        self.call("say", channel=channel, data=encoded(data), text=text)

    def header(self, channel, uid):
        self.call("header", channel=channel, uid=uid)

    def restart(self):
        self.call("restart")
        self.call("listen", port=self.port)


def _linked(original, **mles):
    """A server with a link to it for the channel `chat`."""
    return Server(history=[{"subject": "chat", "limit": 200}], mles={"peers": [original.url], "peer_channels": ["chat"], "peer_name": "us",
                        **QUICK, **mles})


def an_original_server_sees_a_link_as_a_client_with_the_key():
    with _Original() as original, _linked(original, key="secret-key"):
        header = original.event("joined")
        equal((header["uid"], header["channel"]), ("peer-us", "chat"))
        equal(header["auth"], auth("peer-us", "chat", "secret-key"))


def frames_go_both_ways_over_a_link_as_text_and_binary():
    with _Original() as original, _linked(original) as server, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as device:
        device.subscribe("chat")
        server.wait_log("mles_peer_linked")
        original.say("chat", b"\x00\xff", text=False)
        device.expect("chat", b"\x00\xff")
        original.say("chat", "hello", text=True)
        device.expect("chat", "hello")
        device.publish("chat", b"\x01\x02")
        original.expect("chat", b"\x01\x02", text=False)
        original.expect_none()


def the_history_of_a_peer_arrives_without_its_headers():
    with _Original() as original:
        original.header("chat", "alice")
        original.say("chat", "one", text=True)
        original.header("chat", "bob")
        original.say("chat", b"two")
        with Server(mles={"peers": [original.url], **QUICK}) as _:
            pass  # a channel without members has no link
        original.expect_none()
        with _linked(original) as server, MqttJs(server.url("mqtt", "mqtt")) as device:
            server.wait_log("mles_peer_linked")
            device.subscribe("chat")
            original.say("chat", "three", text=True)
            device.expect("chat", "three")
            device.expect_none()


def a_peer_that_has_lost_its_memory_gets_the_history_back():
    with _Original() as original, _linked(original) as server, \
            MqttJs(server.url("mqtt", "mqtt")) as device:
        server.wait_log("mles_peer_linked")
        device.publish("chat", "one")
        original.expect("chat", "one")
        original.say("chat", "two", text=True)
        original.event("joined")
        original.restart()
        original.event("joined")
        original.expect("chat", "one", text=False)
        original.expect("chat", "two", text=True)
        device.publish("chat", "three")
        original.expect("chat", "three")
        original.expect_none()


def what_was_said_while_a_peer_was_away_reaches_it_later():
    with _Original() as original, _linked(original) as server, \
            MqttJs(server.url("mqtt", "mqtt")) as device:
        server.wait_log("mles_peer_linked")
        original.call("restart")
        server.wait_log("mles_peer_lost")
        device.publish("chat", "meanwhile")
        original.call("listen", port=original.port)
        original.expect("chat", "meanwhile")


def a_peer_that_closes_is_named_in_the_log_and_tried_again():
    with _Original(refuse=True) as original, _linked(original) as server:
        server.wait_log(r"mles_peer_lost peer=ws://127\.0\.0\.1:\d+ channel=\"chat\" retry=50ms "
                        r"why=\".*closed")
        server.wait_log("retry=200ms")
