#!/usr/bin/env python3
"""The memory of signatures that the sessions of a server share (pg_auth_jwt.signature_cache): it spares checks of
signatures, and no rule."""

import json
import os
import time

from lib import ed25519, tokens
from lib.pg import Cluster, PgError, SharedCluster, run

INIT = "SELECT auth.jwt_session_init($1)"
ISSUER = "https://signatures.test.example"
SETTING = "pg_auth_jwt.signature_cache"
EVENTS = "SELECT coalesce(sum(count), 0) FROM auth.stats WHERE scope = 'backend' AND event = '%s'"


def database(cluster, name="test_signature_cache"):
    db = cluster.create_db(name)
    owner = cluster.session(db, "owner_role")
    owner.query(
        f"SELECT auth.init('{ed25519.jwks(0, 1)}', issuer => '{ISSUER}');"
        + tokens.setup(0)
        + "GRANT SELECT ON auth.stats TO authenticated;"
        "GRANT EXECUTE ON FUNCTION auth.list_stats() TO authenticated;"
    )
    return db, owner


def token(sub="u1", key=0, **claims):
    return ed25519.token(key, ISSUER, sub, **claims)


class Newcomer:
    """A new session that verifies a token: `code` of a refusal, and whether the signature was `known`."""

    def __init__(self, cluster, db, text):
        with cluster.session(db) as session:
            self.code = session.code(INIT, text)
            self.known = session.value(EVENTS % "signature_cache_hit") == "1"
            self.accepted = session.value(EVENTS % "accepted") == "1"


def known_by_all(checks, cluster, name):
    db, _ = database(cluster)
    alice = token()
    first = Newcomer(cluster, db, alice)
    checks.equal(f"{name}: checked", (first.code, first.accepted, first.known), (None, True, False))
    for _ in range(3):
        again = Newcomer(cluster, db, alice)
        checks.equal(f"{name}: known in another session", (again.code, again.accepted, again.known), (None, True, True))
    checks.equal(f"{name}: another user's is not", Newcomer(cluster, db, token("u2")).known, False)
    for _ in range(2):
        checks.equal(f"{name}: no shared secret's", Newcomer(cluster, db, tokens.token("u1")).known, False)
    elsewhere, _ = database(cluster, "test_signature_cache_2")
    checks.equal(f"{name}: a signature is as good in another database", Newcomer(cluster, elsewhere, alice).known, True)
    with cluster.session(db) as session:
        session.execute(INIT, alice)
        before = session.value(EVENTS % "signature_cache_hit")
        for _ in range(3):
            session.execute(INIT, alice)
        checks.equal(
            f"{name}: not asked for what the session has", session.value(EVENTS % "signature_cache_hit"), before
        )


def rules_hold(checks, cluster, name):
    """Each for a signature that the memory has."""
    db, owner = database(cluster, "test_signature_rules")
    good = token(aud="app")
    Newcomer(cluster, db, good)
    checks.equal(f"{name}: known", Newcomer(cluster, db, good).known, True)
    issuer = f"WHERE issuer = '{ISSUER}'"
    for change, undo, code in [
        (f"UPDATE auth.issuers SET enabled = false {issuer}", "enabled = true", "28J03"),
        (f"UPDATE auth.issuers SET algorithms = '{{ES256}}' {issuer}", "algorithms = DEFAULT", "28J02"),
        (f"UPDATE auth.issuers SET audience = '{{other}}' {issuer}", "audience = NULL", "28J08"),
        (f"UPDATE auth.issuers SET required_claims = '{{nonce}}' {issuer}", "required_claims = DEFAULT", "28J09"),
    ]:
        owner.query(change)
        checks.equal(f"{name}: {change}", Newcomer(cluster, db, good).code, code)
        owner.query(f"UPDATE auth.issuers SET {undo} {issuer}")
        checks.equal(
            f"{name}: undone", vars(Newcomer(cluster, db, good)), {"code": None, "known": True, "accepted": True}
        )
    brief = token("brief", seconds=2)
    Newcomer(cluster, db, brief)
    owner.query(f"UPDATE auth.issuers SET leeway = '0 s' {issuer}")
    checks.equal(f"{name}: not past its end", until_refused(cluster, db, brief), "28J05")
    signed, _ = good.rsplit(".", 1)
    _, signature = token("u2", aud="app").rsplit(".", 1)
    for _ in range(2):
        checks.equal(f"{name}: another's signature", Newcomer(cluster, db, f"{signed}.{signature}").code, "28J04")
    owner.query(f"DELETE FROM auth.jwks {issuer} AND kid = '{ed25519.key(0).kid}'")
    checks.equal(f"{name}: no key any more", Newcomer(cluster, db, good).code, "28J03")
    # Another key under the key id of the one that signed.
    other = {**ed25519.key(5).jwk(), "kid": ed25519.key(0).kid}
    owner.execute(
        "INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ($1, $2, $3)", ISSUER, other["kid"], json.dumps(other)
    )
    checks.equal(f"{name}: another key under its name", Newcomer(cluster, db, good).code, "28J04")


def until_refused(cluster, db, text):
    for _ in range(200):
        code = Newcomer(cluster, db, text).code
        if code:
            return code
        time.sleep(0.05)
    return None


def set_by(checks, cluster, name, preloaded):
    """It is a setting of the server's."""
    db = "test_signature_cache"
    root = cluster.session(db, "postgres")
    root.query("LOAD 'pg_auth_jwt'")
    context = "postmaster" if preloaded else "sighup"
    checks.equal(f"{name}: context", root.value(f"SELECT context FROM pg_settings WHERE name = '{SETTING}'"), context)
    checks.equal(f"{name}: default", root.value(f"SHOW {SETTING}"), "1MB")
    for statement in (f"SET {SETTING} = 0", f"ALTER ROLE authenticated SET {SETTING} = '2MB'"):
        checks.equal(f"{name}: {statement}", root.code(statement), "55P02")
    checks.equal(f"{name}: no size", root.code(f"ALTER SYSTEM SET {SETTING} = 'large'"), "22023")
    root.close()


def lost_in_a_crash(checks, cluster, name):
    """The memory and its secret end with the server's processes."""
    db = "test_signature_cache"
    alice = token("crash")
    Newcomer(cluster, db, alice)
    checks.equal(f"{name}: known", Newcomer(cluster, db, alice).known, True)
    victim, witness = cluster.session(db), cluster.session(db)
    cluster.as_pg("pg_ctl", "kill", "KILL", str(victim.backend))
    try:
        witness.query("SELECT pg_sleep(60)")
    except (PgError, OSError):
        pass
    for _ in range(200):
        try:
            first = Newcomer(cluster, db, alice)
            break
        except (PgError, OSError):
            time.sleep(0.05)
    checks.equal(f"{name}: checked anew", (first.code, first.known), (None, False))
    checks.equal(f"{name}: and known again", Newcomer(cluster, db, alice).known, True)


def loaded_by_the_server(checks, _, version):
    with Cluster("signatures", shared_preload_libraries="pg_auth_jwt") as cluster:
        known_by_all(checks, cluster, "preloaded")
        rules_hold(checks, cluster, "preloaded")
        set_by(checks, cluster, "preloaded", preloaded=True)
        lost_in_a_crash(checks, cluster, "preloaded")


def turned_off(checks, _, version):
    with Cluster("signatures", shared_preload_libraries="pg_auth_jwt", **{SETTING: "0"}) as cluster:
        db, _ = database(cluster)
        alice = token()
        for _ in range(3):
            newcomer = Newcomer(cluster, db, alice)
            checks.equal("off", (newcomer.code, newcomer.known), (None, False))


def loaded_by_sessions(checks, _, version):
    with Cluster("signatures") as cluster:
        if version < 17:
            db, _ = database(cluster)
            alice = token()
            for _ in range(3):
                newcomer = Newcomer(cluster, db, alice)
                checks.equal("no registry", (newcomer.code, newcomer.known), (None, False))
            return
        known_by_all(checks, cluster, "registry")
        rules_hold(checks, cluster, "registry")
        set_by(checks, cluster, "registry", preloaded=False)
        lost_in_a_crash(checks, cluster, "registry")
        root = cluster.session("test_signature_cache", "postgres")
        root.query("LOAD 'pg_auth_jwt'")
        root.query(f"ALTER SYSTEM SET {SETTING} = 0")
        root.query("SELECT pg_reload_conf()")
        size = f"SELECT setting FROM pg_settings WHERE name = '{SETTING}'"
        while root.value(size) != "0":
            time.sleep(0.02)
        alice = token()
        off = [Newcomer(cluster, "test_signature_cache", alice).known for _ in range(2)]
        checks.equal("off for new sessions", off, [False, False])
        root.query(f"ALTER SYSTEM SET {SETTING} = '64kB'")
        root.query("SELECT pg_reload_conf()")
        while root.value(size) != "64kB":
            time.sleep(0.02)
        other_size = [Newcomer(cluster, "test_signature_cache", alice).known for _ in range(2)]
        checks.equal("another size is another memory", other_size, [False, True])


def memory_that_cannot_be_had(checks, _, version):
    """The server has no room for a segment: each session goes on alone, in the same transaction."""
    if version < 17:
        return
    with Cluster("signatures", dynamic_shared_memory_type="mmap") as cluster:
        db, owner = database(cluster)
        owner.query("CREATE TABLE written (n int); GRANT ALL ON written TO authenticated")
        os.chmod(f"{cluster.dir}/data/pg_dynshmem", 0o500)
        for n in range(3):
            with cluster.session(db) as session:
                session.query("BEGIN")
                session.query(f"INSERT INTO written VALUES ({n})")
                session.execute(INIT, token())
                checks.equal("the session goes on", session.value("SELECT auth.user_id()"), "u1")
                session.query(f"SAVEPOINT s; INSERT INTO written VALUES ({n + 10}); ROLLBACK TO s; COMMIT")
        checks.equal("nothing is lost", owner.value("SELECT array_agg(n ORDER BY n) FROM written"), "{0,1,2}")
        lines = [line for line in cluster.log().splitlines() if "shares no memory with others" in line]
        checks.true("the log says so", lines and all("SQLSTATE" in line for line in lines))
        os.chmod(f"{cluster.dir}/data/pg_dynshmem", 0o700)
        alice = token()
        Newcomer(cluster, db, alice)
        checks.equal("shared once there is room", Newcomer(cluster, db, alice).known, True)


shared = SharedCluster()
with shared.session("postgres", "postgres") as session:
    version = int(session.value("SHOW server_version_num")) // 10000
run(
    "signatures that another session has checked are known, and no rule is spared",
    (loaded_by_the_server, turned_off, loaded_by_sessions, memory_that_cannot_be_had),
    shared,
    version,
)
