"""redis-cli, ioredis and hiredis talk through a real server."""

from clients import IoRedis, LibHiredis, RedisCliSubscribe, Refused, redis_cli
from harness import Failure, Raw, Server
from users import hashed


def redis_cli_subscribes_and_publishes(server):
    address = server.address("redis")
    with RedisCliSubscribe(address, "subscribe", "cli.news") as channel, \
            RedisCliSubscribe(address, "psubscribe", "cli.*") as pattern:
        if redis_cli(address, "publish", "cli.news", "hello") != "2":
            raise Failure("not both receive")
        channel.expect("cli.news", "hello")
        pattern.expect("cli.news", "hello")


def redis_cli_comes_in_by_the_shared_port(server):
    address = server.address("shared")
    with RedisCliSubscribe(address, "subscribe", "shared.news") as channel:
        redis_cli(address, "publish", "shared.news", "hello")
        channel.expect("shared.news", "hello")


def redis_cli_speaks_resp3(server):
    address = server.address("redis")
    with RedisCliSubscribe(address, "subscribe", "cli3", arguments=["-3"]) as channel:
        if redis_cli(address, "publish", "cli3", "x", arguments=["-3"]) != "1":
            raise Failure("not received")
        channel.expect("cli3", "x")
    told = redis_cli(address, "hello", "3", arguments=["-3"])
    if "proto" not in told or "standalone" not in told:
        raise Failure(told)


def redis_cli_starts_interactively(server):
    """It asks for COMMAND DOCS, and completes from it; a script on stdin is inline to it."""
    address = server.address("redis")
    told = redis_cli(address, "command", "docs", "publish")
    if "summary" not in told:
        raise Failure(told)
    told = redis_cli(address, "info", "server")
    if "redis_version:" not in told:
        raise Failure(told)


def redis_cli_over_tls(server):
    address = server.address("rediss")
    arguments = ["--tls", "--cacert", server.ca]
    with RedisCliSubscribe(address, "subscribe", "tls.news", arguments=arguments) as channel:
        redis_cli(address, "publish", "tls.news", "hello", arguments=arguments)
        channel.expect("tls.news", "hello")


def ioredis_subscribes_to_channels_patterns_and_shard_channels(server):
    address = server.address("redis")
    with IoRedis(address) as subscriber, IoRedis(address) as publisher:
        subscriber.subscribe("io.a", "io.b")
        subscriber.psubscribe("io.[cd]")
        subscriber.ssubscribe("io.s")
        if [publisher.publish(f"io.{name}", "1") for name in "abcds"] != [1, 1, 1, 1, 1]:
            raise Failure("wrong counts")
        for name in "abcds":
            subscriber.expect(f"io.{name}", "1", pattern="io.[cd]" if name in "cd" else None)
        subscriber.unsubscribe("io.a")
        subscriber.punsubscribe("io.[cd]")
        if [publisher.publish(f"io.{name}", "2") for name in "abc"] != [0, 1, 0]:
            raise Failure("wrong counts after unsubscribing")
        subscriber.expect("io.b", "2")


def ioredis_pipelines_ten_thousand(server):
    address = server.address("redis")
    with IoRedis(address) as subscriber, IoRedis(address) as publisher:
        subscriber.subscribe("io.many")
        publisher.publish_many("io.many", 10000)
        for i in range(10000):
            subscriber.expect("io.many", str(i))


def ioredis_runs_a_transaction(server):
    with IoRedis(server.address("redis")) as client:
        client.command("multi")
        client.command("publish", "io.x", "1")
        client.command("ping")
        if client.command("exec") != [0, "PONG"]:
            raise Failure("EXEC")


def hiredis_subscribes_publishes_and_pipelines(server):
    with LibHiredis(server.address("redis")) as client:
        client.psubscribe("hi*")
        if client.publish("hired", b"\0\xff\r\n") != 1:
            raise Failure("not received")
        client.expect("hired", b"\0\xff\r\n")
        if client.pipeline("hire", 2000) != 2000:
            raise Failure("not all were received")
        for i in range(2000):
            client.expect("hire", str(i))


def logins_work_with_real_clients():
    users = f"default all {hashed('secret')}\ndev dev {hashed('pw')}\n"
    roles = {"all": {"publish": [">"], "subscribe": [">"]},
             "dev": {"publish": ["dev.>"], "subscribe": ["dev.>"]}}
    with Server(roles=roles, auth={"users": "users.txt"},
                files={"users.txt": users}) as server:
        address = server.address("redis")
        if redis_cli(address, "ping") != "NOAUTH Authentication required.":
            raise Failure("let in")
        if redis_cli(address, "ping", arguments=["--no-auth-warning", "-a", "secret"]) != "PONG":
            raise Failure("not let in")
        try:
            IoRedis(address, username="dev", password="wrong").close()
        except Refused:
            pass
        else:
            raise Failure("let in with a wrong password")
        with IoRedis(address, username="dev", password="pw") as client, \
                LibHiredis(address, "dev", "pw") as other:
            other.subscribe("dev.x")
            client.publish("dev.x", "1")
            other.expect("dev.x", "1")
            try:
                client.publish("other", "1")
            except Refused as refused:
                if "NOPERM" not in refused.text:
                    raise
            else:
                raise Failure("published without the right")


def a_drained_server_closes_its_clients():
    with Server() as server, Raw(server, "redis") as raw:
        raw.send(b"SUBSCRIBE a\r\n").until(b":1\r\n")
        server.stop()
        raw.expect_close()
