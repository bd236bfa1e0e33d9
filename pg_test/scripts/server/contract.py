#!/usr/bin/env python3
"""A library is replaced for the whole server at once, the SQL of each database when its owner says
so. So the library has to serve the install scripts of all versions before it (tables as they were:
see sql/altered.sql), and an update must not disturb sessions at work."""

import json
import os
import shutil

from lib import tokens
from lib.oauth_client import has_login
from lib.pg import HERE, Cluster, run, shell

WHO = "SELECT auth.user_id()"
ORGANIZATION = {"id": "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"}
CLAIMS = {"sub": "7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22", "role": "r", "email": "e", "o": ORGANIZATION}
SETTINGS = [
    "token",
    "scope",
    "cache_size",
    "signature_cache",
    "audit_log",
    "evaluate_once",
    "require_token",
    "fetch_hosts",
    "fetch_ca_file",
    "fetch_wait",
    "unverified_claims",
]
# Settings of Postgres 18 and later.
LOGIN_SETTINGS = ["login_database", "login_claim", "login_superuser", "login_session", "login_workers"]
CLAIM_FUNCTIONS = {
    "user_id": CLAIMS["sub"],
    "uid": CLAIMS["sub"],
    "role": "r",
    "email": "e",
    "organization": json.dumps(ORGANIZATION),
    "organization_id": ORGANIZATION["id"],
}

# Additions that a newer version may have.
UPDATE = """
ALTER TABLE auth.issuers ADD COLUMN note text NOT NULL DEFAULT 'none';
CREATE FUNCTION auth.subject() RETURNS text LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pg_auth_jwt_user_id';
CREATE OR REPLACE FUNCTION auth.user_id() RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_user_id';
ALTER TABLE auth.jwks ADD COLUMN note text;
"""


def frozen(checks, cluster, db):
    """The functions as 0.1.0 declares them."""
    root = cluster.session(db, "postgres")
    with open(f"{HERE}/fixtures/contract-0.1.0.sql") as file:
        root.query("CREATE SCHEMA frozen; GRANT ALL ON SCHEMA frozen TO PUBLIC")
        root.query(file.read())  # Fails where a symbol is missing, or is of another calling convention.

    s = cluster.session(db, "owner_role")
    token = tokens.token(**CLAIMS)
    checks.equal("init", s.value(f"SELECT frozen.init('{tokens.jwks(0, 1)}', '{tokens.ISSUER}')"), "2")
    checks.equal("no token", s.value("SELECT frozen.session() IS NULL AND frozen.user_id() IS NULL"), "t")
    checks.equal("jwt_session_init, jwt =>", s.code("SELECT frozen.jwt_session_init(jwt => $1)", token), None)
    checks.equal("jwt_session_init", s.code("SELECT frozen.jwt_session_init($1, false)", token), None)
    for function, wanted in CLAIM_FUNCTIONS.items():
        checks.equal(function, s.value(f"SELECT frozen.{function}()"), wanted)
    checks.equal(
        "claims", s.value("SELECT frozen.session() = frozen.jwt() AND frozen.jwt() = frozen.verify($1)", token), "t"
    )
    checks.equal(
        "inspect", s.value("SELECT bool_and(ok AND step <> '' AND detail <> '') FROM frozen.inspect($1)", token), "t"
    )
    checks.equal("refused", s.code("SELECT frozen.verify('x')"), "28J01")
    s.query("CREATE TABLE frozen_keys (id text, public_key text)")
    followed = "SELECT frozen.follow('frozen_keys', 'https://followed.example', '{a}')"
    checks.equal("follow", s.value(followed), "0")
    checks.equal(
        "list_keys", s.value("SELECT source FROM frozen.list_keys() WHERE issuer ~ 'followed'"), "public.frozen_keys"
    )
    checks.equal("unfollow", s.value("SELECT frozen.unfollow('https://followed.example')"), "t")
    known = "SELECT frozen.algorithms_are_known('{ES256,EdDSA}'), frozen.algorithms_are_known('{none}')"
    checks.equal("algorithms_are_known", s.query(known), [["t", "f"]])
    checks.equal("STRICT", s.value("SELECT frozen.verify(NULL)"), None)
    root.query(
        "CREATE TABLE frozen.jwks (LIKE auth.jwks INCLUDING DEFAULTS);"
        "CREATE TRIGGER a BEFORE INSERT ON frozen.jwks FOR EACH ROW EXECUTE FUNCTION frozen.admit_key();"
        "CREATE TRIGGER b AFTER INSERT ON frozen.jwks FOR EACH ROW EXECUTE FUNCTION frozen.keys_changed();"
        f"INSERT INTO frozen.jwks (issuer, jwk) VALUES ('{tokens.ISSUER}', '{json.dumps(tokens.jwk(2))}')"
    )
    root.query(
        "CREATE TABLE frozen.revocations (LIKE auth.revocations INCLUDING DEFAULTS);"
        "CREATE TRIGGER a AFTER INSERT ON frozen.revocations FOR EACH ROW EXECUTE FUNCTION frozen.revocations_changed()"
    )
    unknown = f"INSERT INTO frozen.revocations (issuer, kind) VALUES ('{tokens.ISSUER}', 'x')"
    checks.equal("revocations are checked", root.code(unknown), "23514")
    checks.equal("revoke", root.code(f"SELECT frozen.revoke('{tokens.ISSUER}', sub => 'mallory')"), None)
    checks.equal("unrevoke", root.value(f"SELECT frozen.unrevoke('{tokens.ISSUER}', sub => 'mallory')"), "t")
    s.query("CREATE TABLE frozen_sessions (id text PRIMARY KEY)")
    sessions = f"SELECT frozen.follow_sessions('frozen_sessions', '{tokens.ISSUER}')"
    checks.equal("follow_sessions", s.code(sessions), None)
    checks.equal("session sources", s.value("SELECT state FROM frozen.list_session_sources()"), "live")
    checks.equal("unfollow_sessions", s.value(f"SELECT frozen.unfollow_sessions('{tokens.ISSUER}')"), "t")
    checks.equal("triggers", root.value("SELECT kid || ' ' || length(thumbprint) FROM frozen.jwks"), "k2 43")
    for setting in SETTINGS:
        checks.equal(setting, root.code(f"SHOW pg_auth_jwt.{setting}"), None)
    for setting in LOGIN_SETTINGS:
        checks.equal(setting, root.code(f"SHOW pg_auth_jwt.{setting}"), None if has_login() else "42704")

    # Whether the list is complete can only be checked with the script that it was taken from.
    if root.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_auth_jwt'") == "0.1.0":
        symbols = (
            "SELECT DISTINCT prosrc FROM pg_proc WHERE pronamespace = '%s'::regnamespace AND prolang = "
            "(SELECT oid FROM pg_language WHERE lanname = 'c') ORDER BY 1"
        )
        checks.equal("the list", root.query(symbols % "frozen"), root.query(symbols % "auth"))
    root.query("DROP SCHEMA frozen CASCADE")


def updated(checks, cluster, db):
    """ALTER EXTENSION ... UPDATE, and a new file of the library, under a session at work."""
    owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
    owner.query(
        "CREATE TABLE things AS SELECT 'u' || n % 3 AS owner FROM generate_series(1, 9) n;"
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());"
        "GRANT SELECT ON things TO authenticated"
    )
    s = cluster.session(db)
    s.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
    s.query(
        "SET plan_cache_mode = force_generic_plan; PREPARE things AS SELECT DISTINCT owner FROM things;"
        "CREATE FUNCTION pg_temp.who() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN auth.user_id(); END'"
    )
    readings = [WHO, "EXECUTE things", "SELECT pg_temp.who()"]

    def reads(what, wanted):
        for reading in readings:
            checks.equal(f"{what}: {reading}", s.code(reading) or s.value(reading), wanted)

    reads("before", "u1")
    version = root.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_auth_jwt'")
    library = shell('"$PG_BIN/pg_config" --pkglibdir') + "/pg_auth_jwt.so"
    script = shell('"$PG_BIN/pg_config" --sharedir') + f"/extension/pg_auth_jwt--{version}--{version}.next.sql"
    try:
        with open(script, "w") as file:
            file.write(UPDATE)
        shutil.copy(library, f"{library}.new")
        os.rename(f"{library}.new", library)
        reads("a new file", "u1")
        root.query(f"BEGIN; ALTER EXTENSION pg_auth_jwt UPDATE TO '{version}.next'")
        root.query("ROLLBACK")
        reads("not updated after all", "u1")
        root.query(f"ALTER EXTENSION pg_auth_jwt UPDATE TO '{version}.next'")
    finally:
        os.remove(script)
    reads("updated", "u1")
    checks.equal("what is new", s.value("SELECT auth.subject()"), "u1")
    fresh = cluster.session(db)
    fresh.execute("SELECT auth.jwt_session_init($1)", tokens.token("u2"))
    checks.equal("who comes later", fresh.value(WHO), "u2")

    owner.query("DELETE FROM auth.jwks WHERE kid = 'k0'")
    reads("withdrawn", "28J03")
    checks.equal("withdrawn, for who came later", fresh.code(WHO), "28J03")
    owner.query(f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{tokens.ISSUER}', '{json.dumps(tokens.jwk(0))}')")
    reads("restored", "u1")
    owner.query("UPDATE auth.issuers SET enabled = false, note = 'gone bad'")
    reads("disabled", "28J03")


with Cluster("contract") as cluster:
    db = cluster.create_db("test")
    cluster.session(db, "owner_role").query(tokens.setup(0, 1))
    run(
        "the library serves the first version's SQL, and an update passes under those at work",
        (frozen, updated),
        cluster,
        db,
    )
