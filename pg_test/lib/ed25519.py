"""Ed25519 keys and signatures (RFC 8032), for tests that need a new key at any moment and tokens of
it. Python's standard library has none. Not constant time: for test keys only."""

import functools
import hashlib
import json

from . import tokens
from .tokens import base64url

P = 2**255 - 19  # the field's prime
L = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
IDENTITY = (0, 1, 1, 0)


def add(p, q):
    """The sum of two points in extended coordinates (RFC 8032, section 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


@functools.cache
def doublings():
    """The base point times each power of two."""
    points = [(BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)]
    for _ in range(255):
        points.append(add(points[-1], points[-1]))
    return points


def times_base(scalar):
    """The base point times `scalar`, encoded."""
    sum = IDENTITY
    for bit, point in enumerate(doublings()):
        if scalar >> bit & 1:
            sum = add(sum, point)
    inverse = pow(sum[2], -1, P)
    x, y = sum[0] * inverse % P, sum[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Key:
    """The key of a number, always the same one; its key id is eNUMBER."""

    alg = "EdDSA"

    def __init__(self, number):
        self.kid = f"e{number}"
        self.seed = hashlib.sha256(b"pg_auth_jwt Ed25519 test key %d" % number).digest()
        digest = hashlib.sha512(self.seed).digest()
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix = digest[32:]
        self.public = times_base(self.scalar)

    def sign(self, message):
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % L
        point = times_base(r)
        k = int.from_bytes(hashlib.sha512(point + self.public + message).digest(), "little") % L
        return point + ((r + k * self.scalar) % L).to_bytes(32, "little")

    def jwk(self, **more):
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": base64url(self.public), **more}

    def thumbprint(self):
        """By RFC 7638."""
        members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": base64url(self.public)}, separators=(",", ":"))
        return base64url(hashlib.sha256(members.encode()).digest())

    def private_jwk(self):
        return self.jwk(d=base64url(self.seed))


@functools.cache
def key(number):
    return Key(number)


def jwks(*numbers):
    return json.dumps({"keys": [key(number).jwk() for number in numbers]})


def fetched_row(issuer, number):
    """The statement that stores a key of an issuer whose keys are fetched, as a dump has it: with
    its thumbprint."""
    stored = key(number)
    return (
        f"INSERT INTO auth.jwks (issuer, kid, jwk, thumbprint) VALUES ('{issuer}', '{stored.kid}', "
        f"'{json.dumps(stored.jwk())}', '{stored.thumbprint()}')"
    )


def token(number, issuer, sub="u1", seconds=3600, **more):
    """A token of that key, as tokens.token makes it."""
    return tokens.token(sub, seconds, key=key(number), **{"iss": issuer, **more})
