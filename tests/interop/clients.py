"""Real clients behind one face, so that a test can combine any of them.

    with MqttJs(server.url("mqtt", "mqtt")) as device, Nats(server.url("nats", "nats")) as service:
        service.subscribe("plant.>")
        device.publish("plant/line1/temp", "21.5")
        service.expect("plant.line1.temp", "21.5")

subscribe returns when the server has answered it, publish when the client has done its part and, in
MQTT above QoS 0 and in NATS, the server too. What arrives stands in `messages` in order.
"""

import base64
import collections
import itertools
import json
import pathlib
import queue
import re
import subprocess
import threading

from harness import BUILD, TIMEOUT, Certificates, Failure, Process, as_bytes, locked

HERE = pathlib.Path(__file__).resolve().parent


class Message:
    """name and data in the client's own words; `fields` is what else the client told of it."""

    def __init__(self, name, data, **fields):
        self.name, self.data, self.fields = name, data, fields

    def __getattr__(self, key):
        try:
            return self.fields[key]
        except KeyError:
            raise AttributeError(key) from None

    def __repr__(self):
        return f"Message({self.name!r}, {self.data[:80]!r}, {self.fields})"


class Client:
    """What all have: messages that arrived, and the waits for them."""

    def __init__(self):
        self.messages = queue.Queue()

    def next(self, timeout=TIMEOUT):
        try:
            return self.messages.get(timeout=timeout)
        except queue.Empty:
            raise Failure(f"{self}: no message in {timeout:g} s") from None

    def expect(self, name, data, **fields):
        """The next message is this one, and has these fields; returns it."""
        message = self.next()
        if (message.name, message.data) != (name, as_bytes(data)):
            raise Failure(f"{self}: got {message}, expected {name!r}, {data!r}")
        for key, value in fields.items():
            if message.fields.get(key) != value:
                raise Failure(f"{self}: {key} is not {value!r} in {message}")
        return message

    def expect_none(self):
        """For use after another event told that nothing can come any more."""
        if not self.messages.empty():
            raise Failure(f"{self}: got {self.messages.get()}, expected nothing")

    def close(self):
        raise NotImplementedError

    def __str__(self):
        return type(self).__name__

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def node():
    """The machine's Node, or the one that the bootstrap brought where that is too old."""
    own = HERE / "runtime" / "node_modules" / ".bin" / "node"
    return str(own) if own.exists() else "node"


class NodeClient(Client):
    """A driver of tests/interop/node; its commands are methods through call. It trusts our servers'
    certificates."""

    def __init__(self, script, *arguments):
        super().__init__()
        self.process = Process([node(), HERE / "node" / script, *arguments],
                               env={"NODE_EXTRA_CA_CERTS": str(Certificates().ca)})
        self.events = collections.defaultdict(queue.Queue)
        self.answers = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                line = json.loads(self.process.lines.next(timeout=1e6))
            except Failure:
                break
            if "id" in line:
                self.answers.pop(line["id"]).put(line)
            elif line["event"] == "message":
                self.messages.put(self.message_of(line))
            else:
                self.events[line["event"]].put(line)
        self.ended = True
        for answer in list(self.answers.values()):
            answer.put({"error": f"the driver ended: {self.process.stderr()}", "code": None})

    def begin(self, verb, **fields):
        """Sends a command; the result is awaited by finish."""
        number = next(self.numbers)
        self.answers[number] = answer = queue.Queue()
        if self.ended:
            raise Failure(f"{self}: the driver has ended: {self.process.stderr()}")
        self.process.send(json.dumps({"id": number, "do": verb, **fields}))
        return answer

    def finish(self, answer, timeout=TIMEOUT * 4):
        try:
            line = answer.get(timeout=timeout)
        except queue.Empty:
            raise Failure(f"{self}: no answer in {timeout:g} s; {self.process.stderr()}") from None
        if "error" in line:
            raise Refused(line["error"], line.get("code"))
        return line["ok"]

    def call(self, verb, **fields):
        return self.finish(self.begin(verb, **fields))

    def event(self, name, timeout=TIMEOUT):
        """Waits for an event other than a message: closed, error, disconnect, status, refused."""
        try:
            return self.events[name].get(timeout=timeout)
        except queue.Empty:
            raise Failure(f"{self}: no event {name!r} in {timeout:g} s") from None

    def close(self):
        self.process.close()


class Refused(Failure):
    """The client library reported an error; code is its own."""

    def __init__(self, text, code):
        super().__init__(f"{text} ({code})")
        self.text, self.code = text, code


def encoded(data):
    return base64.b64encode(as_bytes(data)).decode()


def decoded(data):
    return base64.b64decode(data)


class MqttJs(NodeClient):
    """mqtt.js. options are its own: protocolVersion=5, clientId, clean, will, username …"""

    def __init__(self, url, *, connect=True, **options):
        super().__init__("mqtt.mjs")
        if connect:
            try:
                self.connack = self.call("connect", url=url, **options)["connack"]
            except BaseException:
                self.close()
                raise

    @staticmethod
    def message_of(line):
        line.pop("event")
        return Message(line.pop("topic"), decoded(line.pop("data")), **line)

    def subscribe(self, topic, qos=0, **options):
        return self.call("subscribe", topic=topic, qos=qos, **options)["granted"]

    def unsubscribe(self, topic):
        self.call("unsubscribe", topic=topic)

    def publish(self, topic, data, qos=1, **options):
        return self.call("publish", topic=topic, data=encoded(data), qos=qos, **options)

    def publish_many(self, topic, count, prefix="", qos=1, **options):
        self.call("publishMany", topic=topic, count=count, prefix=prefix, qos=qos, **options)

    def respond(self, topic, prefix="", **options):
        return self.call("respond", topic=topic, prefix=prefix, **options)["granted"]

    def request(self, topic, data, response, **options):
        line = self.call("request", topic=topic, data=encoded(data), response=response, **options)
        return self.message_of({"event": None, **line["reply"]})

    def end(self, **options):
        """DISCONNECT, or without it if force=True."""
        self.call("close", **options)


class Nats(NodeClient):
    """nats.js over TCP or TLS; NatsWs is nats.ws. options are their own: user, pass, token, tls …"""

    arguments = ()

    def __init__(self, url, **options):
        super().__init__("nats.mjs", *self.arguments)
        try:
            self.info = self.call("connect", servers=url, **options)["info"]
        except BaseException:
            self.close()
            raise

    @staticmethod
    def message_of(line):
        line.pop("event")
        return Message(line.pop("subject"), decoded(line.pop("data")), **line)

    def subscribe(self, subject, **options):
        return self.call("subscribe", subject=subject, **options)["subscription"]

    def unsubscribe(self, subscription, max=None):
        self.call("unsubscribe", subscription=subscription, max=max)

    def publish(self, subject, data, **options):
        self.call("publish", subject=subject, data=encoded(data), **options)

    def publish_many(self, subject, count, prefix=""):
        self.call("publishMany", subject=subject, count=count, prefix=prefix)

    def respond(self, subject, prefix="", **options):
        return self.call("respond", subject=subject, prefix=prefix, **options)["subscription"]

    def service(self, name, subject, code=0, description=""):
        """One of nats.js' services, which answers with what it is asked, or with an error."""
        self.call("service", name=name, subject=subject, code=code, description=description)

    def request(self, subject, data, **options):
        line = self.call("request", subject=subject, data=encoded(data), **options)
        return self.message_of({"event": None, **line["reply"]})


class NatsWs(Nats):
    arguments = ("ws",)


def _inward(value):
    """The driver's {"base64": …} are bytes here; outward is the other way."""
    if isinstance(value, dict):
        if set(value) == {"base64"}:
            return decoded(value["base64"])
        return {key: _inward(item) for key, item in value.items()}
    return [_inward(item) for item in value] if isinstance(value, list) else value


def _outward(value):
    if isinstance(value, bytes):
        return {"base64": encoded(value)}
    if isinstance(value, dict):
        return {key: _outward(item) for key, item in value.items()}
    return [_outward(item) for item in value] if isinstance(value, (list, tuple)) else value


class Autobahn(NodeClient):
    """autobahn-js over WebSocket, in one of its serializers; a message's data is its arguments, its
    kwargs stand in fields."""

    def __init__(self, url, serializer="json", **options):
        super().__init__("wamp.mjs")
        try:
            self.session = self.call("connect", url=url, serializer=serializer, **options)["session"]
        except BaseException:
            self.close()
            raise

    @staticmethod
    def message_of(line):
        line.pop("event")
        return Message(line.pop("topic"), _inward(line.pop("args")),
                       kwargs=_inward(line.pop("kwargs")), **line)

    def expect(self, name, data, **fields):
        message = self.next()
        if (message.name, message.data) != (name, data):
            raise Failure(f"{self}: got {message}, expected {name!r}, {data!r}")
        for key, value in fields.items():
            if message.fields.get(key) != value:
                raise Failure(f"{self}: {key} is not {value!r} in {message}")
        return message

    def subscribe(self, topic, **options):
        self.call("subscribe", topic=topic, options=options)

    def publish(self, topic, *args, options=None, **kwargs):
        self.call("publish", topic=topic, args=_outward(args), kwargs=_outward(kwargs),
                  options=options or {})

    def register(self, procedure, kind="echo", options=None, **answer):
        """kind: echo, error (uri=), silent, progress (parts=)."""
        self.call("register", procedure=procedure, answer={"kind": kind, **answer},
                  options=options or {})

    def ask(self, procedure, *args, options=None, **kwargs):
        """{args, kwargs, parts}; Refused has the error's URI as text, its arguments as code."""
        return _inward(self.call("call", procedure=procedure, args=_outward(args),
                                 kwargs=_outward(kwargs), options=options or {}))


class Mles(NodeClient):
    """A member of an Mles channel: Mles(url, "alice", "room"). Frames have the name of the channel, and
    `text`. header: another first frame, as text; "": one that is empty, None: the one of uid and
    channel; options are those of ws."""

    def __init__(self, url, uid, channel, *, header=None, auth=None, more=(), silent=False, **options):
        super().__init__("mles.mjs")
        self.uid, self.channel = uid, channel
        members = {"uid": uid, "channel": channel, **({"auth": auth} if auth is not None else {})}
        self.header = json.dumps(members) if header is None else header
        try:
            self.terms = self.call("connect", url=url, header=None if silent else self.header,
                                   more=list(more), options=options)
        except BaseException:
            self.close()
            raise

    def message_of(self, line):
        return Message(self.channel, decoded(line["data"]), text=line["text"])

    def say(self, data):
        """str: a text frame, bytes: a binary one."""
        self.call("send", data=encoded(data), text=isinstance(data, str))

    def hears(self, *frames):
        """These come next, of these types."""
        for frame in frames:
            self.expect(self.channel, frame, text=isinstance(frame, str))

    def closed(self):
        """(code, reason) of the server's close."""
        event = self.event("closed")
        return event["code"], event["reason"]


class IoRedis(NodeClient):
    """ioredis; address is (host, port). options are its own: username, password, db, ca …"""

    def __init__(self, address, **options):
        super().__init__("redis.mjs")
        try:
            self.call("connect", host=address[0], port=address[1], **options)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def message_of(line):
        line.pop("event")
        return Message(line.pop("channel"), decoded(line.pop("data")), **line)

    def subscribe(self, *channels):
        return self.call("subscribe", channels=channels)["count"]

    def psubscribe(self, *patterns):
        return self.call("psubscribe", patterns=patterns)["count"]

    def ssubscribe(self, *channels):
        return self.call("ssubscribe", channels=channels)["count"]

    def unsubscribe(self, *channels):
        return self.call("unsubscribe", channels=channels)["count"]

    def punsubscribe(self, *patterns):
        return self.call("punsubscribe", patterns=patterns)["count"]

    def publish(self, channel, data):
        """The count of receivers."""
        return self.call("publish", channel=channel, data=encoded(data))["receivers"]

    def publish_many(self, channel, count, prefix=""):
        self.call("publishMany", channel=channel, count=count, prefix=prefix)

    def command(self, *words):
        return self.call("call", words=words)["answer"]


def mosquitto_arguments(address, ca=None):
    arguments = ["-h", address[0], "-p", address[1]]
    return [*arguments, "--cafile", ca] if ca else arguments


class MosquittoSub(Client):
    """mosquitto_sub; returns from the constructor when it has its SUBACKs."""

    def __init__(self, address, *topics, qos=0, ca=None, arguments=()):
        super().__init__()
        words = [word for topic in topics for word in ("-t", topic)]
        # Debug lines tell of the SUBACK; %x is the payload in hex.
        self.process = Process(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", *mosquitto_arguments(address, ca),
             "-q", qos, "-F", "message %r %q %x %t", *words, *arguments])
        try:
            self.process.lines.until(rb"^Subscribed ")
        except Failure as failure:
            errors = self.process.stderr()
            self.process.close()
            raise Failure(f"mosquitto_sub: {failure}; {errors}") from None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                line = self.process.lines.next(timeout=1e6)
            except Failure:
                return
            match = re.match(rb"message (\d) (\d) ([0-9a-fA-F]*) (.*)", line)
            if match:
                retain, qos, data, topic = match.groups()
                self.messages.put(Message(topic.decode(), bytes.fromhex(data.decode()),
                                          retain=retain == b"1", qos=int(qos)))

    def close(self):
        self.process.process.terminate()
        self.process.close()


def run(command, data=b"", timeout=TIMEOUT):
    """Runs a command to its end; its stdout. Fails if the exit code is not 0."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, input=as_bytes(data), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{command} did not end in {timeout:g} s") from None
    if done.returncode != 0:
        raise Failure(f"{command} ended with {done.returncode}: "
                      f"{(done.stdout + done.stderr).decode(errors='replace')}")
    return done.stdout


def mosquitto_pub(address, topic, data, *, qos=0, retain=False, ca=None, arguments=()):
    run(["mosquitto_pub", *mosquitto_arguments(address, ca), "-t", topic, "-q", qos, "-s",
         *(["-r"] if retain else []), *arguments], data)


def redis_cli(address, *words, arguments=()):
    """The answer as redis-cli prints it, without the last newline."""
    return run(["redis-cli", "-h", address[0], "-p", address[1], *arguments,
                *words]).decode().rstrip("\n")


class RedisCliSubscribe(Client):
    """redis-cli subscribe or psubscribe; returns from the constructor when it is answered."""

    def __init__(self, address, *words, arguments=()):
        super().__init__()
        self.process = Process(["redis-cli", "-h", address[0], "-p", address[1], *arguments, *words])
        for _ in words[1:]:
            for _ in range(3):
                self.process.lines.next()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                kind = self.process.lines.next(timeout=1e6)
                if kind == b"pmessage":
                    self.process.lines.next()
                if kind in (b"message", b"pmessage"):
                    channel = self.process.lines.next().decode()
                    self.messages.put(Message(channel, self.process.lines.next()))
        except Failure:
            return

    def close(self):
        self.process.process.terminate()
        self.process.close()


class CClient(Client):
    """A client in C of tests/interop/clients, built here at its first use."""

    library = None

    def __init__(self):
        super().__init__()
        self.process = Process([self._built()])
        self.answers = queue.Queue()
        self.replies = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _built(self):
        source = HERE / "clients" / f"lib{self.library}.c"
        program = BUILD / f"lib{self.library}"
        with locked(program.name):
            newest = max(source.stat().st_mtime, (HERE / "clients" / "lines.h").stat().st_mtime)
            if not program.exists() or program.stat().st_mtime < newest:
                run(["cc", "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-o",
                     program, source, f"-l{self.library}", "-pthread"], timeout=120)
        return program

    def _read(self):
        while True:
            try:
                words = self.process.lines.next(timeout=1e6).decode().split(" ")
            except Failure:
                self.answers.put("error the client ended: " + self.process.stderr())
                return
            if words[0] == "message":
                name, reply, data = (bytes.fromhex(word.strip("-")) for word in words[1:4])
                message = Message(name.decode(), data, reply=reply.decode() or None,
                                  more=words[4:])
                (self.replies if words[4:] == ["reply"] else self.messages).put(message)
            else:
                self.answers.put(" ".join(words))

    def command(self, verb, *words):
        self.process.send(" ".join([verb, *(as_bytes(word).hex() or "-" for word in words)]))
        try:
            answer = self.answers.get(timeout=TIMEOUT)
        except queue.Empty:
            raise Failure(f"{self}: no answer to {verb} {words}") from None
        if answer != "ok":
            raise Refused(answer, None)

    def close(self):
        self.process.close()


class LibNats(CClient):
    library = "nats"

    def __init__(self, url, *login):
        super().__init__()
        self.command("connect", url, *login)

    def subscribe(self, subject, queue=""):
        self.command("subscribe", subject, queue)

    def respond(self, subject, prefix="", queue=""):
        self.command("respond", subject, queue, prefix)

    def publish(self, subject, data, reply=""):
        self.command("publish", subject, data, reply)

    def request(self, subject, data):
        self.command("request", subject, data)
        return self.replies.get(timeout=TIMEOUT)


class LibHiredis(CClient):
    """hiredis; publish and pipeline give the sum of the receivers."""

    library = "hiredis"

    def __init__(self, address, *login):
        super().__init__()
        self.command("connect", address[0], str(address[1]), *login)

    def subscribe(self, channel):
        self.command("subscribe", channel)

    def psubscribe(self, pattern):
        self.command("psubscribe", pattern)

    def publish(self, channel, data):
        self.command("publish", channel, data)
        return int(self.replies.get(timeout=TIMEOUT).data)

    def pipeline(self, channel, count):
        self.command("pipeline", channel, str(count))
        return int(self.replies.get(timeout=TIMEOUT).data)


class LibMosquitto(CClient):
    library = "mosquitto"

    def __init__(self, address, client="", version=4):
        super().__init__()
        self.command("connect", address[0], str(address[1]), client, str(version))

    def subscribe(self, topic, qos=0):
        self.command("subscribe", topic, str(qos))

    def publish(self, topic, data, qos=1, retain=False):
        self.command("publish", topic, data, str(qos), str(int(retain)))


class Paho(Client):
    """paho-mqtt in this process. options: client_id, protocol, userdata … of mqtt.Client."""

    def __init__(self, address, *, username=None, password=None, ca=None, properties=None,
                 clean_start=True, keepalive=60, setup=None, **options):
        super().__init__()
        import paho.mqtt.client as paho
        self.client = paho.Client(**options)
        self.acknowledged = queue.Queue()
        self.connected = queue.Queue()
        self.disconnected = queue.Queue()
        self.client.on_connect = lambda c, u, flags, code, *more: self.connected.put(
            (int(getattr(code, "value", code)), flags, *more))
        self.client.on_disconnect = lambda c, u, code, *more: self.disconnected.put(
            int(getattr(code, "value", code)))
        self.client.on_subscribe = lambda c, u, mid, granted, *more: self.acknowledged.put(granted)
        self.client.on_unsubscribe = lambda c, u, mid, *more: self.acknowledged.put(mid)
        self.client.on_message = lambda c, u, m: self.messages.put(
            Message(m.topic, m.payload, qos=m.qos, retain=bool(m.retain),
                    properties=getattr(m, "properties", None)))
        if username is not None:
            self.client.username_pw_set(username, password)
        if ca:
            self.client.tls_set(str(ca))
        if setup:
            setup(self.client)
        more = {}
        if options.get("protocol") == paho.MQTTv5:
            more = {"clean_start": clean_start, "properties": properties}
        self.client.connect(address[0], address[1], keepalive, **more)
        self.client.loop_start()
        try:
            self.connack = self.connected.get(timeout=TIMEOUT)
        except queue.Empty:
            self.close()
            raise Failure("paho: no CONNACK") from None
        if self.connack[0] != 0:
            self.client.loop_stop()
            raise Refused(f"paho: CONNACK {self.connack}", self.connack[0])

    def subscribe(self, topic, qos=0, **options):
        self.client.subscribe(topic, qos, **options)
        return self.acknowledged.get(timeout=TIMEOUT)

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        return self.acknowledged.get(timeout=TIMEOUT)

    def publish(self, topic, data, qos=1, retain=False, properties=None):
        info = self.client.publish(topic, as_bytes(data), qos, retain, properties)
        info.wait_for_publish(TIMEOUT)
        return info

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
