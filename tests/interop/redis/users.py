"""Lines of a users file, without the command that makes them."""

import ctypes
import ctypes.util


def hashed(password):
    """The argon2id hash as `parley user` writes it, as cheap as libsodium allows."""
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
    out = ctypes.create_string_buffer(128)
    data = password.encode()
    if sodium.crypto_pwhash_str(out, data, ctypes.c_ulonglong(len(data)), ctypes.c_ulonglong(1),
                                ctypes.c_size_t(8192)):
        raise MemoryError("crypto_pwhash_str")
    return out.value.decode()
