"""SipHash-2-4 of 64 bits, as its paper has it, and what Mles makes of it."""

MASK = (1 << 64) - 1


def _turn(x, by):
    return (x << by | x >> (64 - by)) & MASK


def _rounds(v, count):
    v0, v1, v2, v3 = v
    for _ in range(count):
        v0 = (v0 + v1) & MASK
        v2 = (v2 + v3) & MASK
        v1 = _turn(v1, 13) ^ v0
        v3 = _turn(v3, 16) ^ v2
        v0 = (_turn(v0, 32) + v3) & MASK
        v2 = (v2 + v1) & MASK
        v1 = _turn(v1, 17) ^ v2
        v3 = _turn(v3, 21) ^ v0
        v2 = _turn(v2, 32)
    return [v0, v1, v2, v3]


def siphash(data, key=bytes(16)):
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
         k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at:at + 8], "little")
        v[3] ^= word
        v = _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    v = _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def auth(uid, channel, key=""):
    """The member `auth` of a first frame."""
    return f"{siphash((uid + channel + key).encode()):016x}"


assert siphash(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5
assert auth("alice", "example", "secret-key") == "b4a9a15cdd7c8094"
