"""Verify a webhook of Bellwether. Needs Python 3.8 and no package."""
import base64
import hashlib
import hmac
import time

TOLERANCE_SECONDS = 300


def key_of(secret):
    """The bytes that `webhook-signature` is keyed with."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret[len("whsec_"):])
    return secret.encode()


def verify(secret, headers, body, now=None):
    """True if the request is genuine and recent. `headers` has names in lower case, `body` is bytes."""
    notification_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{notification_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    # During a rotation there are two signatures.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any([hmac.compare_digest(expected, one) for one in given])


if __name__ == "__main__":
    # python3 verify.py SECRET ID TIMESTAMP SIGNATURE < body
    import sys

    names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    genuine = verify(sys.argv[1], dict(zip(names, sys.argv[2:])), sys.stdin.buffer.read())
    sys.exit(0 if genuine else 1)
