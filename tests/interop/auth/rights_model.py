"""The model: what names, patterns and rights mean, in the obvious way.

A pattern is allowed if every name that it could mean is allowed, tried on a few names that tell one
right from another; what comes is what it matches and its reader may see.
"""

import fnmatch
import itertools

ANY, REST, SELF = object(), object(), object()  # one token; one or more; none or more
WILD = {"mqtt": {"+": ANY, "#": SELF}, "nats": {"*": ANY, ">": REST}, "redis": {}}
ROLES = {"bob": "device", "eve": "device", "*": "device", ">": "device", "flo": "filtered",
         "root": "all"}


def swapped(text):
    return text.translate(str.maketrans("./", "/."))


def decoded(wire, text):
    """A name in a protocol's words as we call it. (Of NATS' escapes, those that occur here.)"""
    if wire == "mqtt":
        return swapped(text)
    escapes = {"%": "", "%2A": "*", "%3E": ">"} if wire == "nats" else {}
    return ".".join(escapes.get(token, token) for token in text.split("."))


class Pattern:
    def __init__(self, wire, text, glob):
        subject = swapped(text) if wire == "mqtt" else text
        self.glob, self.wire = text if glob else None, wire
        self.tokens = [WILD[wire].get(token) or decoded("nats" if wire == "nats" else "", token)
                       for token in subject.split(".")]
        literal = [not isinstance(token, str) for token in self.tokens + [ANY]].index(True)
        special = min((text + "*").index(c) for c in "*?[\\" if c in text + "*")
        self.head = text[:special].split(".")[:-1] if glob else self.tokens[:literal]

    def covers(self, name):
        if self.glob:
            return fnmatch.fnmatchcase(name, self.glob)
        tokens, own = name.split("."), self.tokens
        if own[-1] in (REST, SELF):
            if len(tokens) < len(own) - (own[-1] is SELF):
                return False
            own = own[:-1]
            tokens = tokens[:len(own)]
        return len(own) == len(tokens) and all(a in (ANY, b) for a, b in zip(own, tokens))

    def matches(self, name):
        first = name.split(".")[0]
        if first == "_INBOX":
            return self.covers(name) and len(self.head) >= 2 and not self.glob
        spares = self.wire == "mqtt" and first[:1] == "$" and not self.head
        return self.covers(name) and not spares

    def instances(self):
        """Names that it could mean, which tell one right from another. A glob is its literal text
        and anything."""
        if self.glob:
            text = self.glob[:min((self.glob + "*").index(c) for c in "*?[" if c in self.glob + "*")]
            return [text + rest for rest in ("q", ".q", "q.q")]
        choices = {ANY: ["q", "bob"], REST: ["q", "q.q"], SELF: [None, "q", "q.q"]}
        names = [".".join(token for token in tokens if token is not None)
                 for tokens in itertools.product(*(choices.get(t, [t]) for t in self.tokens))]
        return [name for name in names if name]


def has_right(user, name):
    if ROLES[user] == "device":
        return f"{name}.".startswith(f"device.{user}.")
    return ROLES[user] == "all" or name.split(".")[0] != "secret"


def may_subscribe(user, pattern):
    """All that it could mean is allowed; what a deny list takes away must leave something."""
    if pattern.head[:1] == ["_INBOX"] and len(pattern.head) >= 2 and not pattern.glob:
        return True
    quantifier = all if ROLES[user] == "device" else any
    return quantifier(has_right(user, name) for name in pattern.instances())


def sees(user, name):
    return has_right(user, name) or name.split(".")[0] == "_INBOX"
