#!/usr/bin/env python3
"""Tokens of ML-DSA (RFC 9964), signed by OpenSSL: by keys of auth.init(), of a followed table and of a URL. A build
without aws-lc-rs lacks them, and says so."""

import base64
import json
import os

from lib.endpoint import Answer
from lib.following import fetching
from lib.pg import HERE, Checks

SIGN_IN = "SELECT auth.jwt_session_init($1, false)"
WHO = "SELECT auth.user_id()"

with open(f"{HERE}/fixtures/ml_dsa.json") as file:
    FIXTURE = json.load(file)
ISSUER, AUDIENCE = FIXTURE["issuer"], FIXTURE["audience"]
JWKS, TOKENS = FIXTURE["jwks"], FIXTURE["tokens"]
ALICE = "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"
# The shortest key and the longest.
SIZES = {"ml-dsa-44": (1312, 2420), "ml-dsa-65": (1952, 3309), "ml-dsa-87": (2592, 4627)}


def raw(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def all_are_accepted(checks, what, cluster, db):
    with cluster.session(db) as session:
        for kid, token in TOKENS.items():
            checks.equal(f"{what}: {kid}", session.code(SIGN_IN, token), None)
            checks.equal(f"{what}: who {kid}", session.value(WHO), ALICE)


def loaded(checks, cluster, endpoint):
    """auth.init(), and tokens that were changed."""
    db = cluster.create_db("loaded")
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    init = "SELECT auth.init($1, $2, $3)"
    checks.equal("init", owner.value(init, json.dumps(JWKS), ISSUER, f"{{{AUDIENCE}}}"), "3")
    all_are_accepted(checks, "init", cluster, db)
    for kid, token in TOKENS.items():
        header, payload, signature = token.split(".")
        key = next(key for key in JWKS["keys"] if key["kid"] == kid)
        checks.equal(f"lengths: {kid}", (len(raw(key["pub"])), len(raw(signature))), SIZES[kid])
        changed = payload[:-9] + ("A" if payload[-9] != "A" else "B") + payload[-8:]
        checks.true(f"changed: {kid}", session.code(SIGN_IN, f"{header}.{changed}.{signature}") in ("28J01", "28J04"))
        for other, foreign in TOKENS.items():
            if other != kid:
                mixed = f"{header}.{payload}.{foreign.split('.')[2]}"
                checks.equal(f"signature of {other}: {kid}", session.code(SIGN_IN, mixed), "28J04")
    # The secret member is called that, in the error as in the log.
    private = {**JWKS["keys"][0], "priv": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"}
    error = owner.error(init, json.dumps({"keys": [private]}), ISSUER, f"{{{AUDIENCE}}}")
    checks.true(f"private: {error}", error.code == "22023" and "private" in error.message)
    owner.code(f"SELECT auth.init('{json.dumps({'keys': [private]})}', '{ISSUER}')")
    checks.true("in the log", private["priv"] not in cluster.log())
    # An issuer's own list of algorithms has them by name, and leaves them out by not naming them.
    owner.query(f"UPDATE auth.issuers SET algorithms = '{{ML-DSA-65}}' WHERE issuer = '{ISSUER}'")
    codes = [session.code(SIGN_IN, TOKENS[kid]) for kid in SIZES]
    checks.equal("algorithms", codes, ["28J02", None, "28J02"])
    checks.equal("23514", owner.code("UPDATE auth.issuers SET algorithms = '{ML-DSA-66}'"), "23514")
    owner.query("UPDATE auth.issuers SET algorithms = NULL")
    # One name of the key is withdrawn, as of any other key.
    owner.query("DELETE FROM auth.jwks WHERE kid = 'ml-dsa-87'")
    checks.equal("withdrawn", session.code(SIGN_IN, TOKENS["ml-dsa-87"]), "28J03")


def followed(checks, cluster, endpoint):
    """A table as Better Auth makes it."""
    db = cluster.create_db("followed")
    owner = cluster.session(db, "owner_role")
    owner.query(
        'CREATE TABLE jwks (id text PRIMARY KEY, "publicKey" text NOT NULL, "privateKey" text NOT NULL,'
        ' "createdAt" timestamptz NOT NULL DEFAULT now(), "expiresAt" timestamptz)'
    )
    for key in JWKS["keys"]:
        jwk = {name: key[name] for name in ("kty", "alg", "pub")}
        owner.execute(
            'INSERT INTO jwks (id, "publicKey", "privateKey") VALUES ($1, $2, $3)', key["kid"], json.dumps(jwk), ""
        )
    owner.query(f"SELECT auth.follow('jwks', '{ISSUER}', '{{{AUDIENCE}}}')")
    all_are_accepted(checks, "followed", cluster, db)
    states = owner.query("SELECT DISTINCT state FROM auth.key_status")
    checks.equal("key_status", states, [["live"]])


def fetched(checks, cluster, endpoint):
    """An endpoint."""
    db = cluster.create_db("fetched")
    owner = cluster.session(db, "owner_role")
    endpoint.script("/jwks", Answer(json.dumps(JWKS)))
    owner.query(f"SELECT auth.follow_url('{ISSUER}', '{endpoint.url}/jwks', '{{{AUDIENCE}}}')")
    checks.equal("refresh", owner.value(f"SELECT outcome FROM auth.refresh('{ISSUER}')"), "changed")
    all_are_accepted(checks, "fetched", cluster, db)


def lacking(checks, cluster, endpoint):
    """The build on RustCrypto."""
    db = cluster.create_db("lacking")
    owner = cluster.session(db, "owner_role")
    error = owner.error("SELECT auth.init($1, $2, $3)", json.dumps(JWKS), ISSUER, f"{{{AUDIENCE}}}")
    checks.true(f"the reason: {error}", "without aws-lc-rs" in f"{error.message} {error.detail}")
    checks.equal("22023", error.code, "22023")


checks = Checks()
parts = (lacking,) if os.environ.get("CRYPTO") == "rust_crypto" else (loaded, followed, fetched)
with fetching(checks, "ml_dsa") as (cluster, endpoint):
    checks.run(parts, checks, cluster, endpoint)
checks.done("tokens of ML-DSA are verified, whatever the source of their keys")
