"""Logins of real clients, and the words in which each protocol is refused, expired and revoked."""

import re
import signal
import subprocess
import time

from clients import (IoRedis, LibNats, MqttJs, Nats, NatsWs, Paho, Refused, mosquitto_pub, redis_cli,
                     run)
from harness import Failure, Raw, Server, equal, holds, poll
from people import HASH, KEY, PASSWORD, token, users
from wires import Mqtt, Redis
from wires import Nats as RawNats

ROLES = {
    "device": {"subscribe": ["device.{user_id}.#"], "publish": ["device.{user_id}.#"]},
    "other": {"subscribe": ["other.>"], "publish": ["other.>"]},
}


def _auth(**more):
    return {"auth": {"users": "users", "jwt": {"keys": [{"file": "key"}]}, "free_failures": 1000,
                     **more},
            "roles": ROLES}


FILES = {"users": users(bob="device", ann="all", default="all"), "key": KEY}
CONFIG = {"files": FILES, **_auth()}


def _refused(make, *codes):
    """The client is refused, with one of these codes of its library; returns its words."""
    try:
        client = make()
    except Refused as refused:
        holds(refused.code in codes, f"code {refused.code!r} is not of {codes}: {refused}")
        return refused.text
    client.close()
    raise Failure("the login was taken")


# ---- the ways in ----

def a_user_of_the_file_logs_in_by_every_protocol(server):
    login = {"username": "bob", "password": PASSWORD}
    with MqttJs(server.url("mqtt", "mqtt"), **login) as one, \
            MqttJs(server.url("ws", "shared"), protocolVersion=5, **login) as two, \
            Nats(server.url("nats", "nats"), user="bob", **{"pass": PASSWORD}) as three, \
            IoRedis(server.address("redis"), **login) as four, \
            LibNats(server.url("nats", "nats").replace("//", f"//bob:{PASSWORD}@")) as five, \
            Paho(server.address("mqtt"), **login) as six:
        hearers = [one, two, six]
        for hearer in hearers:
            hearer.subscribe("device/bob/#")
        three.subscribe("device.bob.>")
        five.subscribe("device.bob.a")
        equal(four.subscribe("device.bob.a"), 1)
        one.publish("device/bob/a", "x")
        for hearer in hearers:
            hearer.expect("device/bob/a", "x")
        for hearer in (three, four, five):
            hearer.expect("device.bob.a", "x")


def a_token_logs_in_by_every_place_where_a_protocol_can_carry_one(server):
    mine = token(sub="tom", role="device")
    bearer = {"headers": {"Authorization": f"Bearer {mine}"}}
    with MqttJs(server.url("mqtt", "mqtt"), username="JWT", password=mine) as first, \
            MqttJs(server.url("mqtt", "mqtt"), username="what", password=mine, protocolVersion=5), \
            MqttJs(server.url("ws", "shared"), wsOptions=bearer) as by_header, \
            MqttJs(server.url("ws", "shared", f"/mqtt?token={mine}")), \
            MqttJs(server.url("ws", "shared"), wsOptions={"headers": {"Cookie": f"token={mine}"}}), \
            Nats(server.url("nats", "nats"), token=mine) as by_token, \
            Nats(server.url("nats", "nats"), jwt=mine), \
            Nats(server.url("nats", "nats"), user="what", **{"pass": mine}), \
            NatsWs(server.url("ws", "shared"), token=mine), \
            NatsWs(server.url("ws", "shared", f"/nats?token={mine}")), \
            IoRedis(server.address("redis"), password=mine), \
            IoRedis(server.address("redis"), username="what", password=mine) as by_redis:
        by_token.subscribe("device.tom.>")
        by_header.subscribe("device/tom/a")
        equal(by_redis.subscribe("device.tom.a"), 1)
        first.publish("device/tom/a", "x")
        by_token.expect("device.tom.a", "x")
        by_header.expect("device/tom/a", "x")
        by_redis.expect("device.tom.a", "x")


def redis_knows_its_user_default(server):
    equal(redis_cli(server.address("redis"), "-a", PASSWORD, "--no-auth-warning", "publish", "x",
                    "1"), "0")
    equal(redis_cli(server.address("redis"), "-3", "--user", "ann", "--pass", PASSWORD,
                    "--no-auth-warning", "publish", "x", "1"), "0")


# ---- the refusals ----

def mqtt_refuses_a_login_with_its_return_codes(server):
    wrong = {"username": "bob", "password": "wrong"}
    url = server.url("mqtt", "mqtt")
    _refused(lambda: MqttJs(url, **wrong), 4, 5)
    _refused(lambda: MqttJs(url, protocolVersion=5, **wrong), 0x86)
    _refused(lambda: MqttJs(url), 4, 5)
    _refused(lambda: MqttJs(url, username="nobody", password=PASSWORD), 4, 5)
    _refused(lambda: MqttJs(url, username="JWT", password=token("0" * 32, sub="x")), 4, 5)
    _refused(lambda: MqttJs(url, protocolVersion=5, username="JWT",
                            password=token(sub="x", role="device", lasts=-1)), 0x86)
    _refused(lambda: Paho(server.address("mqtt"), username="bob", password="wrong"), 4, 5)
    try:
        mosquitto_pub(server.address("mqtt"), "x", "1", arguments=["-u", "bob", "-P", "wrong"])
    except Failure as failure:
        holds(re.search("bad user name or password|not authori[sz]ed", str(failure)), failure)
    else:
        raise Failure("mosquitto_pub came in")


def nats_refuses_a_login_with_its_words(server):
    url = server.url("nats", "nats")
    for wrong in ({"user": "bob", "pass": "wrong"}, {"user": "nobody", "pass": PASSWORD}, {},
                  {"token": "wrong"}, {"token": token("0" * 32, sub="x")},
                  {"jwt": token(sub="x", role="device", lasts=-1)}, {"user": "bob"}):
        _refused(lambda wrong=wrong: Nats(url, **wrong), "AUTHORIZATION_VIOLATION")
    _refused(lambda: NatsWs(server.url("ws", "shared"), user="bob", **{"pass": "wrong"}),
             "AUTHORIZATION_VIOLATION")
    words = _refused(lambda: LibNats(url.replace("//", "//bob:wrong@")), None)
    holds(re.search("Auth\\w+ Violation", words), words)
    equal(RawNats(server, "bob", "wrong").error, "Authorization Violation")


def redis_refuses_a_login_with_its_words(server):
    wrong = "-WRONGPASS invalid username-password pair or user is disabled."
    equal(Redis(server, "bob", "wrong").error, wrong)
    equal(Redis(server, "nobody", PASSWORD).error, wrong)
    with Raw(server, "redis") as raw:
        raw.send("*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n").expect(wrong + "\r\n")
        raw.send("*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$1\r\n1\r\n").expect(
            "-NOAUTH Authentication required.\r\n")
    _refused(lambda: IoRedis(server.address("redis"), username="bob", password="wrong"), None)
    text = subprocess.run(
        ["redis-cli", "-p", str(server.port("redis")), "--user", "bob", "--pass", "wrong",
         "--no-auth-warning", "ping"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    holds(b"WRONGPASS" in text.stdout, text.stdout)


def what_a_role_does_not_allow_is_refused_in_each_clients_words(server):
    login = {"username": "bob", "password": PASSWORD}
    with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5, **login) as mqtt, \
            Nats(server.url("nats", "nats"), user="bob", **{"pass": PASSWORD}) as nats, \
            IoRedis(server.address("redis"), **login) as redis:
        try:
            granted = mqtt.subscribe("device/eve/#")[0]["qos"]
        except Refused as refused:
            granted = refused.code or refused.text
        holds(granted in (0x87, 0x80) or "uthorized" in str(granted), f"SUBACK was {granted!r}")
        nats.subscribe("device.eve.>")
        holds(re.search("(?i)permissions violation", nats.event("refused")["error"]),
              "nats.js is told")
        for words in (("psubscribe", "device.*"), ("subscribe", "device.eve.a"),
                      ("publish", "device.eve.a", "x")):
            try:
                redis.command(*words)
            except Refused as refused:
                holds("NOPERM" in refused.text, refused)
            else:
                raise Failure(f"{words} was allowed")


# ---- the end of a right ----

def a_session_ends_with_its_token_in_its_protocols_words(server):
    def mine():
        return token(sub="tom", role="device", lasts=2)

    five, four = Mqtt(server, "JWT", mine(), version=5), Mqtt(server, "JWT", mine())
    nats, redis = RawNats(server, "tom", mine()), Redis(server, "tom", mine())
    equal((five.code, four.code, nats.error, redis.error), (0, 0, None, None))
    head = five.raw.take(3)  # DISCONNECT, its length, its reason
    equal((head[0], head[2]), (0xE0, 0xA0))
    five.raw.read_all()
    four.raw.expect_close()
    nats.raw.expect("-ERR 'User Authentication Expired'\r\n").expect_close()
    redis.raw.expect_close()


def _reload(server):
    before = len(re.findall("reloaded|reload_failed", server.log()))
    server.signal(signal.SIGHUP)
    poll(lambda: len(re.findall("reloaded|reload_failed", server.log())) > before, "for a reload")


def who_is_removed_is_logged_out_at_the_reload_and_the_others_stay():
    with Server(files=FILES, **_auth()) as server:
        login = {"username": "bob", "password": PASSWORD}
        with MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5, **login) as bob, \
                Nats(server.url("nats", "nats"), user="bob", **{"pass": PASSWORD}) as bob_nats, \
                IoRedis(server.address("redis"), **login) as bob_redis, \
                Nats(server.url("nats", "nats"), user="ann", **{"pass": PASSWORD}) as ann:
            ann.subscribe("stays")
            (server.folder / "users").write_text(users(ann="all"))
            _reload(server)
            equal(bob.event("disconnect")["reasonCode"], 0x87)
            holds("revoked" in f"{bob_nats.event('closed')}".lower(), "nats.js is told")
            bob_redis.event("closed")
            ann.publish("stays", "x")
            ann.expect("stays", "x")
            _refused(lambda: MqttJs(server.url("mqtt", "mqtt"), **login), 4, 5)


def a_reload_withdraws_what_a_role_no_longer_allows():
    with Server(files=FILES, **_auth()) as server:
        with Nats(server.url("nats", "nats"), user="bob", **{"pass": PASSWORD}) as bob, \
                MqttJs(server.url("mqtt", "mqtt"), username="bob", password=PASSWORD) as idle:
            bob.subscribe("device.bob.>")
            (server.folder / "users").write_text(users(bob="other", ann="all"))
            _reload(server)
            bob.event("closed")
            # One that subscribes nothing has its new rights where it is.
            idle.subscribe("other/x")
            idle.publish("other/x", "y")
            idle.expect("other/x", "y")


def a_session_that_is_away_loses_what_its_role_no_longer_allows():
    with Server(files=FILES, **_auth()) as server:
        stays = {"username": "bob", "password": PASSWORD, "protocolVersion": 5, "clientId": "b1",
                 "clean": False, "properties": {"sessionExpiryInterval": 1000}}
        url = server.url("mqtt", "mqtt")
        with MqttJs(url, **stays) as bob:
            bob.subscribe("device/bob/#", qos=1)
            bob.end()
        with Nats(server.url("nats", "nats"), user="ann", **{"pass": PASSWORD}) as ann:
            ann.publish("device.bob.a", "before")
            (server.folder / "users").write_text(users(bob="other", ann="all"))
            _reload(server)
            ann.publish("device.bob.a", "after")
            with MqttJs(url, **stays) as bob:
                holds(not bob.connack["sessionPresent"], "its session ended with its right")
                bob.subscribe("other/x", qos=1)
                ann.publish("other.x", "end")
                bob.expect("other/x", "end")


def a_client_id_belongs_to_its_user(server):
    url = server.url("mqtt", "mqtt")
    with MqttJs(url, username="bob", password=PASSWORD, clientId="same") as bob, \
            MqttJs(url, username="ann", password=PASSWORD, clientId="same") as ann, \
            MqttJs(url, username="JWT", password=token(sub="tom", role="device"),
                   clientId="same") as tom:
        for client, name in ((bob, "bob"), (ann, "bob"), (tom, "tom")):
            client.subscribe(f"device/{name}/a")
        ann.publish("device/bob/a", "x")
        ann.publish("device/tom/a", "y")
        bob.expect("device/bob/a", "x")
        ann.expect("device/bob/a", "x")
        tom.expect("device/tom/a", "y")


def a_revoked_token_ends_its_session_and_comes_in_no_more():
    with Server(files=FILES, **_auth()) as server:
        mine, other = (token(sub="tom", role="device", jti=name) for name in ("t1", "t2"))
        with Nats(server.url("nats", "nats"), token=mine) as one, \
                Nats(server.url("nats", "nats"), token=other) as two:
            two.subscribe("device.tom.>")
            server.config["auth"]["revoked"] = ["jti:t1"]
            server.write_config()
            _reload(server)
            one.event("closed")
            two.publish("device.tom.x", "y")
            two.expect("device.tom.x", "y")
            _refused(lambda: Nats(server.url("nats", "nats"), token=mine), "AUTHORIZATION_VIOLATION")


def a_users_file_that_cannot_be_read_changes_nothing_and_is_told_with_its_line():
    with Server(files=FILES, **_auth()) as server:
        with Nats(server.url("nats", "nats"), user="bob", **{"pass": PASSWORD}) as bob:
            (server.folder / "users").write_text(users(ann="all") + "bob device\n")
            _reload(server)
            holds(re.search("reload_failed.*users:2: expected an argon2id hash", server.log()),
                  server.log()[-500:])
            bob.subscribe("device.bob.x")
            bob.publish("device.bob.x", "y")
            bob.expect("device.bob.x", "y")
            with Nats(server.url("nats", "nats"), user="bob", **{"pass": PASSWORD}):
                pass


def a_server_with_a_broken_users_file_does_not_start():
    server = Server(files={"users": f"bob device {HASH}\nann\n", "key": KEY}, **_auth())
    try:
        server.spawn()
        equal(server.wait(), 2, "exit code")
        holds("users:2: expected a role behind the name" in server.log(), server.log())
    finally:
        server.remove()


def who_guesses_is_slowed_and_then_let_in_again():
    with Server(files=FILES, **_auth(free_failures=3, backoff="700ms", backoff_max="700ms")) as server:
        for _ in range(4):
            equal(Mqtt(server, "bob", "wrong", version=5).code, 0x86)
        # Unseen now, the right one too.
        equal(Mqtt(server, "bob", PASSWORD, version=5).code, 0x97)
        began = time.monotonic()
        poll(lambda: Mqtt(server, "bob", PASSWORD, version=5).code == 0, "for the login")
        holds(time.monotonic() - began < 5, "the wait is as configured")


def without_an_own_login_a_foreign_page_gets_nothing_and_with_one_it_may():
    with Server(files=FILES, roles=ROLES, auth={
            "users": "users", "anonymous": "all", "jwt": {"keys": [{"file": "key"}]}}) as server:
        foreign = {"headers": {"Origin": "https://evil.example"}}
        mine = token(sub="tom", role="device")
        with MqttJs(server.url("ws", "shared")):
            pass
        try:
            MqttJs(server.url("ws", "shared"), wsOptions=foreign).close()
        except Refused:
            pass
        else:
            raise Failure("anonymous from a foreign page")
        cookie = {"headers": {"Origin": "https://evil.example", "Cookie": f"token={mine}"}}
        try:
            MqttJs(server.url("ws", "shared"), wsOptions=cookie).close()
        except Refused:
            pass
        else:
            raise Failure("a cookie from a foreign page")
        with MqttJs(server.url("ws", "shared"), wsOptions=foreign, username="JWT", password=mine):
            pass


# ---- the command line ----

def users_and_tokens_of_the_command_line_are_those_of_the_server():
    with Server(files={**FILES, "users": ""}, **_auth()) as server:
        file, key = str(server.folder / "users"), str(server.folder / "key")
        run([server.binary, "user", "add", "zoe", "--role", "device", "--file", file,
             "--password-stdin"], "opens\n")
        equal(run([server.binary, "user", "list", "--file", file]), b"zoe\tdevice\n")
        _reload(server)
        with Nats(server.url("nats", "nats"), user="zoe", **{"pass": "opens"}) as zoe:
            zoe.subscribe("device.zoe.x")
        mine = run([server.binary, "token", "--key", key, "--user", "tom", "--role", "device",
                    "--expires", "1m"]).decode().strip()
        with Nats(server.url("nats", "nats"), token=mine) as tom:
            tom.subscribe("device.tom.x")
        text = run([server.binary, "token", "--inspect", mine, "--key", key]).decode()
        holds('"sub": "tom"' in text and "good" in text, text)
        late = token(sub="tom", lasts=-5)
        done = subprocess.run([server.binary, "token", "--inspect", late, "--key", key],
                              stdout=subprocess.PIPE, check=False)
        equal(done.returncode, 1)
        holds(b"exp is in the past" in done.stdout, done.stdout)
        run([server.binary, "user", "passwd", "zoe", "--file", file, "--password-stdin"], "new\n")
        _reload(server)
        _refused(lambda: Nats(server.url("nats", "nats"), user="zoe", **{"pass": "opens"}),
                 "AUTHORIZATION_VIOLATION")
        run([server.binary, "user", "remove", "zoe", "--file", file])
        equal(run([server.binary, "user", "list", "--file", file]), b"")
