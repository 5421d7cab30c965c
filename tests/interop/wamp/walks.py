"""Walkers: programs in JavaScript that go through all that a client library offers; see
node/walk.mjs for what they tell."""

import json

from clients import HERE, node
from harness import TIMEOUT, Certificates, Failure, Process


def walk(script, least, **what):
    """Runs node/<script> to its end: at least so many steps, and none failed."""
    command = [node(), "--no-deprecation", HERE / "node" / script, json.dumps(what)]
    failed, done = [], None
    with Process(command, env={"NODE_EXTRA_CA_CERTS": str(Certificates().ca)}) as process:
        while done is None:
            try:
                line = json.loads(process.lines.next(timeout=TIMEOUT * 4))
            except Failure as failure:
                raise Failure(f"{script}: {failure}; {failed}; {process.stderr()}") from None
            done = line.get("done")
            if "error" in line:
                failed.append(f"{line['step']}: {line['error']}")
    if failed:
        raise Failure("\n".join(failed))
    if done < least:
        raise Failure(f"{script}: only {done} steps")
