"""Two chats in a real browser: the page of examples/mles in tabs of Chromium, and who else is there."""

import collections
import queue
import shutil

from clients import Message, Mles, MqttJs, NodeClient
from harness import ROOT, TIMEOUT, Failure, Server, Skip
from siphash import auth

SECONDS_MAX = 180


class _Tab:
    """A tab; what its page shows comes line by line."""

    def __init__(self, browser, name):
        self.browser, self.name = browser, name
        self.lines = browser.lines[name]

    def shows(self, *lines):
        for line in lines:
            try:
                shown = self.lines.get(timeout=TIMEOUT * 2)
            except queue.Empty:
                raise Failure(f"{self.name}: nothing more came, expected {line!r}") from None
            if shown != line:
                raise Failure(f"{self.name}: shows {shown!r}, expected {line!r}")

    def types(self, text):
        self.browser.call("key", session=self.session, text=text)

    def close(self):
        self.browser.call("evaluate", session=self.session, expression="socket.onclose = null, socket.close()")


class _Chromium(NodeClient):
    def __init__(self):
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if not program:
            raise Skip("there is no chromium")
        self.lines = collections.defaultdict(queue.Queue)
        super().__init__("chromium.mjs")
        try:
            self.call("start", program=program, folder=str(ROOT / "examples" / "mles"))
        except BaseException:
            self.close()
            raise

    def message_of(self, line):
        self.lines[line["tab"]].put(line["line"])
        return Message(line["tab"], line["line"].encode())

    def open(self, name, **query):
        tab = _Tab(self, name)
        tab.session = self.call("open", tab=name, query=query)["session"]
        return tab


def two_tabs_chat_and_a_third_that_joins_later_sees_the_history():
    with Server() as server, _Chromium() as browser:
        room = {"server": server.url("ws", "shared"), "channel": "room"}
        alice = browser.open("alice", uid="alice", **room)
        alice.shows("here as alice")
        bob = browser.open("bob", uid="bob", **room)
        bob.shows("here as bob", "alice was here")
        alice.types("Hello Bob!")
        alice.shows("alice: Hello Bob!")
        bob.shows("alice: Hello Bob!")
        bob.types("Grüße")
        alice.shows("bob: Grüße")
        carol = browser.open("carol", uid="carol", **room)
        carol.shows("here as carol", "alice was here", "bob was here", "alice: Hello Bob!", "bob: Grüße")
        again = browser.open("again", uid="alice", **room)
        again.shows("here as alice", "closed: 1008 this uid is on the channel already")
        alice.close()
        again = browser.open("alice again", uid="alice", **room)
        again.shows("here as alice", "alice was here", "bob was here", "alice: Hello Bob!",
                    "bob: Grüße", "carol was here")


def a_tab_a_program_and_a_device_meet_with_the_key_over_tls():
    with Server(mles={"key": "secret-key"}, listeners=[
            {"name": "wss", "address": "127.0.0.1", "port": 0, "protocols": ["mles"],
             "websocket": True, "tls": "on"},
            {"name": "mqtt", "address": "127.0.0.1", "port": 0, "protocols": "mqtt"}]) as server, \
            _Chromium() as browser, MqttJs(server.url("mqtt", "mqtt")) as device, \
            Mles(server.url("wss", "wss"), "bob", "example",
                 auth=auth("bob", "example", "secret-key")) as bob:
        device.subscribe("example")
        alice = browser.open("alice", uid="alice", channel="example", server=server.url("wss", "wss"),
                             auth=auth("alice", "example", "secret-key"))
        alice.shows("here as alice", "bob was here")
        alice.types("hi")
        alice.shows("alice: hi")
        bob.hears(b'{"uid":"alice","text":"hi"}')
        device.expect("example", '{"uid":"alice","text":"hi"}')
        bob.say(b'{"uid":"bob","text":"hi alice"}')
        alice.shows("bob: hi alice")
        device.publish("example", '{"uid":"device","text":"21.5"}')
        alice.shows("device: 21.5")
        eve = browser.open("eve", uid="eve", channel="example", server=server.url("wss", "wss"),
                           auth=auth("eve", "example", "guess"))
        eve.shows("here as eve", "closed: 1008 auth is missing or wrong")
