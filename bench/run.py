#!/usr/bin/python3
"""Measures Parley beside nats-server, mosquitto and redis-server, all from Debian, on loopback.

    bench/run.py [--repeat 5] [--only stream,idle] [--parley build/release/parley] [--out FILE]

Each row runs for every server in turn, several times, so that a drift of the machine hits all of
them; the table shows medians. The figure to compare is the server's CPU time per message: it survives
a busy machine. Every server runs on one core (taskset), the generator on another.
"""

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

# name, what is quoted, the generator's options, protocols; less is better, unless it is a rate
ROWS = [
    ("1 → 1, 16 B", "cpu_us", "--size 16", "nats redis mqtt"),
    ("1 → 1, 128 B", "cpu_us", "--size 128", "nats redis mqtt wamp"),
    ("1 → 100, 128 B", "cpu_us", "--subscribers 100 --window 256", "nats redis mqtt wamp"),
    ("1 → 1000, 128 B", "cpu_us", "--subscribers 1000 --window 64", "nats redis mqtt"),
    ("50 → 50 on 50 subjects, 128 B", "cpu_us",
     "--publishers 50 --subscribers 50 --subjects 50 --window 1024", "nats redis mqtt"),
    ("1 → 1, 16 KiB", "cpu_us", "--size 16384 --window 128", "nats redis mqtt"),
    ("1 → 50, 16 KiB", "cpu_us", "--size 16384 --subscribers 50 --window 16", "nats redis mqtt"),
    ("request-reply, 1 in flight", "cpu_us", "--mode request --window 1 --size 16",
     "nats mqtt"),
    ("request-reply, 64 in flight", "cpu_us", "--mode request --window 64 --size 16",
     "nats mqtt"),
    ("call, 1 in flight", "cpu_us", "--mode request --window 1 --size 16", "wamp-call"),
    ("call, 64 in flight", "cpu_us", "--mode request --window 64 --size 16", "wamp-call"),
    ("queue group of 4, 128 B", "cpu_us", "--queue --subscribers 4", "nats"),
    ("100k filters, per publish", "cpu_us_published",
     "--mode subscriptions --count 100000 --size 16", "nats mqtt"),
    ("100k filters, per SUBSCRIBE", "cpu_us_subscribe",
     "--mode subscriptions --count 100000 --size 16", "nats mqtt"),
    ("WebSocket 1 → 1, 128 B", "cpu_us", "--websocket", "nats mqtt wamp-json"),
    ("WebSocket 1 → 100, 128 B", "cpu_us", "--websocket --subscribers 100 --window 256",
     "nats mqtt wamp-json"),
    ("WebSocket call, 1 in flight", "cpu_us", "--mode request --window 1 --size 32 --websocket",
     "wamp-json-call"),
    ("WebSocket call, 64 in flight", "cpu_us", "--mode request --window 64 --size 32 --websocket",
     "wamp-json-call"),
    ("MQTT QoS 1, 1 → 1, 128 B", "cpu_us", "--qos 1 --window 1000", "mqtt mqtt-stored"),
    ("MQTT QoS 1, 1 → 1, 128 B, to a session that is kept", "cpu_us",
     "--qos 1 --window 1000 --keep", "mqtt-stored"),
    ("durable acknowledged publish, window 4096, 128 B, per second", "per_s",
     "--mode ack --qos 1 --window 4096", "durable"),
    ("durable acknowledged publish, window 4096, 128 B", "cpu_us",
     "--mode ack --qos 1 --window 4096", "durable"),
    ("durable acknowledged publish, window 1, per second", "per_s",
     "--mode ack --qos 1 --window 1", "durable"),
    ("bytes per idle connection", "bytes_per_connection", "--mode idle --count 10000",
     "nats redis mqtt"),
    ("connect with handshake", "cpu_us_connect", "--mode idle --count 10000", "nats redis mqtt"),
]
PEERS = {"nats": "nats-server", "mqtt": "mosquitto", "redis": "redis-server",
         "mqtt-stored": "mosquitto", "durable": "redis-server"}
# What the generator speaks to either, where the row's word does not say it. durable: QoS 1 to a
# durable history, beside XADD to redis-server with appendfsync always. mqtt-stored: with a store,
# beside mosquitto with persistence, which saves once in a while and not before it answers.
SPOKEN = {("durable", "parley"): "mqtt", ("durable", "peer"): "redis-xadd",
          ("mqtt-stored", "parley"): "mqtt", ("mqtt-stored", "peer"): "mqtt"}
STORED = ("durable", "mqtt-stored")
# RawSocket with MessagePack, and JSON over WebSocket. Debian has no WAMP router to compare with.
ALONE = ("wamp", "wamp-call", "wamp-json", "wamp-json-call")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with {process.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} does not listen")


def pinned(core, args):
    """What stands before a command that runs on a core of its own."""
    return [*(["chrt", "-f", "1"] if args.realtime else []), *(["taskset", "-c", core] if core else [])]


class Server:
    """One server on ports of its own, in a folder of its own, on one core."""

    def __init__(self, name, protocol, args):
        self.port, self.ws_port = free_port(), free_port()
        self.dir = tempfile.mkdtemp(prefix="parley-bench-")
        command = getattr(self, "start_" + name)(protocol, args)
        log = open(os.path.join(self.dir, "log"), "wb")
        self.process = subprocess.Popen(pinned(args.core, args) + command, stdout=log, stderr=log)
        wait_port(self.port, self.process)
        if protocol not in ("redis", "durable") or name == "parley":
            wait_port(self.ws_port, self.process)
        time.sleep(0.2)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start_parley(self, protocol, args):
        spoken = SPOKEN.get((protocol, "parley"), protocol.split("-")[0])
        browsers = "mles" if protocol == "mles" else "mqtt, nats, wamp"
        if protocol == "mles":
            spoken = "mqtt"  # Mles has no listener without WebSocket.
        stored = "store: {enabled: true}" if protocol in STORED else ""
        if protocol == "durable":
            stored += '\nhistory: [{subject: "load.>", durable: true}]'
        config = self.write("parley.yaml", f"""
threads: {args.threads}
{stored}
admin: {{enabled: false}}
listeners:
  - {{name: bench, address: 127.0.0.1, port: {self.port}, protocols: [{spoken}]}}
  - {{name: ws, address: 127.0.0.1, port: {self.ws_port}, protocols: [{browsers}], websocket: true}}
""")
        return [args.parley, "serve", "--config", config, "--data", self.dir]

    def start_peer(self, protocol, _args):
        if protocol == "nats":
            return ["nats-server", "-c", self.write("nats.conf", f"""
listen: 127.0.0.1:{self.port}
max_connections: 60000
websocket {{ listen: "127.0.0.1:{self.ws_port}", no_tls: true }}
""")]
        if protocol.startswith("mqtt"):
            return ["mosquitto", "-c", self.write("mosquitto.conf", f"""
listener {self.port} 127.0.0.1
allow_anonymous true
listener {self.ws_port} 127.0.0.1
protocol websockets
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
log_type error
persistence {str(protocol in STORED).lower()}
persistence_location {self.dir}/
autosave_interval 1
user {os.environ.get("USER", "root")}
""")]
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
                "--dir", self.dir, "--maxclients", "19000",
                "--client-output-buffer-limit", "pubsub 0 0 0",
                *(["--appendonly", "yes", "--appendfsync", "always"] if protocol in STORED else [])]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def measure(server, protocol, name, options, args):
    protocol = SPOKEN.get((protocol, name), protocol)
    port = server.ws_port if "--websocket" in options else server.port
    command = [args.load, "--protocol", protocol, "--port", str(port),
               "--pid", str(server.process.pid), "--seconds", str(args.seconds)] + options.split()
    command = pinned(args.load_core, args) + command
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout:
        print(f"  {protocol} {options}: {done.stderr.strip()}", file=sys.stderr)
        return {}
    return dict(pair.split("=", 1) for pair in done.stdout.split() if "=" in pair)


def run(args):
    rows = [r for r in ROWS if not args.only or any(o in r[0] + r[2] for o in args.only.split(","))]
    found = {}
    for repeat in range(args.repeat):
        for protocol in (*PEERS, *ALONE):
            for name in ("parley", "peer") if protocol in PEERS else ("parley",):
                seen = {}
                for row in rows:
                    if protocol not in row[3].split():
                        continue
                    if row[2] not in seen:
                        server = Server(name, protocol, args)
                        seen[row[2]] = measure(server, protocol, name, row[2], args)
                        server.stop()
                    result = seen[row[2]]
                    if row[1] in result:
                        found.setdefault((row[0], protocol, name), []).append(float(result[row[1]]))
                    if int(result.get("lost", 0)) or int(result.get("disorder", 0)):
                        print(f"  {name} {protocol} {row[0]}: lost={result['lost']} "
                              f"disorder={result['disorder']}", file=sys.stderr)
        print(f"run {repeat + 1} of {args.repeat} done", file=sys.stderr)
    return rows, found


def table(rows, found, args):
    lines = [f"Machine: {os.cpu_count()} × {cpu_name()}, Linux {platform.release()}; medians of "
             f"{args.repeat} runs; server CPU time in µs per delivered message unless the row says "
             "otherwise; ratio = peer / Parley, above 1 Parley is cheaper.", "",
             "| row | protocol | Parley | peer | ratio |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        for protocol in row[3].split():
            ours, theirs = (found.get((row[0], protocol, n)) for n in ("parley", "peer"))
            if ours and protocol in ALONE:
                lines.append(f"| {row[0]} | {protocol} | {statistics.median(ours):.3g} | | |")
            if not ours or not theirs:
                continue
            a, b = statistics.median(ours), statistics.median(theirs)
            ratio = (a, b) if row[1] == "per_s" else (b, a)
            lines.append(f"| {row[0]} | {protocol} | {figure(a)} | {PEERS[protocol]} {figure(b)} | "
                         f"{ratio[0] / ratio[1] if ratio[1] else 0:.1f}× |")
    return "\n".join(lines) + "\n"


def figure(value):
    return f"{value:.0f}" if value >= 10000 else f"{value:.3g}"


def joins(args):
    """What members of a channel notice while others join it; not beside anyone."""
    found = {}
    for _ in range(args.repeat):
        server = Server("parley", "mles", args)
        command = [*pinned(args.load_core, args), args.join, "--port", str(server.ws_port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        server.stop()
        if done.returncode:
            print(f"  join: {done.stdout.strip()} {done.stderr.strip()}", file=sys.stderr)
        for pair in done.stdout.split():
            key, value = pair.split("=", 1)
            found.setdefault(key, []).append(float(value))
    middle = {key: statistics.median(values) for key, values in found.items()}
    if not middle:
        return ""
    return "\n".join([
        "Joining a channel with 200 frames of history, 1,000 times a second, while 10 members get "
        f"1,000 live frames a second; medians of {args.repeat} runs.", "",
        "| | p50, µs | p99, µs |", "| --- | --- | --- |",
        f"| live frame, nobody joins | {middle['alone_p50_us']:.0f} | {middle['alone_p99_us']:.0f} |",
        f"| live frame, {middle['joins_per_s']:.0f} joins a second | {middle['joined_p50_us']:.0f} | "
        f"{middle['joined_p99_us']:.0f} |",
        f"| join: connect, handshake, 200 frames | {middle['join_p50_us']:.0f} | "
        f"{middle['join_p99_us']:.0f} |"]) + "\n"


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def built(name, *sources):
    program = os.path.join(ROOT, "build", name)
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program] +
                   [os.path.join(HERE, "load", source) for source in sources], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parley", default=os.path.join(ROOT, "build/release/parley"))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="rows whose name or options hold one of these words")
    parser.add_argument("--core", default="0", help="of the server; empty: not pinned")
    parser.add_argument("--load-core", default="1", help="of the generator; empty: not pinned")
    parser.add_argument("--realtime", action="store_true",
                        help="before all other programs of a busy machine; for some seconds a row")
    parser.add_argument("--out", help="also write the table there")
    args = parser.parse_args()
    args.load = built("bench-load", "load.c", "wire.c", "wire_wamp.c")
    args.join = built("bench-join", "join.c", "wire.c")
    text = table(*run(args), args)
    if not args.only or "join" in args.only.split(","):
        text += "\n" + joins(args)
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
