"""Who may not come in, and what he may not hear, by MQTT 3.1.1 and 5, over TCP and WebSocket."""

import tempfile
import time

from cashew import (WAYS, YAML, Client, Frames, RsaKey, bad_tokens, device, handler, hs256, options,
                    signed, token)
from harness import Failure, Raw, Server, WebSocket, equal, holds

CONFIG = options(YAML + "\nlog: {level: debug}\n")


def a_bad_token_is_refused_with_4_or_0x86(server):
    for name, bad in bad_tokens().items():
        for way in WAYS:
            client = Client(server, bad, way=way)
            equal(client.code, 0x86 if way[1] == 5 else 4, f"{name}, {way}")
            client.close()


def another_user_name_is_refused_with_5_or_0x87(server):
    good = device("12")
    for way in WAYS:
        for user, password in (("jwt", good), ("JWT ", good), ("", good), ("12", good),
                               ("12", None), (None, None)):
            client = Client(server, password, user, way=way)
            equal(client.code, 0x87 if way[1] == 5 else 5, f"{user!r}, {way}")
            client.close()
    # MQTT 3.1.1 knows no password without a user name.
    client = Client(server, good, None, way=("ws", 5))
    equal(client.code, 0x87)
    client.close()


def the_user_name_without_a_password_is_refused_with_4_or_0x86(server):
    for way in WAYS:
        client = Client(server, None, way=way)
        equal(client.code, 0x86 if way[1] == 5 else 4, way)
        client.close()


FOREIGN = ["123/secret", "123", "123/#", "1", "1/2", "+", "#", "+/x", "+/+", "+/#", "/12", "//",
           "undefined/x", "$SYS/#", "$SYS/broker/clients/connected", "$SYS", "dead", "12x/y",
           "$share/g/123/x", "$share/g/#", "$share/g/+/x", "$share/12/13/x", "$share/g/$SYS/#"]
OWN = ["12/a", "12", "12/#", "12/+", "12/+/b", "12/a/b/#", "12/", "12/$SYS", "$share/g/12/x",
       "$share/g/12/#", "12/123/#"]


def a_device_subscribes_below_its_own_id_only(server):
    for way in WAYS:
        with Client(server, device("12"), way=way) as client:
            for name in FOREIGN:
                equal(client.subscribe_all(name), [client.refusal()], f"{name}, {way}")
            for name in OWN:
                equal(client.subscribe_all(name), [0], f"{name}, {way}")
            equal(client.settled(), [])


def a_refused_filter_leaves_the_others_of_its_packet(server):
    for way in WAYS:
        with Client(server, device("12"), way=way) as client, Client(server, handler()) as other:
            no = client.refusal()
            equal(client.subscribe_all("13/x", "12/x", "#", "12/y/#"), [no, 0, no, 0])
            other.say("13/x", "not for 12")
            other.say("12/y/z", "for 12")
            client.hears(("12/y/z", "for 12"))
            client.say("12/x", "from 12")
            client.hears(("12/x", "from 12"))


def retained_messages_of_others_stay_unseen(server):
    with Client(server, handler()) as other:
        for topic in ("12/kept", "123/kept", "12", "13/12/kept", "kept"):
            other.say(topic, topic, retain=True)
        other.settled()
        for way in WAYS:
            with Client(server, device("12"), way=way) as client:
                client.subscribe_all("123/#", "#", "+/kept", "$share/g/+/kept", "kept", "123/kept")
                equal(client.settled(), [])
                equal(client.subscribe_all("12/#"), [0])
                equal(sorted(client.settled() or [client.next(), client.next()]),
                      [("12", "12"), ("12/kept", "12/kept")])
        for topic in ("12/kept", "123/kept", "12", "13/12/kept", "kept"):
            other.say(topic, "", retain=True)
        other.settled()


def wills_of_others_stay_unseen(server):
    for way in WAYS:
        with Client(server, device("12"), way=way) as client, Client(server, handler()) as watcher:
            client.subscribe_all("12/#", "13/#", "#")
            watcher.subscribe_all("+/gone")
            for user in ("13", "12"):
                dying = Client(server, device(user), way=way, will=(f"{user}/gone", user),
                               retain_will=True)
                equal(dying.code, 0)
                dying.reset()
                watcher.hears((f"{user}/gone", user))
            client.hears(("12/gone", "12"))
            equal(client.settled(), [])
            for user in ("13", "12"):
                watcher.say(f"{user}/gone", "", retain=True)
            watcher.settled()


def a_will_that_may_not_be_published_refuses_the_login(server):
    for way in WAYS:
        client = Client(server, device("12"), way=way, will=("$SYS/x", "x"))
        equal(client.code, 0x87 if way[1] == 5 else 5)
        client.close()


def a_handler_subscribes_anything(server):
    for way in WAYS:
        with Client(server, handler(), way=way) as all_hearing, \
                Client(server, handler(user_id="7"), way=way) as both, \
                Client(server, device("12"), way=way) as talker:
            equal(all_hearing.subscribe_all("#", "+/get_apples", "$share/g/x/#"), [0, 0, 0])
            equal(both.subscribe_all("12/+"), [0])
            talker.say("request_contact", "{}")
            talker.say("12/get_apples", "1")
            all_hearing.hears(("request_contact", "{}"), ("12/get_apples", "1"))
            both.hears(("12/get_apples", "1"))
            equal(all_hearing.settled(), [])


def what_counts_as_a_handler_is_what_javascript_holds_true(server):
    for value in ({}, [], {"name": "x"}, True, 1, "no", -1):
        with Client(server, token(handler=value)) as client:
            equal(client.subscribe_all("#"), [0], repr(value))
    for value in (False, None, 0, ""):
        with Client(server, token(handler=value, user_id="12")) as client:
            equal(client.subscribe_all("#", "12/#"), [0x80, 0], repr(value))


def a_token_without_id_and_handler_publishes_and_hears_nothing(server):
    for way in WAYS:
        with Client(server, token(other="x"), way=way) as client, \
                Client(server, handler()) as watcher:
            no = client.refusal()
            equal(client.subscribe_all("undefined/x", "null/x", "#", "12/x", "/", "x", "//x"), [no] * 7)
            watcher.subscribe_all("+")
            client.say("request_contact", "{}")
            watcher.hears(("request_contact", "{}"))


def numbers_are_ids_as_javascript_prints_them(server):
    for way in WAYS:
        for number, name in ((139871238127389, "139871238127389"), (0, "0"), (-5, "-5"),
                             (9007199254740991, "9007199254740991"), (12.0, "12")):
            with Client(server, device(number), way=way) as client:
                equal(client.subscribe_all(f"{name}/x", f"{name}1/x"), [0, client.refusal()], name)
    for number in (1.5, 9007199254740993, 1e300):
        client = Client(server, device(number))
        equal(client.code, 4, number)
        client.close()


def ids_of_an_identity_provider_are_one_level(server):
    for way in WAYS:
        for name in ("auth0|5f7c8ec7", "google-oauth2|1", "a.b", "müller", "a b", "*", ">", "undefined"):
            with Client(server, device(name), way=way) as client, \
                    Client(server, device("other")) as other:
                equal(client.subscribe_all(f"{name}/x", "other/x", "a/b/x", "+/x"),
                      [0] + [client.refusal()] * 3, name)
                other.say("other/x", "no")
                other.say(f"{name}/x", "yes")
                client.hears((f"{name}/x", "yes"))


def the_servers_own_topics_are_closed(server):
    for way in WAYS:
        with Client(server, handler(), way=way) as watcher, \
                Client(server, device("12"), way=way) as client:
            equal(client.subscribe_all("$SYS/#"), [client.refusal()])
            watcher.subscribe_all("#")
            for talker in (client, watcher):
                talker.say("$SYS/broker/clients/connected", "0")
                talker.settled()
            equal(watcher.settled(), [])


def sessions_belong_to_their_user(server):
    for way in WAYS:
        name = "of " + "".join(map(str, way))
        first = Client(server, device("12"), way=way, client=name, clean=False)
        equal(first.subscribe_all("12/x", qos=1), [1])
        for other in (device("13"), handler(), token(other=1)):
            with Client(server, other, way=way, client=name, clean=False) as thief:
                equal(thief.present, 0)
                equal(thief.settled(), [])
        first.say("12/x", "still there")
        first.hears(("12/x", "still there"))
        first.close()
        with Client(server, device("12"), way=way, client=name, clean=False) as again:
            equal(again.present, 1)
        Client(server, device("12"), way=way, client=name).close()
    # Nor does a token that names nobody take over a handler's.
    with Client(server, handler(), client="h", clean=False) as mine:
        with Client(server, token(other=1), client="h", clean=False) as thief:
            equal(thief.present, 0)
        equal(mine.settled(), [])


def a_session_ends_when_its_token_does(server):
    for way in WAYS:
        with Client(server, device("12", lasts=1), way=way) as client:
            equal(client.ended(), 0xA0 if way[1] == 5 else None)
        client = Client(server, device("12", lasts=None), way=way)
        equal(client.code, 0)
        client.close()


def a_refused_client_goes_on(server):
    with Client(server, device("12"), way=("ws", 4)) as client:
        for _ in range(50):
            equal(client.subscribe_all("#"), [0x80])
        client.subscribe_all("12/x")
        client.say("12/x", "x")
        client.hears(("12/x", "x"))


def every_subprotocol_and_path_of_mqtt_js_is_taken(server):
    for protocol, path, level in (("mqtt", "/", 4), ("mqttv3.1", "/mqtt", 4), (None, "/", 4),
                                  ("other, mqtt", "/a/b", 4), ("mqtt", "/?x=y", 5)):
        frames = Frames(server, "cashew", protocol, path)
        chosen = protocol.split(", ")[-1] if protocol else None
        equal("Sec-WebSocket-Protocol: " + chosen in frames.web.head if chosen
              else "Sec-WebSocket-Protocol" not in frames.web.head, True, frames.web.head)
        with Client(server, device("12"), way=("ws", level), raw=frames) as client:
            equal(client.subscribe_all("12/x"), [0])


def packets_may_share_a_frame_or_be_split_over_frames(server):
    with Client(server, device("12"), way=("ws", 4)) as client:
        subscribe = bytes.fromhex("8209000100") + b"\x0412/x" + b"\x00"
        publish = b"\x30\x07\x00\x0412/xy"
        client.raw.send(subscribe + publish)
        equal(client._packet()[0], 0x90)
        client.hears(("12/x", "y"))
        for byte in publish:
            client.raw.send(bytes([byte]))
        client.hears(("12/x", "y"))


def any_page_may_connect_because_its_right_is_its_token(server):
    with WebSocket(server, "cashew", protocol="mqtt",
                   headers=["Origin: https://app.example"]) as web:
        equal(web.status, 101)


def a_public_key_checks_rs256_and_nothing_else():
    with tempfile.TemporaryDirectory() as folder:
        key = RsaKey(folder)
        claims = {"user_id": "12"}
        with Server(**options(secret=key.public)) as server:
            for way in WAYS:
                with Client(server, key.token(**claims), way=way) as client:
                    equal(client.subscribe_all("12/x"), [0])
                for secret in (key.public, key.public.strip(), key.public + "\n", ""):
                    for algorithm in ("HS256", "RS256"):
                        forged = signed({"alg": algorithm}, claims, hs256(secret))
                        client = Client(server, forged, way=way)
                        equal(client.code, 0x86 if way[1] == 5 else 4, (algorithm, secret[-20:]))
                        client.close()


def without_its_secret_the_server_does_not_start():
    for secret in ("", "shhhhh"):
        server = Server(**options(secret=secret))
        try:
            server.start()
        except Failure as failure:
            holds("JWT_SECRET" in str(failure), failure)
        else:
            raise Failure("it started")
        finally:
            server.remove()


STRICT = YAML.replace('publish: [">"]                 # strict: ["{user_id}.#", "*"]',
                      'publish: ["{user_id}.#", "*"] # "')


def by_option_devices_publish_below_their_own_id_or_to_names_of_one_level():
    holds(STRICT != YAML, "the example has no strict rule to switch to")
    with Server(**options(STRICT)) as server:
        for way in WAYS:
            with Client(server, handler()) as watcher, Client(server, device("12"), way=way) as client:
                watcher.subscribe_all("#")
                for topic in ("13/x", "123/x", "13/get_apples", "12x/y", "a/b/c", "/12"):
                    client.say(topic, "no", retain=True)
                client.say("12/get_apples", "{}")
                client.say("request_contact", "{}")
                watcher.hears(("12/get_apples", "{}"), ("request_contact", "{}"))
                watcher.say("13/x", "a handler may")
                watcher.hears(("13/x", "a handler may"))
            refused = Client(server, device("12"), way=way, will=("13/gone", "x"))
            equal(refused.code, 0x87 if way[1] == 5 else 5)
            refused.close()


def keep_alive_may_be_as_long_as_the_original_asks(server):
    for seconds in (0, 30000, 65535):
        with Client(server, device("12"), keep_alive=seconds) as client:
            equal(client.settled(), [])


def a_connection_that_says_nothing_may_take_its_time(server):
    with Raw(server, "cashew") as silent:
        for way in WAYS:
            Client(server, device("12"), way=way).close()
        silent.send(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me").expect(b"\x20\x02\x00\x05")
