"""The test keys, and signatures that come out the same every time."""

import hashlib
import hmac
import json
import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}

# The DER of DigestInfo up to the digest (RFC 8017 §9.2).
DIGEST_INFO = {
    "256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def b64(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(bits, data):
    return hashlib.new(f"sha{bits}", data).digest()


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Rsa:
    algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]

    def __init__(self, kid, p, q):
        self.kid, self.n, self.e = kid, p * q, 65537
        self.d = pow(self.e, -1, (p - 1) * (q - 1))
        self.size = (self.n.bit_length() + 7) // 8
        self.jwk = {"kty": "RSA", "n": number(self.n), "e": number(self.e)}
        self.public = rsa.RSAPublicNumbers(self.e, self.n).public_key()

    def sign(self, alg, message):
        bits = alg[2:]
        if alg.startswith("PS"):
            # As long as the hash (RFC 7518 §3.5), and not random.
            return self.pss(bits, message, digest(bits, b"salt" + message))
        return self.pkcs1(DIGEST_INFO[bits] + digest(bits, message))

    def raw(self, encoded):
        return pow(int.from_bytes(encoded, "big"), self.d, self.n).to_bytes(self.size, "big")

    def pkcs1(self, info, after=b""):
        padding = b"\xff" * (self.size - 3 - len(info) - len(after))
        return self.raw(b"\x00\x01" + padding + b"\x00" + info + after)

    def pss(self, bits, message, salt):
        """RSASSA-PSS (RFC 8017 §9.1.1) of any salt."""
        hashed = digest(bits, bytes(8) + digest(bits, message) + salt)
        block = b"\x01" + salt
        block = block.rjust(self.size - len(hashed) - 1, b"\x00")
        rounds = range(len(block) // len(hashed) + 1)
        mask = b"".join(digest(bits, hashed + i.to_bytes(4, "big")) for i in rounds)
        masked = bytearray(x ^ y for x, y in zip(block, mask))
        masked[0] &= 0x7F
        return self.raw(bytes(masked) + hashed + b"\xbc")


class Ec:
    def __init__(self, kid, alg, curve, seed, order):
        self.kid, self.algorithms, self.order = kid, [alg], order
        self.size = (curve.key_size + 7) // 8
        scalar = int.from_bytes(bytes([seed]) * self.size, "big") % order
        self.private = ec.derive_private_key(scalar, curve)
        self.public = self.private.public_key()
        point = self.public.public_numbers()
        x, y = (b64(c.to_bytes(self.size, "big")) for c in (point.x, point.y))
        crv = f"P-{curve.key_size}"
        self.jwk = {"kty": "EC", "crv": crv, "x": x, "y": y}

    def sign(self, alg, message):
        return self.join(*self.pair(alg, message))

    def pair(self, alg, message):
        how = ec.ECDSA(HASHES[alg[2:]], deterministic_signing=True)
        return utils.decode_dss_signature(self.private.sign(message, how))

    def join(self, r, s, size=None):
        size = size or self.size
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


class Ed:
    algorithms = ["EdDSA", "Ed25519"]

    def __init__(self, kid, seed):
        self.kid = kid
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = self.private.public_key()
        x = self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(x)}

    def sign(self, _, message):
        return self.private.sign(message)


class Secret:
    algorithms = ["HS256", "HS384", "HS512"]

    def __init__(self, kid, secret):
        self.kid, self.secret = kid, secret
        self.jwk = {"kty": "oct", "k": b64(secret)}

    def sign(self, alg, message):
        return hmac.digest(self.secret, message, f"sha{alg[2:]}")


def prime(chance, bits):
    while True:
        candidate = chance.getrandbits(bits) | 3 << (bits - 2) | 1
        if candidate % 65537 != 1 and pow(2, candidate - 1, candidate) == 1:
            return candidate


P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P384 = int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
P521 = int("1" + "f" * 64 + "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16)


def key_set(seed, p, q):
    """One key of each kind, by `kid`."""
    keys = [
        Rsa("rsa", p, q),
        Ec("p256", "ES256", ec.SECP256R1(), seed, P256),
        Ec("p384", "ES384", ec.SECP384R1(), seed, P384),
        Ec("p521", "ES512", ec.SECP521R1(), seed, P521),
        Ed("ed", seed),
        Secret("secret", bytes([seed]) * 64),
    ]
    return {key.kid: key for key in keys}


def own_primes():
    path = Path(__file__).parent / "../vectors/rsa-2048-private.json"
    jwk = json.loads(path.read_text())
    return (int.from_bytes(urlsafe_b64decode(jwk[name] + "=="), "big") for name in "pq")


OURS = key_set(7, *own_primes())
# Keys that are in no set.
_chance = random.Random(8)
STRANGERS = key_set(8, prime(_chance, 1024), prime(_chance, 1024))

# The signing key for each of the tested algorithms.
SIGNERS = {
    "RS256": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed",
    "HS256": "secret",
}
