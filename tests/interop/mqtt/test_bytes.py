"""The corners of MQTT, byte by byte, against the real process."""

from clients import Autobahn, MqttJs
from harness import Raw, Server, WebSocket, equal, holds
from packets import Mqtt, connect, connected, length, packet, take_packet


def each_version_is_welcomed_in_its_words(server):
    for version in (3, 4):
        with Mqtt(server, "mqtt") as raw:
            raw.say(connect("v", version)).hear("20 (00 00)")
    with Mqtt(server, "mqtt") as raw:
        raw.say(connect("v", 5)).hear("20 (00 00 (22 0020 27 00200000))")


def a_packet_may_come_byte_by_byte(server):
    with Mqtt(server, "mqtt") as raw:
        for byte in packet(connect("b", 4) + "82 (0001 <'bytes/#'> 00) 30 (<'bytes/1'> 'hi')"):
            raw.send(bytes([byte]))
        raw.hear("20 (00 00) 90 (0001 00) 30 (<'bytes/1'> 'hi')")


def what_follows_connect_need_not_wait(server):
    with Mqtt(server, "mqtt") as raw:
        raw.say(connect("w", 4) + "82 (0001 <'wait'> 01) 32 (<'wait'> 0005 'x') c0 00")
        got = {take_packet(raw) for _ in range(5)}
        equal(got, {(0x20, b"\0\0"), (0x90, b"\0\1\1"), (0x40, b"\0\5"), (0xD0, b""),
                    (0x32, b"\0\4wait\0\1x")})


def a_large_message_keeps_every_byte(server):
    data = bytes(range(256)) * 4000
    with connected(server, "l", 5) as raw:
        raw.say("82 (0001 00 <'large'> 01)").hear("90 (0001 00 01)")
        body = b"\0\5large\0\1\0" + data
        raw.send(b"\x32" + length(len(body)) + body)
        seen = {}
        for _ in range(2):
            first, got = take_packet(raw)
            seen[first] = got
        equal(seen[0x32], body)
        equal(seen[0x40], b"\0\1")


def nonsense_closes_only_its_own_connection(server):
    with connected(server, "good", 4) as good:
        good.say("82 (0001 <'good'> 00)").hear("90 (0001 00)")
        for bad in ("ff ff", "10 ff ff ff ff", "00 00", "10 (<'MQTX'> 04 02 0000 <'x'>)", "c0 00",
                    "10 (<'MQTT'> 04 03 0000 <'x'>)", "82 (0001 <'a'> 00)", "'GET / HTTP/1.1'"):
            with Mqtt(server, "mqtt") as raw:
                raw.say(bad).expect_close()
        good.say("30 (<'good'> '1')").hear("30 (<'good'> '1')")


def errors_of_version_5_are_named(server):
    cases = [
        ("10 (<'MQTT'> 05 02 0000 00 <'again'>)", 0x82),
        ("36 (<'a'> 0001 00)", 0x81),
        ("30 (<'a/#'> 00)", 0x90),
        ("30 (<> 00)", 0x82),
        ("30 (<'a'> (23 0000))", 0x94),
        ("30 (<'a'> (23 0021))", 0x94),
        ("30 (<'a'> (01 01) ff)", 0x99),
        ("30 80 80 80 02", 0x95),
        ("82 (0000 00 <'a'> 00)", 0x82),
        ("82 (0001 00 <'$share/g/a'> 04)", 0x82),
        ("f0 (18 (15 <'m'>))", 0x82),
        ("e0 (00 (11 00000001))", 0x82),
    ]
    for text, reason in cases:
        with connected(server, "errors", 5) as raw:
            raw.say(text)
            first, body = take_packet(raw)
            equal((first, body[0]), (0xE0, reason), text)
            raw.expect_close()


def enhanced_authentication_is_refused_by_its_name(server):
    with Mqtt(server, "mqtt") as raw:
        raw.say(connect("auth", 5, properties="15 <'SCRAM-SHA-1'> 16 <'x'>"))
        first, body = take_packet(raw)
        equal((first, body[:2]), (0x20, b"\0\x8c"))
        raw.expect_close()


def a_second_connection_takes_the_first_ones_session(server):
    old = connected(server, "takeover", 5, clean=False, properties="11 00000064")
    old.say("82 (0001 00 <'take/+'> 02)").hear("90 (0001 00 02)")
    with connected(server, "publisher", 4) as publisher:
        publisher.say("34 (<'take/1'> 0001 '1')").hear("50 (0001)")
        old.hear("34 (<'take/1'> 0001 00 '1')")
        old.say("50 (0001)").hear("62 (0001)")
        publisher.say("32 (<'take/1'> 0002 '2')").hear("40 (0002)")
        old.hear("32 (<'take/1'> 0002 00 '2')")
        new = connected(
            server, "takeover", 5, clean=False, present=True, properties="11 00000064")
        first, body = take_packet(old)
        equal((first, body[0]), (0xE0, 0x8E))
        old.expect_close()
        # What was open goes on where it stood.
        new.hear("62 (0001) 3a (<'take/1'> 0002 00 '2')")
        publisher.say("32 (<'take/1'> 0003 '3')").hear("40 (0003)")
        new.hear("32 (<'take/1'> 0003 00 '3')")
        new.say("70 (0001) 40 (0002) 40 (0003) c0 00").hear("d0 00")
        new.close()
    last = connected(server, "takeover", 4, clean=False, present=True)
    last.say("c0 00").hear("d0 00")
    last.say("e0 00").expect_close()
    old.close()


def a_will_follows_a_lost_connection(server):
    will = "10 (<'MQTT'> 05 0e 0000 (11 0000000a) <'dying'> (03 <'text/plain'>) <'will'> <'gone'>)"
    with connected(server, "heir", 5) as heir:
        heir.say("82 (0001 00 <'will'> 01)").hear("90 (0001 00 01)")
        for goodbye, expected in (("", True), ("e0 00", False), ("e0 (04)", True)):
            with Mqtt(server, "mqtt") as dying:
                dying.say(will)
                take_packet(dying)
                if goodbye:
                    dying.say(goodbye).expect_close()
            if expected:
                first, body = take_packet(heir)
                equal((first, body[:6], body[8:]),
                      (0x32, b"\0\4will", packet("(03 <'text/plain'>) 'gone'")))
                heir.send(b"\x40\x02" + body[6:8])
            heir.say("c0 00").hear("d0 00")


def keep_alive_ends_a_silent_connection(server):
    with connected(server, "silent", 5, keep_alive=1) as raw:
        first, body = take_packet(raw)
        equal((first, body[0]), (0xE0, 0x8D))
        raw.expect_close()


def a_websocket_carries_packets_across_its_frames(server):
    data = packet(connect("ws", 4) + "82 (0001 <'ws'> 00) 30 (<'ws'> 'hi')")
    for protocol in ("mqtt", "mqttv3.1"):
        with WebSocket(server, "shared", path="/mqtt", protocol=protocol) as raw:
            equal(raw.status, 101)
            for at in range(0, len(data), 5):
                raw.send_frame(2, data[at:at + 5])
            got = b""
            while len(got) < len(packet("20 (00 00) 90 (0001 00) 30 (<'ws'> 'hi')")):
                first, payload = raw.take_frame()
                equal(first, 0x82)
                got += payload
            equal(got, packet("20 (00 00) 90 (0001 00) 30 (<'ws'> 'hi')"))


def names_come_back_as_they_were_and_wildcards_are_mqtts_own(server):
    with connected(server, "names", 4) as raw:
        raw.say("82 (0001 <'n/#'> 00)").hear("90 (0001 00)")
        for name in ("n/a.b/c", "n/*", "n/>", "n//", "n/%41", "n/%2B", "n/é", "n/$x", "n/ space"):
            raw.say(f"30 (<'{name}'> '1')").hear(f"30 (<'{name}'> '1')")
        raw.say("82 (0002 <'m/*'> 00)").hear("90 (0002 00)")
        raw.say("30 (<'m/b'> 'no') 30 (<'m/*'> 'yes')").hear("30 (<'m/*'> 'yes')")


def the_broker_tells_of_itself_under_sys(server):
    with connected(server, "sys", 4) as raw:
        raw.say("82 (0001 <'#'> 00 <'$SYS/broker/version'> 00)").hear("90 (0001 00 00)")
        first, body = take_packet(raw)
        equal((first, body[:21]), (0x31, b"\0\x13$SYS/broker/version"))
        holds(len(body) > 21, "a version")
        raw.say("30 (<'$SYS/broker/version'> 'mine')")  # dropped
        raw.say("c0 00").hear("d0 00")


def qos_2_is_delivered_once_through_every_loss(server):
    with connected(server, "once-sub", 4) as sub:
        sub.say("82 (0001 <'once'> 00)").hear("90 (0001 00)")
        first = connected(server, "once", 4, clean=False)
        first.say("34 (<'once'> 0009 '1')").hear("50 (0009)")
        first.reset()
        second = connected(server, "once", 4, clean=False, present=True)
        second.say("3c (<'once'> 0009 '1')").hear("50 (0009)")
        second.say("62 (0009)").hear("70 (0009)")
        second.reset()
        third = connected(server, "once", 4, clean=False, present=True)
        third.say("62 (0009)").hear("70 (0009)")
        third.say("34 (<'once'> 0009 '2')").hear("50 (0009)")
        sub.hear("30 (<'once'> '1') 30 (<'once'> '2')")
        third.say("e0 00").expect_close()
    with connected(server, "once", 4):
        pass


def nobody_there_is_told_to_a_version_5_publisher(server):
    with connected(server, "alone", 5) as raw:
        raw.say("32 (<'nobody/at/all'> 0001 00)").hear("40 (0001 10)")
        raw.say("34 (<'nobody/at/all'> 0002 00)").hear("50 (0002 10)")
        raw.say("62 (0002)").hear("70 (0002)")


def drain_says_goodbye():
    with Server() as server:
        five, four = connected(server, "five", 5), connected(server, "four", 4)
        server.signal(15)
        first, body = take_packet(five)
        equal((first, body[0]), (0xE0, 0x8B))
        five.expect_close()
        four.expect_close()
        equal(server.wait(), 0)


def the_shared_port_waits_for_enough_to_tell(server):
    with Raw(server, "shared") as raw:
        data = packet(connect("slow", 4))
        for byte in data:
            raw.send(bytes([byte]))
        raw.expect(packet("20 (00 00)"))


def mqtt_js_and_a_raw_subscriber_see_the_same_properties(server):
    with connected(server, "raw", 5) as raw, \
            MqttJs(server.url("mqtt", "mqtt"), protocolVersion=5) as js:
        raw.say("82 (0001 00 <'props'> 00)").hear("90 (0001 00 00)")
        js.publish("props", "x", qos=0, properties={
            "contentType": "text/plain", "payloadFormatIndicator": True,
            "responseTopic": "back", "userProperties": {"a": "1"}})
        raw.hear("30 (<'props'> (01 01 03 <'text/plain'> 08 <'back'> 26 <'a'> <'1'>) 'x')")


def a_request_that_a_procedure_answers_has_found_somebody(server):
    with connected(server, "asker", 5) as raw, \
            Autobahn(server.url("ws", "shared")) as callee:
        callee.register("acknowledged.procedure")
        raw.say("82 (0001 00 <'answers'> 00)").hear("90 (0001 00 00)")
        raw.say("32 (<'nobody/there'> 0002 (08 <'answers'>) 'x')").hear("40 (0002 10)")
        raw.say("32 (<'acknowledged/procedure'> 0003 (08 <'answers'> 09 <'id'>) 'x')")
        raw.hear("40 (0003) 30 (<'answers'> (01 01 09 <'id'>) 'x')")
