"""WAMP's methods of authentication, with real clients and byte for byte."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import sys
import tempfile
import threading

import nacl.signing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "auth"))

from harness import Certificates, Raw, Server, equal, holds  # noqa: E402  (after the path)
from logins import (PUBLIC_KEY, SEED, USERS, Callee, Peer, argon, autobahn_python,  # noqa: E402
                    b64, client_certificate, expect, expect_refused, javascript, libparley,
                    salted_cra, scram_keys)
from people import HASH, KEY, PASSWORD, token  # noqa: E402

ROLES = {
    "device": {"subscribe": [">"], "publish": [">"]},
    "admin": {"subscribe": [">"], "publish": [">"], "call": [">"], "register": [">"]},
    "guest": {"subscribe": ["public.>"]},
}


def _config(**more):
    return {
        "threads": 2,
        "admin": {"enabled": False},
        "drain": {"spread": "0s", "timeout": "2s"},
        "auth": {"users": "users", "jwt": {"keys": [{"file": "key"}]}, "free_failures": 1000},
        "roles": ROLES,
        "listeners": [
            {"name": "wamp", "address": "127.0.0.1", "port": 0, "protocols": ["wamp"],
             "websocket": True},
            {"name": "open", "address": "127.0.0.1", "port": 0, "protocols": ["wamp"],
             "websocket": True, "anonymous_role": "guest"},
            {"name": "narrow", "address": "127.0.0.1", "port": 0, "protocols": ["wamp"],
             "websocket": True, "authmethods": ["cryptosign", "ticket"]},
        ],
        **more,
    }


FILES = {"users": USERS, "key": KEY}
CONFIG = {"config": _config(), "files": FILES}
WRONG = "1" * 64


def _url(server, name="wamp"):
    return server.url("ws", name, "/ws")


# ---- real clients ----

def a_ticket_lets_in_autobahn_js_wampy_and_autobahn_python(server):
    for library in ("autobahn", "wampy"):
        expect(javascript(library, _url(server), ["ticket"], authid="bob", secret=PASSWORD),
               "bob", "ticket")
        expect_refused(javascript(library, _url(server), ["ticket"], authid="bob", secret="x"))
        expect_refused(javascript(library, _url(server), ["ticket"], authid="eve", secret=PASSWORD))
    for serializer in ("json", "msgpack", "cbor"):
        expect(autobahn_python(_url(server), "ticket", authid="bob", ticket=PASSWORD,
                               serializer=serializer), "bob", "ticket")
    expect_refused(autobahn_python(_url(server), "ticket", authid="bob", ticket="x"))
    expect_refused(autobahn_python(_url(server), "ticket", authid="eve", ticket=PASSWORD))


def a_token_is_a_ticket_too(server):
    good = token(user_id="zoe", role="device")
    expect(javascript("autobahn", _url(server), ["ticket"], authid="zoe", secret=good),
           "zoe", "ticket")
    expect_refused(javascript("autobahn", _url(server), ["ticket"], authid="zoe",
                              secret=token(key=KEY[::-1], user_id="zoe", role="device")))


def wampcra_lets_in_autobahn_js_wampy_and_autobahn_python_salted_or_not(server):
    for authid in ("cra", "plain"):
        for library in ("autobahn", "wampy"):
            expect(javascript(library, _url(server), ["wampcra"], authid=authid, secret=PASSWORD),
                   authid, "wampcra")
            expect_refused(
                javascript(library, _url(server), ["wampcra"], authid=authid, secret="x"))
        expect(autobahn_python(_url(server), "wampcra", authid=authid, secret=PASSWORD),
               authid, "wampcra")
        expect_refused(autobahn_python(_url(server), "wampcra", authid=authid, secret="x"))
    expect_refused(javascript("wampy", _url(server), ["wampcra"], authid="eve", secret=PASSWORD))
    expect_refused(autobahn_python(_url(server), "wampcra", authid="eve", secret=PASSWORD))


def scram_lets_in_autobahn_python_which_checks_our_signature(server):
    done = autobahn_python(_url(server), "scram", authid="argon", password=PASSWORD)
    expect(done, "argon", "scram")
    expect_refused(autobahn_python(_url(server), "scram", authid="argon", password="x"))
    expect_refused(autobahn_python(_url(server), "scram", authid="eve", password=PASSWORD))


def cryptosign_lets_in_autobahn_js_wampy_and_autobahn_python(server):
    expect(javascript("autobahn", _url(server), ["cryptosign"], authid="robot", secret=SEED),
           "robot", "cryptosign")
    expect(javascript("wampy", _url(server), ["cryptosign"], authid="robot", secret=SEED),
           "robot", "cryptosign")
    expect(autobahn_python(_url(server), "cryptosign", authid="robot", privkey=SEED),
           "robot", "cryptosign")
    # The key alone says who it is.
    expect(autobahn_python(_url(server), "cryptosign", privkey=SEED), "robot", "cryptosign")
    for authid in ("robot", "bob", "eve"):
        expect_refused(autobahn_python(_url(server), "cryptosign", authid=authid, privkey=WRONG))
    expect_refused(javascript("autobahn", _url(server), ["cryptosign"], authid="robot",
                              secret=WRONG))


def libparley_comes_in_by_each_method(server):
    raw = server.url("rs", "wamp")
    for url in (_url(server), raw):
        for methods, authid, secret in (
                ("ticket", "bob", PASSWORD), ("wampcra", "cra", PASSWORD),
                ("wampcra", "plain", PASSWORD), ("scram", "scram", PASSWORD),
                ("wamp-scram", "scram", PASSWORD), ("scram", "argon", PASSWORD),
                ("wamp-scram", "argon", PASSWORD), ("cryptosign", "robot", SEED),
                ("cryptosign", "", SEED), ("cryptosign,scram,wampcra,ticket", "robot", SEED)):
            equal(libparley(url, methods, authid, secret), "joined", f"{methods} {authid}")
    for methods, authid, secret in (
            ("ticket", "bob", "x"), ("wampcra", "cra", "x"), ("scram", "scram", "x"),
            ("wamp-scram", "argon", "x"), ("scram", "eve", "x"), ("cryptosign", "robot", WRONG)):
        equal(libparley(raw, methods, authid, secret),
              "refused wamp.error.authentication_failed", f"{methods} {authid}")


def anonymous_clients_come_in_where_the_listener_has_a_role_for_them(server):
    done = autobahn_python(_url(server, "open"), "anonymous")
    equal((done.welcome["authmethod"], done.welcome["authrole"]), ("anonymous", "guest"))
    expect_refused(autobahn_python(_url(server), "anonymous"),
                   "wamp.error.no_matching_auth_method")
    with Peer(server, "open") as peer:
        # As autobahn-cpp says it.
        equal(peer.hello(authmethods=[], authid="").take(2)[2]["authmethod"], "anonymous")


# ---- byte for byte ----

def the_first_method_of_the_clients_that_is_offered_is_taken(server):
    for listener, methods, method in (
            ("wamp", ["x", "tls", "cookie", "wampcra", "ticket"], "wampcra"),
            ("wamp", ["ticket", "wampcra"], "ticket"),
            ("narrow", ["wampcra", "scram", "ticket"], "ticket")):
        with Peer(server, listener) as peer:
            equal(peer.hello(authmethods=methods, authid="every").take(4)[1], method)
    with Peer(server, "narrow") as peer:
        peer.hello(authmethods=["wampcra", "anonymous"], authid="every")
        peer.expect_abort("wamp.error.no_matching_auth_method")


def an_unknown_user_is_challenged_as_others_are(server):
    nonce = b64(os.urandom(16))

    def challenge(method, authid):
        with Peer(server) as peer:
            return peer.hello(authmethods=[method], authid=authid,
                              authextra={"nonce": nonce, "pubkey": WRONG}).take(4)[2]

    for method, known in (("wampcra", "cra"), ("scram", "argon"), ("wamp-scram", "argon"),
                          ("cryptosign", "robot")):
        real, fake, again = (challenge(method, authid) for authid in (known, "eve", "eve"))
        equal(sorted(real), sorted(fake), method)
        for key in set(real) - {"salt", "nonce", "challenge"}:
            equal(fake[key], real[key], f"{method} {key}")
        if "salt" in real:
            equal(fake["salt"], again["salt"])
            holds(fake["salt"] != real["salt"], "one salt for all")
        if method == "wampcra":
            one, other = json.loads(real["challenge"]), json.loads(fake["challenge"])
            equal(sorted(one), sorted(other))
            equal(one["authrole"], other["authrole"])


def _scram(server, method, authid, password, *, binding="biws", derive=None, tamper=None):
    """The whole of it; returns what came last."""
    mine = b64(os.urandom(16))
    with Peer(server) as peer:
        extra = peer.hello(authmethods=[method], authid=authid,
                           authextra={"nonce": mine, "channel_binding": None}).take(4)[2]
        holds(extra["nonce"].startswith(mine) and len(extra["nonce"]) > len(mine) + 16, extra)
        salted = derive(extra) if derive else hashlib.pbkdf2_hmac(
            "sha256", password.encode(), base64.b64decode(extra["salt"]), extra["iterations"])
        message = (f"n={authid},r={mine},r={extra['nonce']},s={extra['salt']},"
                   f"i={extra['iterations']},c={binding},r={extra['nonce']}").encode()
        client = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
        proof = b64(bytes(a ^ b for a, b in zip(client, signature)))
        peer.send(5, proof, {"nonce": tamper or extra["nonce"], "channel_binding": None,
                             "cbind_data": None})
        answer = peer.take()
        if answer[0] == 2:
            verifier = hmac.digest(scram_keys(salted)[1], message, "sha256")
            equal(answer[2]["authextra"]["verifier"], b64(verifier))
            equal(answer[2]["authmethod"], method)
        return answer


def scram_goes_by_either_name_and_proves_the_server_too(server):
    for method in ("scram", "wamp-scram"):
        equal(_scram(server, method, "scram", PASSWORD)[0], 2)
        equal(_scram(server, method, "scram", "x")[2], "wamp.error.authentication_failed")
        equal(_scram(server, method, "scram", PASSWORD, tamper="x")[2],
              "wamp.error.authentication_failed")


def scram_by_argon2id_is_as_the_standard_says(server):
    def derive(extra):
        equal(extra["kdf"], "argon2id13")
        return argon(PASSWORD, base64.b64decode(extra["salt"]), extra["iterations"],
                     extra["memory"])

    equal(_scram(server, "wamp-scram", "argon", PASSWORD, derive=derive)[0], 2)


def an_old_answer_of_cryptosign_is_refused(server):
    key = nacl.signing.SigningKey(bytes(range(32)))

    def begin(peer):
        extra = {"pubkey": key.verify_key.encode().hex(), "channel_binding": None}
        return peer.hello(authmethods=["cryptosign"], authextra=extra).take(4)[2]["challenge"]

    with Peer(server) as peer:
        challenge = bytes.fromhex(begin(peer))
        old = key.sign(challenge).signature.hex() + challenge.hex()
        peer.send(5, old, {})
        equal(peer.take(2)[2]["authid"], "robot")
    with Peer(server) as peer:
        begin(peer)
        peer.send(5, old, {})
        peer.expect_abort("wamp.error.authentication_failed")


def the_server_proves_its_own_key_to_who_asks():
    own = nacl.signing.SigningKey(bytes(range(1, 33)))
    config = _config()
    config["auth"]["cryptosign_key"] = "own"
    with Server(config=config, files={**FILES, "own": bytes(range(1, 33)).hex() + "\n"}) as server:
        asked = os.urandom(32)
        with Peer(server) as peer:
            extra = peer.hello(authmethods=["cryptosign"], authextra={
                "pubkey": PUBLIC_KEY, "challenge": asked.hex()}).take(4)[2]
            equal(extra["pubkey"], own.verify_key.encode().hex())
            said = bytes.fromhex(extra["signature"])
            equal(said[64:], asked)
            own.verify_key.verify(asked, said[:64])
        expect(autobahn_python(_url(server), "cryptosign", authid="robot", privkey=SEED),
               "robot", "cryptosign")


def authenticate_without_a_challenge_and_anything_else_after_one_are_violations(server):
    with Peer(server) as peer:
        peer.send(5, "x", {})
        peer.expect_abort("wamp.error.protocol_violation")
    with Peer(server) as peer:
        peer.hello(authmethods=["ticket"], authid="bob").take(4)
        peer.send(32, 1, {}, "a")
        peer.expect_abort("wamp.error.protocol_violation")
    with Peer(server) as peer:
        peer.hello(authmethods=["ticket"], authid="bob").take(4)
        peer.hello(authmethods=["ticket"], authid="bob").expect_abort(
            "wamp.error.protocol_violation")


def an_answer_that_comes_too_late_is_an_abort():
    config = _config(client={"login_timeout": "300ms"})
    with Server(config=config, files=FILES) as server, Peer(server) as peer:
        peer.hello(authmethods=["ticket"], authid="bob").take(4)
        peer.expect_abort("wamp.error.authentication_failed")


def a_realm_that_is_not_there_is_told(server):
    with Peer(server) as peer:
        peer.hello(realm="nowhere", authmethods=["ticket"], authid="bob")
        peer.expect_abort("wamp.error.no_such_realm")


def a_login_over_rawsocket_is_the_same(server):
    with Raw(server, "wamp") as raw:
        raw.send(b"\x7f\xf1\x00\x00").expect(b"\x7f")
        raw.take(3)

        def send(*message):
            data = json.dumps(message).encode()
            raw.send(len(data).to_bytes(4, "big") + data)

        def take():
            return json.loads(raw.take(int.from_bytes(raw.take(4), "big")))

        send(1, "realm1", {"roles": {"caller": {}}, "authmethods": ["ticket"], "authid": "bob"})
        equal(take(), [4, "ticket", {}])
        send(5, PASSWORD, {})
        equal(take()[2]["authid"], "bob")


def a_challenge_counts_no_connection_of_the_user_and_a_login_does():
    config = _config(limits={"connections_per_user": 1})
    with Server(config=config, files=FILES) as server:
        with Peer(server) as first, Peer(server) as second, Peer(server) as third:
            for peer in (first, second, third):
                peer.hello(authmethods=["ticket"], authid="bob").take(4)
            first.send(5, "wrong", {})
            first.expect_abort("wamp.error.authentication_failed")
            second.send(5, PASSWORD, {})
            second.take(2)
            third.send(5, PASSWORD, {})
            third.expect_abort("wamp.error.unavailable")


def who_guesses_is_slowed():
    config = _config()
    config["auth"] = {"users": "users", "free_failures": 2, "backoff": "10s"}
    files = {"users": USERS}
    with Server(config=config, files=files) as server:
        for reason in ["wamp.error.authentication_failed"] * 3 + ["wamp.error.unavailable"]:
            with Peer(server) as peer:
                peer.hello(authmethods=["wampcra"], authid="cra").take(4)
                peer.send(5, b64(bytes(32)), {})
                peer.expect_abort(reason)


# ---- TLS ----

class _Secure(Peer):
    """Over TLS, with a client certificate, or bound to the version that has that channel id."""

    def __init__(self, server, certificate=None, version=None, **more):
        context = ssl.create_default_context(cafile=server.ca)
        if certificate:
            context.load_cert_chain(certificate)
        if version:
            context.maximum_version = version
        super().__init__(server, "secure", tls=context, **more)


def _secure(**more):
    certificates = Certificates()
    return {
        "tls": {"certificate": str(certificates.certificate), "key": str(certificates.key)},
        "listeners": [{"name": "secure", "address": "127.0.0.1", "port": 0, "protocols": ["wamp"],
                       "websocket": True, "tls": "on", **more}],
    }


def a_client_certificate_is_a_login_by_its_fingerprint_or_its_name():
    with tempfile.TemporaryDirectory() as folder:
        known, fingerprint = client_certificate(pathlib.Path(folder), "x9")
        named, _ = client_certificate(pathlib.Path(folder), "lamp")
        other, _ = client_certificate(pathlib.Path(folder), "bob")
        users = USERS + f"lamp9 device $tls${fingerprint}\nlamp device $tls$name\n"
        config = _config(**_secure(client_ca=str(Certificates().ca)))
        with Server(config=config, files={**FILES, "users": users}) as server:
            for file, name in ((known, "lamp9"), (named, "lamp")):
                with _Secure(server, file) as peer:
                    details = peer.hello(authmethods=["tls"]).take(2)[2]
                    equal((details["authid"], details["authmethod"]), (name, "tls"))
            with _Secure(server, known) as peer:
                peer.hello(authmethods=["tls"], authid="lamp")
                peer.expect_abort("wamp.error.authentication_failed")
            # bob has a password, and no certificate.
            with _Secure(server, other) as peer:
                peer.hello(authmethods=["tls"])
                peer.expect_abort("wamp.error.authentication_failed")
            with _Secure(server) as peer:
                equal(peer.hello(authmethods=["tls", "ticket"], authid="bob").take(4)[1], "ticket")
            # A page of another origin: what comes by itself is not its own.
            with _Secure(server, known, headers=["Origin: https://evil.example"]) as peer:
                peer.hello(authmethods=["tls"])
                peer.expect_abort("wamp.error.no_matching_auth_method")


def cryptosign_is_bound_to_the_tls_connection():
    key = nacl.signing.SigningKey(bytes(range(32)))
    config = _config(**_secure())
    with Server(config=config, files=FILES) as server:
        def begin(peer, binding="tls-unique"):
            return peer.hello(authmethods=["cryptosign"], authextra={
                "pubkey": PUBLIC_KEY, "channel_binding": binding}).take(4)[2]

        def answer(peer, challenge, over):
            message = bytes(a ^ b for a, b in zip(bytes.fromhex(challenge["challenge"]), over))
            peer.send(5, key.sign(message).signature.hex() + message.hex(), {})

        with _Secure(server, version=ssl.TLSVersion.TLSv1_2) as peer:
            challenge = begin(peer)
            equal(challenge["channel_binding"], "tls-unique")
            mine = peer.socket.socket.get_channel_binding("tls-unique")
            answer(peer, challenge, hashlib.sha256(mine).digest())
            equal(peer.take(2)[2]["authid"], "robot")
        # Signed for another connection, or for none.
        for over in (hashlib.sha256(mine).digest(), bytes(32)):
            with _Secure(server, version=ssl.TLSVersion.TLSv1_2) as peer:
                answer(peer, begin(peer), over)
                peer.expect_abort("wamp.error.authentication_failed")
        # TLS 1.3 has no tls-unique, and nobody else's word for it counts.
        with _Secure(server) as peer:
            peer.hello(authmethods=["cryptosign"], authextra={
                "pubkey": PUBLIC_KEY, "channel_binding": "tls-unique"})
            peer.expect_abort("wamp.error.authentication_failed")
        expect(autobahn_python(server.url("wss", "secure", "/ws"), "cryptosign", authid="robot",
                               privkey=SEED, tls12=True,
                               authextra={"channel_binding": "tls-unique"}),
               "robot", "cryptosign")


def a_login_by_long_poll_over_tls_has_no_certificate():
    config = _config(**_secure(client_ca=str(Certificates().ca)))
    with Server(config=config, files=FILES) as server:
        context = ssl.create_default_context(cafile=server.ca)
        context.check_hostname = False

        def post(path, body):
            connection = http.client.HTTPSConnection(
                *server.address("secure"), timeout=15, context=context)
            connection.request("POST", path, json.dumps(body))
            data = connection.getresponse().read()
            connection.close()
            return json.loads(data) if data else None

        transport = post("/lp/open", {"protocols": ["wamp.2.json"]})["transport"]
        hello = {"roles": {"caller": {}}, "authmethods": ["tls", "ticket"], "authid": "bob"}
        post(f"/lp/{transport}/send", [1, "realm1", hello])
        equal(post(f"/lp/{transport}/receive", None), [4, "ticket", {}])
        post(f"/lp/{transport}/send", [5, PASSWORD, {}])
        equal(post(f"/lp/{transport}/receive", None)[0], 2)


# ---- cookies ----

def _cookie(peer):
    """The value that the upgrade gave; None: none."""
    found = re.search(r"^Set-Cookie: parley=([\w-]{24}); Path=/; Max-Age=604800; HttpOnly; "
                      r"SameSite=Strict\r$", peer.socket.head, re.MULTILINE)
    return found and found.group(1)


def _with(cookie, *more):
    return {"headers": [f"Cookie: a=b; parley={cookie}", *more]}


def _log_in(peer):
    peer.hello(authmethods=["cookie", "ticket"], authid="bob").take(4)
    peer.send(5, PASSWORD, {})
    return peer.take(2)[2]


def a_login_is_remembered_for_the_cookie():
    config = _config()
    config["listeners"][0]["cookie"] = "parley"
    with Server(config=config, files=FILES) as server:
        with Peer(server, "open") as peer:
            equal(_cookie(peer), None)
        with Peer(server) as peer:
            cookie = _cookie(peer)
            holds(cookie, peer.socket.head)
            equal(_log_in(peer)["authmethod"], "ticket")
        for authid in ({}, {"authid": "bob"}):
            with Peer(server, **_with(cookie)) as peer:
                equal(_cookie(peer), None)
                details = peer.hello(authmethods=["cookie", "ticket"], **authid).take(2)[2]
                equal((details["authid"], details["authrole"], details["authmethod"]),
                      ("bob", "device", "cookie"))
        # Whoever asks for another name is not bob.
        with Peer(server, **_with(cookie)) as peer:
            equal(peer.hello(authmethods=["cookie", "ticket"], authid="every").take(4)[1],
                  "ticket")
        # Another origin's page brings the cookie, and it counts for nothing.
        with Peer(server, **_with(cookie, "Origin: https://evil.example")) as peer:
            peer.hello(authmethods=["cookie"])
            peer.expect_abort("wamp.error.no_matching_auth_method")
        # A cookie that nobody logged in with is not adopted: who planted it learns nothing.
        planted = "A" * 24
        with Peer(server, **_with(planted)) as peer:
            holds(_cookie(peer) not in (None, planted), peer.socket.head)
            equal(_log_in(peer)["authmethod"], "ticket")
        with Peer(server, **_with(planted)) as peer:
            peer.hello(authmethods=["cookie"])
            peer.expect_abort("wamp.error.no_matching_auth_method")


def a_remembered_login_goes_with_its_user():
    config = _config()
    config["listeners"][0]["cookie"] = "parley"
    with Server(config=config, files=FILES) as server:
        with Peer(server) as peer:
            cookie = _cookie(peer)
            _log_in(peer)
        users = server.folder / "users"
        users.write_text("\n".join(line for line in USERS.splitlines()
                                   if not line.startswith("bob ")) + "\n")
        server.signal(signal.SIGHUP)
        server.wait_log("reloaded")
        with Peer(server, **_with(cookie)) as peer:
            peer.hello(authmethods=["cookie"])
            peer.expect_abort("wamp.error.no_matching_auth_method")


# ---- the dynamic authenticator ----

PROCEDURE = "com.example.authenticate"


def _scram_credential(password):
    """As Crossbar's tools make it."""
    salt = b"fedcba9876543210"
    stored, served = scram_keys(hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1000))
    return {"kdf": "pbkdf2", "salt": b64(salt), "iterations": 1000, "stored-key": stored.hex(),
            "server-key": served.hex(), "role": "device"}


DYNAMIC = {
    "amy": {"role": "device", "secret": "amys", "extra": {"team": "red"}},
    "sal": {"authrole": "device", "secret": salted_cra("sals", "pepper").split("$")[-1],
            "salt": "pepper", "iterations": 1000, "keylen": 32},
    "sam": _scram_credential("sams"),
    "key": {"role": "device", "pubkey": PUBLIC_KEY, "authid": "keeper"},
    "lost": {"role": "nobody", "secret": "losts"},
    "far": {"role": "device", "secret": "fars", "realm": "elsewhere"},
}


def _authenticate(realm, authid, details):
    """What a program of the operator's would do."""
    if details["authmethod"] == "ticket":
        if details["ticket"] == f"{authid}s ticket":
            return "device"
        raise LookupError("wrong ticket")
    if details["authmethod"] == "cryptosign":
        authid = "key"
    return DYNAMIC[authid]


def a_dynamic_authenticator_is_asked_about_who_is_not_in_the_file():
    config = _config(wamp={"authenticator": PROCEDURE}, realms=[{"name": "elsewhere"}])
    files = {**FILES, "users": USERS.replace(f"robot device $cryptosign${PUBLIC_KEY}\n", "")}
    with Server(config=config, files=files) as server:
        url = _url(server)
        # Nobody answers yet: it is as an unknown user.
        expect_refused(autobahn_python(url, "wampcra", authid="amy", secret="amys"))
        with Callee(server, "every", PASSWORD, PROCEDURE, _authenticate) as callee:
            done = autobahn_python(url, "wampcra", authid="amy", secret="amys")
            expect(done, "amy", "wampcra")
            equal((done.welcome["authprovider"], done.welcome["authextra"]),
                  ("dynamic", {"team": "red"}))
            realm, authid, details = callee.calls[-1]
            equal((realm, authid, details["authmethod"]), ("main", "amy", "wampcra"))
            holds(details["transport"]["peer"] == "127.0.0.1" and details["session"] > 0, details)
            expect_refused(autobahn_python(url, "wampcra", authid="amy", secret="x"))
            expect(javascript("autobahn", url, ["wampcra"], authid="sal", secret="sals"),
                   "sal", "wampcra")
            expect(javascript("wampy", url, ["ticket"], authid="tom", secret="toms ticket"),
                   "tom", "ticket")
            expect_refused(javascript("wampy", url, ["ticket"], authid="tom", secret="x"))
            expect(autobahn_python(url, "cryptosign", privkey=SEED), "keeper", "cryptosign")
            equal(_scram(server, "wamp-scram", "sam", "sams")[0], 2)
            equal(_scram(server, "wamp-scram", "sam", "x")[2], "wamp.error.authentication_failed")
            for authid in ("lost", "eve"):
                expect_refused(
                    autobahn_python(url, "wampcra", authid=authid, secret=f"{authid}s"))
            # The realm that it names, if the client asked for it.
            expect(autobahn_python(url, "wampcra", authid="plain", secret=PASSWORD),
                   "plain", "wampcra")
            equal([call[1] for call in callee.calls].count("plain"), 0)


def a_realm_may_have_an_authenticator_of_its_own():
    config = _config(realms=[{"name": "elsewhere", "authenticator": PROCEDURE}])
    files = {**FILES, "users": USERS + f"service admin {HASH} realm=elsewhere\n"}
    with Server(config=config, files=files) as server:
        with Callee(server, "service", PASSWORD, PROCEDURE, _authenticate,
                    realm="elsewhere") as callee:
            expect(autobahn_python(_url(server), "wampcra", realm="elsewhere", authid="far",
                                   secret="fars"), "far", "wampcra")
            equal(callee.calls[-1][0], "elsewhere")
            expect_refused(autobahn_python(_url(server), "wampcra", authid="far", secret="fars"))
            equal(len(callee.calls), 1)


def a_server_that_goes_down_while_it_asks_ends_well():
    config = _config(wamp={"authenticator": PROCEDURE})
    with Server(config=config, files=FILES) as server:
        asked = threading.Event()
        never = threading.Event()

        def answer(*_):
            asked.set()
            never.wait()

        with Callee(server, "every", PASSWORD, PROCEDURE, answer), Peer(server) as peer:
            peer.hello(authmethods=["wampcra"], authid="amy")
            holds(asked.wait(15), "the authenticator is asked")
            server.stop()
            never.set()
