#!/usr/bin/env python3
"""Keeps files readable: none in src/ over 800 lines without its reason, no block of 30 lines twice.

    tools/check_shape.py [root]

A longer file says "Long because …" in a comment within its first 60 lines. Lines are equal if they
are so without their indentation; blank ones do not count.
"""

import pathlib
import sys

LINES_MAX = 800
BLOCK = 30


def long_files(files):
    for name, lines in files.items():
        if len(lines) > LINES_MAX and not any("Long because" in line for line in lines[:60]):
            yield f"{name}: {len(lines)} lines; split it, or say at its top: Long because …"


def repeated_blocks(files):
    seen = {}
    for name, lines in files.items():
        kept = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
        told_until = 0
        for i in range(len(kept) - BLOCK + 1):
            block = tuple(text for _, text in kept[i:i + BLOCK])
            first = seen.setdefault(block, (name, kept[i][0]))
            if first != (name, kept[i][0]) and i >= told_until:
                told_until = i + BLOCK
                yield f"{name}:{kept[i][0]}: {BLOCK} lines equal to {first[0]}:{first[1]}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    files = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8").splitlines()
        for path in sorted((root / "src").rglob("*")) if path.suffix in (".c", ".h", ".def")
    }
    complaints = [*long_files(files), *repeated_blocks(files)]
    for line in complaints:
        print(line)
    print(f"{len(files)} files, {len(complaints)} complaints")
    return 1 if complaints or not files else 0


if __name__ == "__main__":
    sys.exit(main())
