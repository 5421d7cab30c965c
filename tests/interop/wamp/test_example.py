"""The example of all methods of authentication, run as it stands but for its ports."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "auth"))

from harness import ROOT, Server, equal, holds  # noqa: E402  (after the path)
from logins import (SEED, Callee, Peer, autobahn_python, expect, expect_refused,  # noqa: E402
                    javascript)

FOLDER = ROOT / "examples" / "wamp"
TEXT = re.sub(r"port: \d+", "port: 0", (FOLDER / "parley.yaml").read_text(encoding="utf-8"))
CONFIG = {"config": TEXT + "\nadmin: {port: 0}\n",
          "files": {"users": (FOLDER / "users").read_text(encoding="utf-8")}}


def _url(server, name="wamp"):
    return server.url("ws", name, "/ws")


def each_user_of_the_example_comes_in_by_each_of_his_methods(server):
    for authid, role in (("ann", "admin"), ("bob", "device")):
        secret = f"{authid}'s secret"
        expect(autobahn_python(_url(server), "ticket", authid=authid, ticket=secret),
               authid, "ticket", role)
        expect(autobahn_python(_url(server), "wampcra", authid=authid, secret=secret),
               authid, "wampcra", role)
        expect(autobahn_python(_url(server), "scram", authid=authid, password=secret),
               authid, "scram", role)
    expect(javascript("autobahn", _url(server), ["wampcra"], authid="sam", secret="sam's secret"),
           "sam", "wampcra")
    expect(javascript("wampy", _url(server), ["cryptosign"], authid="robot", secret=SEED),
           "robot", "cryptosign")
    equal(autobahn_python(_url(server), "anonymous").welcome["authrole"], "guest")
    expect_refused(autobahn_python(_url(server, "signed"), "anonymous"),
                   "wamp.error.no_matching_auth_method")
    expect_refused(javascript("wampy", _url(server, "signed"), ["ticket"], authid="ann",
                              secret="ann's secret"), "wamp.error.no_matching_auth_method")


def _enter(server, authid):
    peer = Peer(server)
    peer.hello(authmethods=["ticket"], authid=authid).take(4)
    peer.send(5, f"{authid}'s secret", {})
    return peer, peer.take(2)


def an_admin_ends_a_session_and_a_device_cannot(server):
    ann, _ = _enter(server, "ann")
    bob, welcome = _enter(server, "bob")
    with ann, bob:
        bob.send(48, 1, {}, "wamp.session.kill", [welcome[1]])
        equal(bob.take(8)[4], "wamp.error.not_authorized")
        ann.send(48, 1, {}, "wamp.session.kill", [welcome[1]], {"reason": "com.example.enough"})
        equal(ann.take(50)[1], 1)
        equal(bob.take(6)[2], "com.example.enough")


def a_publication_of_an_admin_says_whose_it_is(server):
    ann, _ = _enter(server, "ann")
    bob, _ = _enter(server, "bob")
    with ann, bob:
        bob.send(32, 1, {}, "com.example.news")
        bob.take(33)
        ann.send(16, 1, {}, "com.example.news", ["x"])
        details = bob.take(36)[3]
        equal((details["publisher_authid"], details["publisher_authrole"],
               details["trustlevel"]), ("ann", "admin", 10))


def strict_rules_hold(server):
    ann, _ = _enter(server, "ann")
    with ann:
        ann.send(32, 1, {}, "com.Example.X")
        equal(ann.take(8)[4], "wamp.error.invalid_uri")
        ann.send(32, 7, {}, "com.example.x")
        ann.expect_abort("wamp.error.protocol_violation")


def procedures_decide_who_comes_in_and_what_he_may(server):
    def authorize(details, uri, action, _options):
        return details["authid"] == "eve" and action == "subscribe" and uri.endswith(".open")

    with Callee(server, "ann", "ann's secret", "com.example.authorize", authorize), \
            Callee(server, "ann", "ann's secret", "com.example.authenticate",
                   lambda realm, authid, details: {"role": "device", "secret": authid[::-1]}):
        expect(autobahn_python(_url(server), "wampcra", authid="zoe", secret="eoz"),
               "zoe", "wampcra")
        eve, _ = _enter(server, "eve")
        with eve:
            eve.send(32, 1, {}, "com.example.open")
            eve.take(33)
            eve.send(32, 2, {}, "com.example.closed")
            equal(eve.take(8)[4], "wamp.error.not_authorized")


def history_is_kept(server):
    ann, _ = _enter(server, "ann")
    with ann:
        ann.send(32, 1, {}, "com.example.history.a")
        subscription = ann.take(33)[2]
        ann.send(16, 2, {"acknowledge": True, "exclude_me": True}, "com.example.history.a", [1])
        ann.take(17)
        ann.send(48, 3, {}, "wamp.subscription.get_events", [subscription], {"limit": 5})
        result = ann.take(50)
        holds(len(result[3]) >= 1, result)
