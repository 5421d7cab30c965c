#!/usr/bin/env python3
"""Keeps the floors: a file includes from its own floor's folder and from floors below.

    tools/check_layers.py [root]

Prints each include that goes up or sideways; exits 1 if there is one.
"""

import pathlib
import re
import sys

BELOW_CORE = {"base", "codec"}
BELOW_PROTOCOLS = BELOW_CORE | {"core"}
BELOW_ENGINES = BELOW_PROTOCOLS | {"net"}
BELOW_SERVER = BELOW_ENGINES | {
    "acme", "auth", "engines", "peers", "protocols", "store", "triggers", "web"}

# Folder → the other folders that its files may include from.
FLOORS = {
    "base": set(),
    "codec": {"base"},
    "core": BELOW_CORE,
    "net": BELOW_CORE,
    "protocols": BELOW_PROTOCOLS,
    "engines": BELOW_ENGINES,
    "store": BELOW_ENGINES,
    "auth": BELOW_ENGINES,
    "triggers": BELOW_ENGINES,
    "web": BELOW_ENGINES,
    "acme": BELOW_ENGINES,
    "client": BELOW_CORE | {"net"},
    "peers": BELOW_ENGINES | {"client"},
    "server": BELOW_SERVER,
    "embed": BELOW_SERVER | {"server", "client"},
    "cli": BELOW_SERVER | {"server", "client"},
}

# Folders whose subfolders are neighbours; they share only the interface, and only the floor above
# may include from any of them.
NEIGHBOURS = {"protocols": "protocol.h", "engines": "engine.h"}

# What does no I/O and reads no clock has no use for these.
PURE = {"codec", "core", "protocols"}
IMPURE_HEADERS = re.compile(
    r"uv\.h|uv/|gnutls/|sys/(socket|epoll|select|uio|un|file|stat|time|eventfd)\.h|netinet/|arpa/"
    r"|netdb\.h|poll\.h|fcntl\.h|unistd\.h|sqlite3\.h|curl/|threads\.h")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def complaint(source, target):
    """Why the file `source` may not include "target" (both from src/); None if it may."""
    here, there = source.split("/"), target.split("/")
    if here[0] not in FLOORS:
        return f"folder {here[0]} has no floor; give it one in FLOORS"
    if len(there) < 2:
        return "not spelled from src/"
    if here[0] != there[0]:
        if there[0] not in FLOORS[here[0]]:
            return f"{here[0]} does not stand above {there[0]}"
        return None
    interface = NEIGHBOURS.get(here[0])
    if interface and there[1:] != [interface] and (len(there) < 3 or here[1] != there[1]):
        return f"{'/'.join(here[:2])} and {'/'.join(there[:2])} are neighbours"
    return None


def check(root):
    src = root / "src"
    complaints, count = [], 0
    for path in sorted(src.rglob("*.[ch]")) + sorted(src.rglob("*.def")):
        name = path.relative_to(src).as_posix()
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            count += 1
            own, system = match.groups()
            why = None
            if own:
                why = complaint(name, own)
                if not why and not (src / own).is_file():
                    why = "no such file"
            elif name.split("/")[0] in PURE and IMPURE_HEADERS.match(system):
                why = "this folder does no I/O and reads no clock"
            if why:
                line = text.count("\n", 0, match.start()) + 1
                complaints.append(f"src/{name}:{line}: {own or system}: {why}")
    return complaints, count


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    complaints, count = check(root)
    for line in complaints:
        print(line)
    print(f"{count} includes, {len(complaints)} against the floors")
    return 1 if complaints or not count else 0


if __name__ == "__main__":
    sys.exit(main())
