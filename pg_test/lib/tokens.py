#!/usr/bin/env python3
"""Mints HS256 tokens, for tests that need many users or tokens that run out in seconds.

tokens.py setup                 SQL that makes the issuer and its keys k0 to k3
tokens.py token SUB [SECONDS]   a token, valid for an hour or that many seconds
tokens.py rows COUNT            COUNT lines "sub<TAB>token" for COPY, users u1 to uCOUNT
tokens.py sql                   the function test_token(sub, seconds), which mints in the database
"""

import base64
import hashlib
import hmac
import json
import sys
import time

ISSUER = "https://hs.test.example"
KEYS = 4


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def secret(key):
    return hashlib.sha256(b"pg_auth_jwt test key %d" % key).digest()


def jwk(key=0):
    return {"kty": "oct", "kid": f"k{key}", "alg": "HS256", "k": base64url(secret(key))}


def public_part(key=0):
    """The key as Better Auth's table has it: without kid and alg."""
    return json.dumps({name: value for name, value in jwk(key).items() if name in ("kty", "k")})


def jwks(*keys):
    return json.dumps({"keys": [jwk(key) for key in keys]})


class Secret:
    """A shared secret, which signs as the asymmetric keys of ed25519.py and signer.py do. `secret` is bytes, or the
    number of one of the issuer's keys."""

    alg = "HS256"

    def __init__(self, key):
        self.kid, self.secret = (f"k{key}", secret(key)) if isinstance(key, int) else (None, key)

    def sign(self, message):
        return hmac.digest(self.secret, message, "sha256")


def encode(part):
    """A part of a token: a text as it is, or what becomes JSON."""
    return base64url((part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)).encode())


def signed(header, payload, key=0):
    """A token of this header and payload; `key` has a method `sign`, or is a number as Secret takes it."""
    data = f"{encode(header)}.{encode(payload)}"
    return sign(data, key)


def sign(data, key=0):
    """Header and payload, encoded, with their signature."""
    return f"{data}.{base64url((Secret(key) if isinstance(key, int) else key).sign(data.encode()))}"


def token(sub, seconds=3600, key=0, space="", header=None, **claims):
    """`seconds` counts from now, to the microsecond; other claims and members of the header may be added. None in
    the header leaves a member out. `space` is written before both JSON texts. `key` is as of `signed`, with `alg`
    and `kid`."""
    key = Secret(key) if isinstance(key, int) else key
    header = {"alg": key.alg, "kid": key.kid, **(header or {})}
    header = {name: value for name, value in header.items() if value is not None}
    payload = {"iss": ISSUER, "sub": sub, "exp": time.time() + seconds, **claims}
    return signed(*(space + json.dumps(part, ensure_ascii=False) for part in (header, payload)), key)


def setup(*keys):
    """No leeway, so that a token expires exactly at its exp."""
    return (
        f"INSERT INTO auth.issuers (issuer, algorithms, leeway) VALUES ('{ISSUER}', '{{HS256}}', '0 s');"
        f"SELECT auth.init('{jwks(*(keys or range(KEYS)))}', issuer => '{ISSUER}');"
    )


FOLLOWED = "https://followed.test.example"
AUDIENCE = "https://app.test.example"


def followed_token(sub, key=0, **claims):
    return token(sub, key=key, **{"iss": FOLLOWED, "aud": AUDIENCE, **claims})


def follow(*keys, table="public.followed_keys"):
    """A table as Better Auth makes it, with these keys, that is followed."""
    rows = ", ".join(f"('k{key}', '{public_part(key)}', 'private')" for key in keys)
    return (
        f"""CREATE TABLE {table} (id text PRIMARY KEY, "publicKey" text NOT NULL, "privateKey" text NOT NULL,
                "createdAt" timestamptz NOT NULL DEFAULT now(), "expiresAt" timestamptz);"""
        f"INSERT INTO {table} VALUES {rows};"
        f"INSERT INTO auth.issuers (issuer, algorithms, leeway) VALUES ('{FOLLOWED}', '{{HS256}}', '0 s');"
        f"SELECT auth.follow('{table}', '{FOLLOWED}', '{{{AUDIENCE}}}');"
    )


def sql():
    """HMAC (RFC 2104) by the sha256() of Postgres, because pgcrypto may be missing."""
    key = secret(0).ljust(64, b"\0")
    header = base64url(json.dumps({"alg": "HS256", "kid": "k0"}).encode())
    return SQL.format(
        issuer=ISSUER,
        header=header,
        inner=bytes(byte ^ 0x36 for byte in key).hex(),
        outer=bytes(byte ^ 0x5C for byte in key).hex(),
    )


SQL = r"""
CREATE FUNCTION base64url(data bytea) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN translate(encode(data, 'base64'), E'+/=\n', '-_');
CREATE FUNCTION test_token(sub text, seconds float8 DEFAULT 3600) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    payload text := format('{{"iss":"{issuer}","sub":"%s","exp":%s}}', sub, extract(epoch FROM now()) + seconds);
    signed text := '{header}.' || base64url(convert_to(payload, 'UTF8'));
BEGIN
    RETURN signed || '.' || base64url(sha256('\x{outer}' || sha256('\x{inner}' || signed::bytea)));
END $$;
"""


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["setup"]:
            print(setup())
        case ["token", sub]:
            print(token(sub))
        case ["token", sub, seconds]:
            print(token(sub, float(seconds)))
        case ["rows", count]:
            for n in range(1, int(count) + 1):
                print(f"u{n}\t{token(f'u{n}')}")
        case ["sql"]:
            print(sql())
        case _:
            sys.exit(__doc__)
