#!/usr/bin/python3
"""Cashew's claim, measured: 50,000 live subscriptions and 5,000 publishes a second over WebSocket, each
connection with a JWT, one receiver per publish, one process.

    bench/capacity.py [--connections 10000] [--topics 5] [--rates 5000,20000] [--seconds 10]

The server runs examples/cashew/cashew.yaml on a free port, with one thread. It and the generator may
need more open files than a shell has: `ulimit -n`.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECRET = os.urandom(32).hex()


def token(claims):
    def encoded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = encoded(b'{"alg":"HS256","typ":"JWT"}') + b"." + encoded(json.dumps(claims).encode())
    return text + b"." + encoded(hmac.digest(SECRET.encode(), text, hashlib.sha256))


def pinned(core, args):
    return ([*(["chrt", "-r", "10"] if args.realtime else []),
             *(["taskset", "-c", core] if core else [])])


def built():
    program = ROOT / "build" / "bench-capacity"
    sources = [ROOT / "bench" / "load" / name for name in ("capacity.c", "wire.c")]
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-o", program, *sources],
                   check=True)
    return program


def measure(args, folder, rate):
    config = (ROOT / "examples/cashew/cashew.yaml").read_text(encoding="utf-8")
    config = re.sub(r"port: \d+", "port: 0", config)
    (folder / "cashew.yaml").write_text(f"threads: {args.threads}\nadmin: {{enabled: false}}\n{config}",
                                        encoding="utf-8")
    ports = folder / "ports.json"
    ports.unlink(missing_ok=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*pinned(args.core, args), args.parley, "serve", "--config", folder / "cashew.yaml", "--data", folder / "data",
             "--ports-file", ports], stdout=log, stderr=log,
            env={**os.environ, "JWT_SECRET": SECRET})
    try:
        for _ in range(200):
            if ports.exists() and ports.read_text():
                break
            if server.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.05)
        port = json.loads(ports.read_text())[0]["port"]
        done = subprocess.run(
            [*pinned(args.load_core, args), args.load, "--port", str(port), "--pid", str(server.pid), "--tokens",
             folder / "tokens", "--connections", str(args.connections), "--topics", str(args.topics),
             "--rate", str(rate), "--seconds", str(args.seconds)],
            capture_output=True, text=True, timeout=600, check=False)
        print(f"rate={rate} {done.stdout.strip()} {done.stderr.strip()}", flush=True)
        return done.returncode
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parley", default=str(ROOT / "build/release/parley"))
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--topics", type=int, default=5)
    parser.add_argument("--rates", default="5000")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--core", default="", help="of the server; empty: not pinned")
    parser.add_argument("--load-core", default="", help="of the generator; empty: not pinned")
    parser.add_argument("--realtime", action="store_true",
                        help="before all other programs of a busy machine; for some seconds")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    args.load = built()
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as name:
        folder = pathlib.Path(name)
        tokens = [token({"handler": {"name": "load"}})]
        tokens += [token({"user_id": number}) for number in range(args.connections)]
        (folder / "tokens").write_bytes(b"\n".join(tokens) + b"\n")
        failed = [measure(args, folder, int(rate)) for rate in args.rates.split(",")]
    return any(failed)


if __name__ == "__main__":
    sys.exit(main())
