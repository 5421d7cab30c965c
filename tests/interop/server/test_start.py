"""How the server starts: ports, files, configuration; and what stops it from starting."""

import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import tempfile

from harness import ROOT, Raw, Server, Skip, equal, holds, poll

MQTT = [{"name": "m", "address": "127.0.0.1", "port": 0, "protocols": ["mqtt"]}]
NO_ADMIN = {"enabled": False}


def _small(**more):
    return {"admin": NO_ADMIN, "listeners": MQTT, **more}


def _refused(config, *expected, code=2, arguments=(), files=None):
    """The process ends with that code, one line on stderr says all of expected, nothing listens."""
    server = Server(config=config, arguments=arguments, files=files)
    try:
        server.spawn()
        equal(server.wait(), code, "exit code")
        lines = server.log().splitlines()
        equal(len(lines), 1, f"lines in {lines}")
        for text in expected:
            holds(text in lines[0], f"{text!r} in {lines[0]!r}")
        holds(not server.ports_file.exists(), "no ports file")
    finally:
        server.remove()


def the_ports_file_lists_every_listener():
    with Server() as server:
        names = {listener["name"] for listener in server.listeners}
        equal(names, {"mqtt", "nats", "redis", "wamp", "rawsocket", "shared", "mqtts", "natss",
                      "rediss", "wss", "admin"})
        for listener in server.listeners:
            holds(0 < listener["port"] < 65536, str(listener))
            equal(listener["address"], "127.0.0.1")
        equal(server.listener("mqtt")["protocols"], ["mqtt"])
        equal(server.listener("mqtt")["tls"], False)
        equal(server.listener("wss")["protocols"], ["mqtt", "nats", "redis", "wamp", "mles", "http"])
        equal(server.listener("wss")["tls"], True)
        holds(not list(server.folder.glob("*.new")), "nothing is left beside it")


def the_table_tells_what_listens_where():
    with Server() as server:
        log = server.log()
        holds(f"mqtt       127.0.0.1:{server.port('mqtt')}" in log, log)
        holds("listens on" in log, log)


def localhost_is_both_loopback_addresses_with_one_port():
    listeners = [{**MQTT[0], "address": "localhost"}]
    with Server(config=_small(listeners=listeners)) as server:
        addresses = {listener["address"] for listener in server.listeners}
        ports = {listener["port"] for listener in server.listeners}
        holds("127.0.0.1" in addresses, str(addresses))
        equal(len(ports), 1)


def a_unix_socket_is_listened_on_with_its_rights():
    listeners = [{"name": "u", "unix": "run.sock", "unix_mode": "0600", "protocols": "redis"}]
    with Server(config=_small(listeners=listeners)) as server:
        path = server.folder / "run.sock"
        equal(server.listener("u")["unix"], str(path))
        equal(stat.S_IMODE(path.stat().st_mode), 0o600)
        with Raw(None, unix=path) as raw:
            raw.send("PING\r\n").expect("+PONG\r\n")
        server.stop()
        holds(not path.exists(), "the socket's file is gone")


def a_configured_port_in_use_is_one_line_and_exit_code_2():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _refused(_small(listeners=[{**MQTT[0], "port": port}]), "listener m", str(port), "in use")


def one_port_in_use_among_several_leaves_nothing_half_started():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _refused(_small(listeners=[MQTT[0], {**MQTT[0], "name": "n", "port": port}]), "listener n")


def an_admin_port_in_use_is_exit_code_2_if_it_was_configured():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _refused({"listeners": MQTT, "admin": {"address": "127.0.0.1", "port": port}},
                 "listener admin", str(port))


def a_default_port_in_use_is_skipped_and_its_warning_is_the_first_line():
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 1883))
            taken.listen()
        except OSError:
            pass  # Then somebody else has it, which is as good.
        server = Server(config="")
        try:
            server.spawn()
            poll(lambda: "started" in server.log() or server.process.poll() is not None, "start")
            if "every default port is in use" in server.log():
                raise Skip("other servers have all default ports")
            poll(server.ports_file.exists, "for the ports file")
            server.listeners = json.loads(server.ports_file.read_text())
            first = server.log().splitlines()[0]
            holds(first.startswith("warning: port ") and "is in use" in first, first)
            holds("warning: port 1883 is in use: no listener mqtt" in server.log(), server.log())
            holds("mqtt" not in {listener["name"] for listener in server.listeners}, "no mqtt")
            server.stop()
        finally:
            server.remove()


def an_unreadable_certificate_is_one_line_and_exit_code_2():
    tls = {"certificate": "/nowhere/cert.pem", "key": "/nowhere/key.pem"}
    _refused(_small(tls=tls, listeners=[{**MQTT[0], "tls": "on"}]), "/nowhere/cert.pem")


def a_file_that_is_no_certificate_is_one_line_and_exit_code_2():
    _refused(_small(tls={"certificate": "c.pem", "key": "c.pem"},
                    listeners=[{**MQTT[0], "tls": "on"}]), "c.pem", files={"c.pem": "hello"})


def a_bad_configuration_is_one_line_with_file_and_line_and_exit_code_2():
    _refused("admin: {enabled: false}\nlisteners:\n- name: m\n  prot: mqtt\n",
             "parley.yaml:4: listeners[0].prot: unknown key")
    _refused("limits:\n  payload: much\n", "parley.yaml:2: limits.payload: expected a size")
    _refused("limits: [", "not YAML")
    _refused(_small(), "--set: limits.payload", arguments=["--set", "limits.payload=much"])


def bad_users_and_keys_are_one_line_and_exit_code_2():
    _refused(_small(auth={"users": "users"}), "users:1", files={"users": "bob nonsense\n"})
    _refused(_small(auth={"users": "users"}), "users")
    _refused(_small(auth={"jwt": {"keys": [{"file": "nothing.pem"}]}}), "nothing.pem")


def reaching_out_without_logins_is_refused_unless_it_is_asked_for():
    listeners = [{**MQTT[0], "address": "0.0.0.0"}]
    _refused(_small(listeners=listeners), "0.0.0.0 is not loopback", "anonymous: true")
    listeners[0]["anonymous"] = True
    with Server(config=_small(listeners=listeners)) as server:
        equal(len([line for line in server.log().splitlines() if "open_to_everyone" in line]), 1)


def a_ports_file_that_cannot_be_written_ends_the_start():
    server = Server(config=_small())
    server.ports_file = server.folder / "nowhere" / "ports.json"
    try:
        server.spawn()
        equal(server.wait(), 2)
        holds("nowhere/ports.json" in server.log().splitlines()[-1], server.log())
    finally:
        server.remove()


def wrong_usage_is_exit_code_2():
    for arguments in (["serve", "--nonsense"], ["serve", "a", "b"], ["nonsense"], [], ["check"]):
        process = subprocess.run([_binary(), *arguments], capture_output=True, text=True)
        equal(process.returncode, 2, str(arguments))
        holds(process.stderr, f"{arguments} says why")


def _binary():
    return os.environ.get("PARLEY_BIN", str(ROOT / "build" / "asan" / "parley"))


def _output(*arguments):
    return subprocess.run([_binary(), *arguments], capture_output=True, text=True, check=True).stdout


def help_and_version_are_told():
    equal(_output("--version"), "parley 0.1.0\n")
    for command in ("serve", "check", "completion"):
        holds(command in _output("--help"), command)
        holds(_output(command, "--help").startswith("Usage: parley " + command), command)
        equal(_output("help", command), _output(command, "--help"))


def check_tells_without_starting():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "parley.yaml"
        file.write_text("limits: {payload: 1K}\n")
        equal(_output("check", str(file)), f"{file} is fine\n")
        file.write_text("auth: {users: nobody}\n")
        process = subprocess.run([_binary(), "check", str(file)], capture_output=True, text=True)
        equal(process.returncode, 2)
        holds(f"{folder}/nobody" in process.stderr, process.stderr)
        file.write_text(_output("check", "--defaults"))
        equal(_output("check", str(file)), f"{file} is fine\n")


def the_sample_configuration_is_fine():
    file = ROOT / "contrib" / "parley.yaml"
    equal(_output("check", str(file)), f"{file} is fine\n")


def the_reference_pages_are_true():
    for option, page in (("--print-reference", "config.md"), ("--print-metrics", "metrics.md")):
        text = (ROOT / "docs" / "reference" / page).read_text()
        holds(text == _output("check", option),
              f"docs/reference/{page} is old: parley check {option} > docs/reference/{page}")


def completion_scripts_are_valid():
    script = _output("completion", "bash")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    words = subprocess.run(
        ["bash", "-c", script + "\nCOMP_WORDS=(parley se) COMP_CWORD=1 _parley; "
         "COMP_CWORD=1; COMP_WORDS=(parley se); _parley; echo ${COMPREPLY[@]}"],
        capture_output=True, text=True, check=True).stdout
    equal(words, "serve\n")
    holds(_output("completion", "zsh").startswith("#compdef parley"), "zsh")


def a_certificate_is_made_at_the_first_start_and_kept():
    config = _small(listeners=[{**MQTT[0], "tls": "on"}])
    with tempfile.TemporaryDirectory() as data:
        made = []
        for _ in range(2):
            with Server(config=config, data=f"{data}/deep/down"):
                made.append((pathlib.Path(data) / "deep/down/tls/cert.pem").read_bytes())
        equal(made[0], made[1])
        key = pathlib.Path(data) / "deep/down/tls/key.pem"
        equal(stat.S_IMODE(key.stat().st_mode), 0o600)


def variables_and_arguments_change_the_configuration():
    with Server(config=_small(), env={"PARLEY_LOG_LEVEL": "debug", "PARLEY_LOK": "1"},
                arguments=["--set", "listeners.m.name=x"]) as server:
        server.port("x")
        holds("unknown_variable name=PARLEY_LOK" in server.log(), server.log())


def systemd_is_told_of_start_reload_and_end():
    with tempfile.TemporaryDirectory() as folder, socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(15)
        with Server(config=_small(), env={"NOTIFY_SOCKET": f"{folder}/notify"}) as server:
            equal(notify.recv(200), b"READY=1")
            server.signal(signal.SIGHUP)
            holds(notify.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC="), "reloading")
            equal(notify.recv(200), b"READY=1")
            server.stop()
            equal(notify.recv(200), b"STOPPING=1")
