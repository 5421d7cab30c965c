"""Who sees what: a generated matrix against a model.

Everybody subscribes everything in every protocol, everything is published in every way, and what is
granted and what comes must be what the model says: for each user, protocol, pattern and way.
"""

import itertools

from harness import Failure, Server, equal, holds
from people import users
from rights_model import ROLES, Pattern, decoded, may_subscribe, sees, swapped
from wires import Mqtt, Nats, Redis

SECONDS_MAX = 300

NAMES = ["device", "device.bob", "device.bob.a", "device.bob.a.b", "device.bob.", "device.bobby",
         "device.bobby.a", "device.eve", "device.eve.a", "device.*", "device.*.a", "device.>.a",
         "other", "other.device.bob.a", "secret", "secret.a", "secret.bob.a", "$x.a", "bob.a",
         "_INBOX.abc.1", "_INBOX.abc"]

PATTERNS = [(wire, text, False) for wire, texts in {
    "nats": "device.bob device.bob.> device.bob.* device.bob.a device.* device.*.a device.> *.bob.a "
            "> * *.*.* device.eve.> device.bobby device.bobby.> secret secret.> secret.* other.> "
            "bob.> _INBOX.> _INBOX.*.1 _INBOX.abc.* device.%2A.> device.%2A device.%3E.* "
            "device.bob.%",
    "mqtt": "device/bob device/bob/# device/bob/+ device/bob/a/# device/+ device/+/a device/# +/bob/a "
            "# + +/+/+ device/eve/# device/bobby/# secret/# secret/+ +/a device/bob/+/b _INBOX/# "
            "_INBOX/+/1 _INBOX/abc/# device/*/# device/* device/>/+ device/bob/ $x/# other.device",
    "redis": "device.bob device.bob.a device.eve.a device.* device.*.a device.>.a device.bobby secret "
             "secret.a other > _INBOX.abc.1 _INBOX.abc",
}.items() for text in texts.split()] + [("redis", text, True) for text in (
    "* device.* device.bob* device.bob.* device.bob.? device.bob.[ab]* ?evice.bob.a device.[b]ob.a "
    "device.eve.* secret.* s* _INBOX.* _INBOX.abc.* device.>.* [ds]*").split()]


def _config(replay):
    everything = ["#", "$x.>"]
    return {
        "files": {"users": users(**ROLES)},
        "auth": {"users": "users"},
        "roles": {
            "device": {"subscribe": ["device.{user_id}.#"], "replay": replay},
            "filtered": {"subscribe": everything, "deny_subscribe": ["secret.#"], "replay": replay},
            "all": {"subscribe": everything, "publish": everything, "replay": replay},
        },
        "history": [{"subject": "#", "limit": 1}, {"subject": "$x.>", "limit": 1}],
    }


class Case:
    """One user's one subscription."""

    def __init__(self, server, number, user, wire, text, glob, way):
        self.words = f"{user} ({ROLES[user]}), {wire} {'p' if glob else ''}subscribe {text}, {way}"
        self.user, self.wire, self.pattern = user, wire, Pattern(wire, text, glob)
        self.end = f"end {number}"
        if wire == "mqtt":
            self.client = Mqtt(server, user, version=5 if way == "history" else 4)
            group = f"$share/g{number}/" if way == "queue" else ""
            self.granted = self.client.subscribe(group + text, "all" if way == "history" else None)
        elif wire == "nats":
            self.client = Nats(server, user)
            self.granted = self.client.subscribe(text, f"g{number}" if way == "queue" else "")
        else:
            self.client = Redis(server, user)
            self.granted = self.client.subscribe(text, glob)
        equal(self.granted, may_subscribe(user, self.pattern), f"{self.words}: granted")
        # What it certainly hears; None: it matches nothing that it may see.
        self.end_name = next((name for name in [*self.pattern.instances(), *NAMES]
                              if self.pattern.matches(name) and sees(user, name)), None)

    def check(self, among):
        """What was heard before the end is what the model says."""
        expected = sorted(name for name in among
                          if self.pattern.matches(name) and sees(self.user, name))
        heard = []
        while True:
            try:
                name, data = self.client.next()
            except Failure as failure:
                raise Failure(f"{self.words}: no end after {heard}: {failure}") from None
            if data == self.end:
                break
            if not data.startswith("end "):
                heard.append(decoded(self.wire, name))
                equal(data, f"data of {heard[-1]}", self.words)
        if sorted(heard) != expected:
            raise Failure(f"{self.words}:\nheard {sorted(heard)}\nexpected {expected}")

    def close(self):
        self.client.close()


def _cases(server, way):
    everyone = itertools.product(ROLES, PATTERNS)
    for number, (user, (wire, text, glob)) in enumerate(everyone):
        if way != "queue" or wire != "redis":
            yield Case(server, number, user, wire, text, glob, way)


def _publish(root, name, data, **options):
    equal(root.publish(swapped(name), data, **options), 0, f"PUBACK of {name}")


def _live(way, publish):
    """All subscribe, then everything is published."""
    with Server(**_config("none")) as server:
        root = Mqtt(server, "root")
        cases = [case for case in _cases(server, way) if case.granted]
        publish(server, root)
        heard = [case for case in cases if case.end_name]
        for case in heard:
            _publish(root, case.end_name, case.end)
        for case in heard:
            case.check(NAMES)
        holds(len(heard) > 100, f"only {len(heard)} subscriptions were compared")
        # Those that match nothing: all reactors have delivered all by now.
        for case in set(cases) - set(heard):
            case.client.idle()


def _stored(way, retain, among):
    """Everything is published, then one subscribes after the other."""
    with Server(**_config(way)) as server:
        root = Mqtt(server, "root")
        for name in NAMES:
            _publish(root, name, f"data of {name}", retain=retain)
        count = 0
        for case in _cases(server, way):
            if case.granted and case.end_name:
                _publish(root, case.end_name, case.end)
                case.check(among)
                count += 1
                if case.end_name in NAMES and not retain:
                    _publish(root, case.end_name, f"data of {case.end_name}")
            case.close()
        holds(count > 100, f"only {count} subscriptions were compared")


def _each(**options):
    def publish(_, root):
        for name in NAMES:
            _publish(root, name, f"data of {name}", **options)
    return publish


def _wills(server, root):
    """Each name is a client's will, which goes out when its connection breaks."""
    watch = [(name, Redis(server, "root")) for name in NAMES]
    for name, client in watch:
        client.subscribe(name)
    for name in NAMES:
        Mqtt(server, "root", will=(swapped(name), f"data of {name}")).reset()
    for name, client in watch:
        equal(client.next(), (name, f"data of {name}"))
        client.close()


def live_messages_reach_those_with_the_right_and_nobody_else():
    _live("live", _each())


def a_queue_group_gives_nobody_what_he_may_not_see():
    _live("queue", _each())


def wills_reach_those_with_the_right_and_nobody_else():
    _live("will", _wills)


def retained_values_are_for_those_with_the_right_alone():
    _stored("retained", True, NAMES)


def history_is_for_those_with_the_right_alone():
    # No rule of the operator's keeps replies: "#" does not mean them.
    _stored("history", False, [name for name in NAMES if name.split(".")[0] != "_INBOX"])
