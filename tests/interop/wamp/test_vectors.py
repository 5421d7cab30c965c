"""Every message of the standard's test vectors (wamp-proto.org), decoded and put together again.

vectors.jsonl has a message a line: its name, its code, and the bytes that are right in each
serializer, in hex.
"""

import json
import os
import pathlib
import subprocess

from harness import ROOT, SANITIZER_OPTIONS, Failure

SERIALIZERS = ("json", "msgpack", "cbor")
VECTORS = [json.loads(line) for line in
           (pathlib.Path(__file__).parent / "vectors.jsonl").read_text(encoding="utf-8").splitlines()]


def _answers(lines):
    """What the codec says to each (serializer, hex)."""
    program = ROOT / "build" / "asan" / "tools" / "wamp_codec"
    done = subprocess.run(
        [program], input="".join(f"{serializer} {hexed}\n" for serializer, hexed in lines),
        capture_output=True, text=True, check=False, env={**os.environ, **SANITIZER_OPTIONS})
    if done.returncode:
        raise Failure(done.stderr[-4000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def _compact(hexed):
    """A message in JSON without white space between its values."""
    return json.dumps(json.loads(bytes.fromhex(hexed)), separators=(",", ":"), ensure_ascii=False)


def _each():
    """(vector, serializer, answer) for every form of every message."""
    forms = [(vector, serializer, hexed) for vector in VECTORS for serializer in SERIALIZERS
             for hexed in vector["bytes"][serializer]]
    answers = _answers([(serializer, hexed) for _, serializer, hexed in forms])
    if len(answers) != len(forms) or len(forms) < 100:
        raise Failure(f"{len(answers)} answers to {len(forms)} forms")
    return [(vector, serializer, answer)
            for (vector, serializer, _), answer in zip(forms, answers)]


def every_message_of_the_standard_is_decoded_and_told_as_in_its_json():
    for vector, serializer, answer in _each():
        wanted = json.loads(bytes.fromhex(vector["bytes"]["json"][0]))
        name = vector["message"]
        if answer["type"] != vector["code"]:
            raise Failure(f"{name} in {serializer}: {answer}")
        if "values" in answer:
            if answer["values"] != wanted:
                raise Failure(f"{name} in {serializer}: {answer}")
            continue
        told = [answer["type"]]
        told += [answer["request_type"]] if "request_type" in answer else []
        told += answer["ids"]
        rest = [answer[key] for key in ("details", "text", "args", "kwargs") if key in answer]
        if answer["name"] != name or sorted(map(repr, told + rest)) != sorted(map(repr, wanted)):
            raise Failure(f"{name} in {serializer}: {answer}, expected {wanted}")


def every_message_of_the_standard_is_encoded_in_each_serializer_to_one_of_its_forms():
    for vector, serializer, answer in _each():
        for to in SERIALIZERS:
            forms = vector["bytes"][to]
            # White space between values stays where a value passes as it stands.
            same = (_compact(answer[to]) == _compact(forms[0]) if to == serializer == "json"
                    else answer[to] in forms)
            if not same:
                raise Failure(
                    f"{vector['message']} from {serializer} to {to}: {answer[to]}, not in {forms}")


def a_type_that_nobody_knows_is_told_with_its_number():
    answer, = _answers([("json", b'[999,1,"x"]'.hex())])
    if answer["type"] != 999 or "999" not in answer["error"] or answer["cbor"] != "831903e7016178":
        raise Failure(answer)


def what_is_no_message_is_an_error_that_says_where():
    wrong = [("json", b'{"a":1}'.hex()), ("json", b"[]".hex()), ("msgpack", "90"), ("cbor", "80"),
             ("msgpack", "92"), ("json", b'[1,"r"]'.hex()), ("json", b'[1,7,{}]'.hex()),
             ("json", b'[17,1,2]x'.hex()), ("msgpack", "9311010200"), ("cbor", "ff")]
    for form, answer in zip(wrong, _answers(wrong)):
        if not answer.get("error") or "type" in answer:
            raise Failure(f"{form}: {answer}")
