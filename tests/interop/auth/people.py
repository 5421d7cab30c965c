"""Users, roles and tokens for the tests of logins and rights."""

import base64
import hashlib
import hmac
import json
import time

# The password "secret", as cheap as argon2id can be.
HASH = ("$argon2id$v=19$m=8,t=1,p=1$wknNX2G+1/CTiWsGjNRsww$"
        "0kUPVp1JvuYYzZIPDIS0kqT2FXrmbfY7JZWKytpc2ig")
PASSWORD = "secret"
KEY = "0123456789abcdef0123456789abcdef"


def users(**roles):
    """The text of a users file: name=role."""
    return "".join(f"{name} {role} {HASH}\n" for name, role in roles.items())


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(key=KEY, lasts=60, **claims):
    """An HS256 token, made without Parley."""
    if lasts is not None:
        claims["exp"] = time.time() + lasts
    text = encoded(b'{"alg":"HS256"}') + "." + encoded(json.dumps(claims).encode())
    return text + "." + encoded(hmac.digest(key.encode(), text.encode(), hashlib.sha256))
