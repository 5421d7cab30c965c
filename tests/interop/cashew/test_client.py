"""The client of clients/cashew and the demo of examples/cashew-contacts, with a real server."""

import os
import re

from clients import MqttJs, Refused, node, run
from cashew import KEY, YAML, device, handler, options
from harness import (ROOT, SANITIZER_OPTIONS, Failure, Process, Server, equal, holds, locked)

SECONDS_MAX = 240
CLIENT = ROOT / "clients" / "cashew"
DEMO = ROOT / "examples" / "cashew-contacts"
CONFIG = options()


def _env():
    binary = os.environ.get("PARLEY_BIN", str(ROOT / "build" / "asan" / "parley"))
    return {**SANITIZER_OPTIONS, "PARLEY_BIN": binary}


def _build():
    """Compiles the client unless it is newer than its sources."""
    sources = [*(CLIENT / "src").glob("*.ts"), *CLIENT.glob("*.json"), CLIENT / "build.mjs"]
    built = CLIENT / "dist" / "cjs" / "package.json"  # made last
    with locked("clients-cashew"):
        if not built.exists() or built.stat().st_mtime < max(f.stat().st_mtime for f in sources):
            run([node(), CLIENT / "build.mjs"], timeout=180)


def _lines(process):
    """Everything that it prints, until it has ended well."""
    lines = []
    while True:
        try:
            lines.append(process.lines.next(timeout=90).decode())
        except Failure:
            break
    code = process.wait()
    if code != 0:
        tail = "\n".join(lines)[-4000:]
        raise Failure(f"ended with {code}:\n{tail}\n{process.stderr()}")
    return lines


def the_clients_own_tests_pass():
    _build()
    with Process([node(), "--test", "test/"], env=_env(), cwd=CLIENT) as process:
        text = "\n".join(_lines(process))
    passed = int(re.search(r"^# pass (\d+)$", text, re.MULTILINE)[1])
    holds(passed >= 20, f"{passed} tests passed")


def the_demo_has_nine_apples_and_a_contact():
    _build()
    with Process([node(), "demo.js"], env=_env(), cwd=DEMO) as process:
        lines = _lines(process)
    for wanted in ("9 apples: black blue golden green pink purple red russet yellow",
                   "contacts of 68946: 23412",
                   "ping-pong handler hears its own pong { sent: 'by the device' }",
                   "refused: 23412/contact_requested: not authorized (135)"):
        holds(wanted in lines, f"{wanted!r} is not in {lines}")


def the_demo_runs_with_the_servers_configuration(server):
    _build()
    env = {"BROKER_URL": server.url("ws", "cashew"), "JWT_SECRET": KEY}
    with Process([node(), "demo.js"], env=env, cwd=DEMO) as process:
        holds(any(line.startswith("9 apples") for line in _lines(process)), "no nine apples")


def mqtt_js_is_device_and_handler_in_each_version_and_transport(server):
    user = "139871238127389"
    for scheme in ("ws", "mqtt"):
        for version in (4, 5):
            more = {"username": "JWT", "protocolVersion": version}
            url = server.url(scheme, "cashew")
            with MqttJs(url, password=handler(), **more) as one, \
                    MqttJs(url, password=handler(), **more) as two, \
                    MqttJs(url, password=device(int(user)), **more) as mobile:
                one.subscribe("+/get_apples")
                two.subscribe("+/get_more_apples")
                mobile.subscribe(f"{user}/got_apples")
                for command, handling, apples in (("get_apples", one, '["red","yellow","blue"]'),
                                                  ("get_more_apples", two,
                                                   '["green","black","purple"]')):
                    mobile.publish(f"{user}/{command}", "{}", qos=0)
                    handling.expect(f"{user}/{command}", "{}")
                    handling.publish(f"{user}/got_apples", apples, qos=0)
                    mobile.expect(f"{user}/got_apples", apples)
                for foreign in ("1398712381273891/x", "#", "+/got_apples", "$SYS/#",
                                "$share/g/other/x"):
                    try:
                        granted = mobile.subscribe(foreign)
                    except Refused as refused:
                        holds("Not authorized" in refused.text or "Unspecified" in refused.text,
                              refused)
                    else:
                        raise Failure(f"{foreign} was granted: {granted}")


def who_published_is_told_and_cannot_be_forged():
    with Server(**options(YAML.replace("# disclose: always ", "disclose: always "))) as server:
        more = {"username": "JWT", "protocolVersion": 5}
        url = server.url("ws", "cashew")
        with MqttJs(url, password=handler(), **more) as watcher, \
                MqttJs(url, password=device("12"), **more) as one, \
                MqttJs(url, password=device("13"), username="JWT") as old:
            watcher.subscribe("#")
            forged = {"userProperties": {"parley-user": "13", "parley-role": "handler", "a": "b"}}
            one.publish("request_contact", "{}", properties=forged)
            got = watcher.expect("request_contact", "{}")
            equal(got.fields["properties"]["userProperties"],
                  {"a": "b", "parley-user": "12", "parley-role": "device"})
            old.publish("request_contact", "{}")
            got = watcher.expect("request_contact", "{}")
            equal(got.fields["properties"]["userProperties"],
                  {"parley-user": "13", "parley-role": "device"})
            watcher.publish("13/x", "1", properties=forged)
            got = watcher.expect("13/x", "1")
            equal(got.fields["properties"]["userProperties"], {"a": "b"})


def a_bad_token_is_an_error_of_mqtt_js(server):
    for scheme in ("ws", "mqtt"):
        for version, code in ((4, 4), (5, 0x86)):
            try:
                MqttJs(server.url(scheme, "cashew"), username="JWT", password=device("1", lasts=-1),
                       protocolVersion=version).close()
            except Refused as refused:
                equal(refused.code, code)
            else:
                raise Failure("it came in")


def the_example_is_checked_without_being_run():
    server = Server(**CONFIG)
    try:
        server.write_config()
        said = run(["env", f"JWT_SECRET={KEY}", server.binary, "check", server.config_file])
        holds(b"is fine" in said, said)
    finally:
        server.remove()
