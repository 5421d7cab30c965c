"""What is configured, and what real clients do not do: message by message."""

from harness import Server, equal, holds
from raw_session import FEATURES, RawSocket

CONFIG = {"wamp": {"meta_kill": True, "meta_modify": True, "nexus_history": True},
          "history": [{"subject": "kept.>", "limit": 5}]}


def a_strict_uri_has_small_letters_digits_and_underscores():
    with Server(wamp={"strict_uri": True}) as server, RawSocket(server) as a:
        for kind, options in ((32, {}), (64, {}), (48, {}), (16, {"acknowledge": True})):
            equal(a.refused(kind, options, "com.Example.x"), "wamp.error.invalid_uri")
        a.subscribe("com.example.x_1")


def strict_ids_count_from_one():
    with Server(wamp={"strict_ids": True}) as server:
        with RawSocket(server) as a:
            a.subscribe("ids.x")
            a.publish("ids.x", 1)
            a.say([16, 9, {}, "ids.x"])
            equal(a.hear()[2], "wamp.error.protocol_violation")
        with RawSocket(server) as a:
            a.say([16, 0, {}, "ids.x"])
            equal(a.hear()[2], "wamp.error.protocol_violation")


def what_is_not_to_be_disclosed_is_refused():
    with Server(wamp={"disclose": False}) as server, RawSocket(server) as a:
        for kind, options in ((16, {"acknowledge": True, "disclose_me": True}), (48, {"disclose_me": True}),
                              (64, {"disclose_caller": True})):
            equal(a.refused(kind, options, "a.b"), "wamp.error.option_disallowed.disclose_me")


def strict_features_keep_progress_from_who_did_not_announce_all():
    callee = {**FEATURES["callee"]["features"], "call_canceling": False}
    with Server(wamp={"strict_features": True}) as server, \
            RawSocket(server, roles={"callee": {"features": callee}}) as a, \
            RawSocket(server, roles=FEATURES) as b:
        a.register("strict.x")
        b.say([48, 1, {"receive_progress": True}, "strict.x"])
        equal(a.hear()[3].get("receive_progress"), None)


def an_integral_float_is_an_id(server):
    with RawSocket(server) as a, RawSocket(server) as b:
        a.subscribe("floats.x")
        b.begin(16, {"eligible": [float(a.id)], "acknowledge": True}, "floats.x", ["for a"])
        equal(b.hear()[0], 17)
        equal(a.hear()[4], ["for a"])
        equal(a.call("wamp.session.get", float(b.id))[0]["session"], b.id)


def invocations_count_from_one_in_each_callee(server):
    with RawSocket(server) as a, RawSocket(server) as b, RawSocket(server) as c:
        for callee in (a, b):
            callee.register(f"count.{callee.id}")
            for expected in (1, 2):
                c.begin(48, {}, f"count.{callee.id}")
                invocation = callee.hear()
                equal(invocation[1], expected)
                callee.say([70, invocation[1], {}])
                equal(c.hear()[0], 50)


def ids_of_others_are_not_there(server):
    with RawSocket(server) as a, RawSocket(server) as b:
        registration, subscription = a.register("others.p"), a.subscribe("others.t")
        equal(b.refused(66, registration), "wamp.error.no_such_registration")
        equal(b.refused(34, subscription), "wamp.error.no_such_subscription")
        a.ask(66, registration)
        a.ask(34, subscription)


def receivers_are_chosen_by_any_detail_of_their_hello(server):
    with RawSocket(server, xgroup="red") as a, RawSocket(server, xgroup="blue") as b, RawSocket(server) as c:
        for peer in (a, b):
            peer.subscribe("details.x")
        c.publish("details.x", 1, eligible_xgroup=["red"])
        c.publish("details.x", 2, exclude_xgroup=["red"])
        equal((a.hear()[4], b.hear()[4]), ([1], [2]))
        # And by what they are changed to.
        c.call("wamp.session.modify_details", b.id, {"xgroup": "red"})
        equal(c.call("wamp.session.get", b.id)[0]["xgroup"], "red")
        c.publish("details.x", 3, eligible_xgroup=["red"])
        equal((a.hear()[4], b.hear()[4]), ([3], [3]))


def a_bad_mode_of_cancel_is_an_error_and_an_unknown_call_is_none(server):
    with RawSocket(server) as a:
        a.say([49, 5, {}])
        a.fence()
        a.say([49, 5, {"mode": "please"}])
        equal(a.hear()[:3], [8, 49, 5])


def cancel_is_told_to_the_callee_as_its_mode_says(server):
    for mode, is_interrupted, waits in (("skip", False, False), ("kill", True, True),
                                        ("killnowait", True, False), (None, True, False)):
        with RawSocket(server, roles=FEATURES) as a, RawSocket(server) as b:
            a.register("cancel.x")
            number = b.begin(48, {}, "cancel.x")
            invocation = a.hear()[1]
            b.say([49, number, {"mode": mode} if mode else {}])
            if is_interrupted:
                equal(a.hear()[:2], [69, invocation])
            if waits:
                b.fence()
                a.say([8, 68, invocation, {}, "wamp.error.canceled", ["stopped"]])
            answer = b.hear()
            equal((answer[:3], answer[4]), ([8, 48, number], "wamp.error.canceled"), str(mode))
            equal(answer[5:] == [["stopped"]], waits)
            a.fence()


def a_caller_that_goes_interrupts_its_callee(server):
    with RawSocket(server, roles=FEATURES) as a:
        a.register("gone.x")
        with RawSocket(server) as b:
            b.begin(48, {}, "gone.x")
            invocation = a.hear()[1]
        message = a.hear()
        equal(message[:2], [69, invocation])
        a.say([70, invocation, {}, ["late"]])
        a.fence()


def a_timeout_is_forwarded_where_the_callee_asked_for_it(server):
    with RawSocket(server, roles=FEATURES) as a, RawSocket(server) as b:
        a.register("timeout.x", forward_timeout=True)
        number = b.begin(48, {"timeout": 100}, "timeout.x")
        invocation = a.hear()
        equal(invocation[3]["timeout"], 100)
        a.say([8, 68, invocation[1], {}, "wamp.error.timeout"])
        equal(b.hear()[:3], [8, 48, number])


def a_callee_that_is_unavailable_passes_the_call_on(server):
    with RawSocket(server) as a, RawSocket(server) as b, RawSocket(server) as c:
        for peer in (a, b):
            peer.register("reroute.x", invoke="first")
        number = c.begin(48, {}, "reroute.x", [7])
        a.say([8, 68, a.hear()[1], {}, "wamp.error.unavailable"])
        invocation = b.hear()
        equal(invocation[4], [7])
        b.say([8, 68, invocation[1], {}, "wamp.error.unavailable"])
        answer = c.hear()
        equal((answer[:3], answer[4]), ([8, 48, number], "wamp.error.no_available_callee"))


def parts_of_a_call_go_to_its_first_callee(server):
    with RawSocket(server, roles=FEATURES) as a, RawSocket(server, roles=FEATURES) as b, \
            RawSocket(server, roles=FEATURES) as c:
        for peer in (a, b):
            peer.register("parts.x", invoke="roundrobin")
        c.say([48, 1, {"progress": True}, "parts.x", [1]])
        c.say([48, 1, {"progress": True}, "parts.x", [2]])
        c.say([48, 1, {}, "parts.x", [3]])
        got = [a.hear() for _ in range(3)]
        equal([(m[1], m[3].get("progress", False), m[4]) for m in got],
              [(1, True, [1]), (1, True, [2]), (1, False, [3])])
        a.say([70, 1, {}, ["all"]])
        equal(c.hear()[3], ["all"])
        c.say([48, 1, {}, "parts.x", [4]])
        for peer in (a, b, c):
            peer.fence()


def parts_for_a_callee_that_takes_none_are_not_supported(server):
    with RawSocket(server) as a, RawSocket(server) as c:
        a.register("noparts.x")
        equal(c.refused(48, {"progress": True}, "noparts.x"), "wamp.error.feature_not_supported")


def revocation_is_told_to_who_announced_it(server):
    with RawSocket(server, roles=FEATURES) as a, RawSocket(server) as plain, RawSocket(server) as c:
        registration = a.register("revoked.p")
        subscription = a.subscribe("revoked.t")
        equal(plain.subscribe("revoked.t"), subscription)
        c.call("wamp.registration.remove_callee", registration, a.id, reason="some.reason")
        equal(a.hear(), [67, 0, {"registration": registration, "reason": "some.reason"}])
        for peer in (a, plain):
            c.call("wamp.subscription.remove_subscriber", subscription, peer.id)
        equal(a.hear()[:2], [35, 0])
        c.publish("revoked.t", "nobody")
        plain.fence()
        a.fence()
        equal(c.refused(48, {}, "revoked.p"), "wamp.error.no_such_procedure")


def the_kill_family_ends_others_and_never_the_caller(server):
    with RawSocket(server) as a, RawSocket(server) as b, RawSocket(server) as c:
        c.call("wamp.session.kill", a.id, reason="com.killed", message="go")
        equal(a.hear(), [6, {"message": "go"}, "com.killed"])
        a.expect_close()
        equal(c.refused(48, {}, "wamp.session.kill", [c.id]), "wamp.error.no_such_session")
        equal(c.refused(48, {}, "wamp.session.kill", [b.id], {"reason": "not a uri"}),
              "wamp.error.invalid_uri")
        c.call("wamp.session.kill_by_authid", b.welcome["authid"])
        equal(b.hear()[2], "wamp.close.killed")
        with RawSocket(server) as d, RawSocket(server) as e:
            c.call("wamp.session.kill_by_authrole", d.welcome["authrole"])
            equal((d.hear()[2], e.hear()[2]), ("wamp.close.killed", "wamp.close.killed"))
        with RawSocket(server) as d:
            c.call("wamp.session.kill_all")
            equal(d.hear()[0], 6)
        c.fence()


def killing_needs_its_option():
    with Server() as server, RawSocket(server) as a, RawSocket(server) as b:
        equal(a.refused(48, {}, "wamp.session.kill", [b.id]), "wamp.error.no_such_procedure")
        equal(a.refused(48, {}, "wamp.session.modify_details", [b.id, {}]), "wamp.error.no_such_procedure")


def _events(peer, subscription, **filters):
    return [entry["args"] for entry in peer.call("wamp.subscription.get_events", subscription, **filters)]


def history_outlives_its_subscribers_and_is_filtered(server):
    with RawSocket(server) as a, RawSocket(server) as b:
        ids = [b.publish("kept.x", i) for i in range(7)]
        b.publish("kept.x", "not kept", eligible=[a.id])
        subscription = a.subscribe("kept.x")
        a.ask(34, subscription)
        equal(a.subscribe("kept.x"), subscription)
        equal(_events(a, subscription), [[i] for i in range(2, 7)])
        equal(_events(a, subscription, limit=2), [[5], [6]])
        equal(_events(a, subscription, reverse=True, limit=2), [[6], [5]])
        equal(_events(a, subscription, from_publication=ids[4]), [[4], [5], [6]])
        equal(_events(a, subscription, after_publication=ids[4]), [[5], [6]])
        equal(_events(a, subscription, before_publication=ids[4]), [[2], [3]])
        equal(_events(a, subscription, until_publication=ids[4], after_publication=ids[2]), [[3], [4]])
        equal(_events(a, subscription, from_time="2100-01-01T00:00:00Z"), [])
        equal(len(_events(a, subscription, until_time="2100-01-01T00:00:00+02:00")), 5)
        for bad in ({"limit": -1}, {"from_time": "soon"}, {"reverse": 1}, {"from_publication": "x"}):
            equal(a.refused(48, {}, "wamp.subscription.get_events", [subscription], bad),
                  "wamp.error.invalid_argument", str(bad))
        equal(a.refused(48, {}, "wamp.subscription.get_events", [4711]),
              "wamp.error.no_such_subscription")
        entry = a.call("wamp.subscription.get_events", subscription, limit=1)[0]
        equal({"timestamp", "subscription", "publication", "details", "args"} <= set(entry), True)
        equal(entry["Arguments"], entry["args"])


def history_that_was_for_some_is_told_to_these(server):
    with RawSocket(server) as a, RawSocket(server) as b:
        role = a.welcome["authrole"]
        b.publish("kept.y", "for all")
        b.publish("kept.y", "for the role", eligible_authrole=[role])
        b.publish("kept.y", "for another role", eligible_authrole=["another"])
        b.publish("kept.y", "for every other role", exclude_authrole=[role])
        subscription = a.subscribe("kept.y")
        equal(_events(a, subscription), [["for all"], ["for the role"]])


def a_forged_meta_event_is_refused(server):
    with RawSocket(server) as a, RawSocket(server) as b:
        a.subscribe("wamp.session.on_leave")
        holds(b.refused(16, {"acknowledge": True}, "wamp.session.on_leave", [a.id]) in
              ("wamp.error.invalid_uri", "wamp.error.not_authorized"), "refused")
        b.begin(16, {}, "wamp.session.on_leave", [a.id])
        b.fence()
        a.fence()


def the_other_name_of_counting_subscribers_is_there_too(server):
    with RawSocket(server) as a:
        subscription = a.subscribe("typo.x")
        for name in ("count_subscribers", "count_suscribers"):
            equal(a.call(f"wamp.subscription.{name}", subscription), [1])


def publications_and_calls_have_the_trust_level_of_their_role():
    with Server(auth={"anonymous": "guest"},
                roles={"guest": {"publish": ">", "subscribe": ">", "trust": 3}}) as server, \
            RawSocket(server, roles=FEATURES) as a, RawSocket(server) as b:
        a.subscribe("trust.x")
        a.register("trust.x")
        b.publish("trust.x")
        equal(a.hear()[3]["trustlevel"], 3)
        b.begin(48, {}, "trust.x")
        equal(a.hear()[3]["trustlevel"], 3)


def a_role_says_whether_identities_are_told():
    for disclose, asked, told in (("always", False, True), ("ask", True, True), ("ask", False, False)):
        with Server(auth={"anonymous": "guest"},
                    roles={"guest": {"publish": ">", "subscribe": ">", "disclose": disclose}}) as server, \
                RawSocket(server, roles=FEATURES) as a, RawSocket(server) as plain, RawSocket(server) as b:
            for peer in (a, plain):
                peer.subscribe("told.x")
            b.publish("told.x", disclose_me=asked)
            details = a.hear()[3]
            equal(details.get("publisher"), b.id if told else None, disclose)
            # Each receiver gets what it announced.
            equal(plain.hear()[3], {})


def what_a_role_may_not_is_not_authorized():
    roles = {"guest": {"publish": "open.>", "subscribe": "open.>", "call": ["open.>", "wamp.session.get"]}}
    with Server(auth={"anonymous": "guest"}, roles=roles) as server, RawSocket(server) as a:
        for kind, options in ((16, {"acknowledge": True}), (32, {}), (48, {}), (64, {})):
            equal(a.refused(kind, options, "closed.x"), "wamp.error.not_authorized", str(kind))
        equal(a.refused(32, {"match": "prefix"}, "open"), "wamp.error.not_authorized")
        equal(a.refused(48, {}, "wamp.session.list"), "wamp.error.not_authorized")
        equal(a.call("wamp.session.get", a.id)[0]["session"], a.id)
        a.publish("open.x")
        a.begin(16, {}, "closed.x")
        a.fence()
