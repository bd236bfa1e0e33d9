#!/usr/bin/env python3
"""Backends are killed, servers crash, statements are cancelled, and the extension is dropped while
sessions use it: what follows is refused or right, and never an identity that should be gone."""

import itertools
import os
import signal
import time

from lib import tokens
from lib.pg import Checks, Cluster, PgError, shell

WHO = "SELECT auth.user_id()"

# Verifies endlessly, each time another token.
LOOP = """DO $$
BEGIN
    FOR n IN 1 .. 2000000000 LOOP
        PERFORM auth.jwt_session_init(test_token('u' || n));
    END LOOP;
END $$"""


SCHEMA = """
CREATE TABLE things AS SELECT 'u' || n % 3 AS owner FROM generate_series(1, 9) n;
ALTER TABLE things ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON things TO authenticated;
"""


def init(session, sub="u1", **options):
    session.execute("SELECT auth.jwt_session_init($1)", tokens.token(sub, **options))
    return session


def dies(session):
    try:
        session.receive()
    except (PgError, ConnectionError):
        return True


def cancelled(checks, cluster, db):
    """Cancelled during verification. The session's identity stays as it was before."""
    s, root = init(cluster.session(db)), cluster.session(db, "postgres")
    for delay in (0.05, 0.1, 0.2):
        s.begin_query(LOOP)
        time.sleep(delay)
        root.query(f"SELECT pg_cancel_backend({s.backend})")
        # The query may have ended before.
        checks.true("cancelled", s.code() in (None, "57014"))
        checks.equal("after the cancel", s.value(WHO), "u1")
    s.query("SET statement_timeout = 50")
    for _ in range(5):
        checks.equal("timed out", s.code(LOOP), "57014")
        checks.equal("after the timeout", s.value(WHO), "u1")
    s.begin_query(LOOP)
    root.query(f"SELECT pg_terminate_backend({s.backend})")
    checks.true("terminated", dies(s))


def cancelled_while_logging(checks, cluster, db):
    """Cancelled directly after a token was verified. No effect of the token may stay."""
    root = cluster.session(db, "postgres")
    root.query(
        f"ALTER DATABASE {db} SET pg_auth_jwt.audit_log = 'all'; ALTER DATABASE {db} SET pg_auth_jwt.cache_size = 0"
    )
    s = cluster.session(db)
    root.query(f"ALTER DATABASE {db} RESET ALL")
    s.execute("SELECT set_config('test.token', $1, false)", tokens.token("u1", filler="x" * 45000))
    s.query("""CREATE FUNCTION pg_temp.run() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            LOOP
                PERFORM auth.jwt_session_init(current_setting('test.token'));
                PERFORM auth.jwt_session_init('');
            END LOOP;
        EXCEPTION WHEN query_canceled THEN
        END $$""")
    s.query("SET statement_timeout = '3 ms'")

    def memory_after(cancels):
        for _ in range(cancels):
            s.code("SELECT pg_temp.run()")
        with open(f"/proc/{s.backend}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private"))

    # A leak grows in every round; the allocator may take a few MiB in one of them.
    rounds = [memory_after(150) for _ in range(4)]
    grown = min(later - former for former, later in itertools.pairwise(rounds))
    checks.true(f"150 cancels leave less than 1 MiB behind (and not {grown} KiB, of {rounds})", grown < 1024)
    s.query("RESET statement_timeout")
    checks.equal("and still verifies", init(s).value(WHO), "u1")


def too_long_for_memory(checks, cluster, db):
    """A setting far longer than any token, where there is no memory for a copy of it."""
    s = cluster.session(db)
    checks.equal("loaded", s.value(WHO), None)
    s.query("DO $$ BEGIN EXECUTE format('SET pg_auth_jwt.token = %L', repeat('x', 100000000)); END $$")
    with open(f"/proc/{s.backend}/statm") as file:
        address_space = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    shell('as_pg prlimit --pid "$1" --as="$2"', str(s.backend), str(address_space + (20 << 20)))
    checks.equal("too long", s.code(WHO), "28J01")
    s.query("RESET pg_auth_jwt.token")
    checks.equal("and out of the way", init(s).value(WHO), "u1")


def dropped(checks, cluster, db):
    """Drops the extension while a session has cached its token."""
    owner = cluster.session(db, "owner_role")
    s = init(cluster.session(db))
    s.query("PREPARE who AS SELECT auth.user_id()")
    s.query("CREATE FUNCTION pg_temp.who() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN auth.user_id(); END'")
    readings = [WHO, "EXECUTE who", "SELECT pg_temp.who()"]
    for reading in readings:
        checks.equal(reading, s.value(reading), "u1")

    # The library's function by another name, as only a superuser can declare it.
    cluster.session(db, "postgres").query(
        "CREATE FUNCTION left_behind() RETURNS text LANGUAGE c AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_user_id'"
    )
    owner.query("CREATE TABLE saved_issuers AS TABLE auth.issuers; CREATE TABLE saved_jwks AS TABLE auth.jwks")

    checks.equal("with a policy that needs it", owner.code("DROP EXTENSION pg_auth_jwt"), "2BP01")
    checks.equal("and still there", s.value(WHO), "u1")
    # No table becomes open: its policies are dropped too, and row-level security stays enabled.
    owner.query("BEGIN; DROP EXTENSION pg_auth_jwt CASCADE")
    s.query("SET lock_timeout = 200")
    # Dropping the policy has locked the table.
    checks.equal("while it is being dropped", s.code("SELECT count(*) FROM things"), "55P03")
    owner.query("ROLLBACK")
    for reading in readings:
        checks.equal(f"{reading}, not dropped after all", s.value(reading), "u1")

    owner.query("DROP EXTENSION pg_auth_jwt CASCADE")
    for reading in readings:
        checks.equal(f"{reading}, dropped", s.code(reading), "3F000")
    checks.equal("rows without the policy", s.value("SELECT count(*) FROM things"), "0")
    # Tables of these names that do not belong to the extension are not used.
    owner.query(
        "CREATE SCHEMA auth; CREATE TABLE auth.issuers AS SELECT * FROM saved_issuers;"
        "CREATE TABLE auth.jwks AS SELECT * FROM saved_jwks"
    )
    checks.equal("look-alikes", s.code("SELECT left_behind()"), "28J03")
    owner.query("DROP SCHEMA auth CASCADE")

    owner.query("CREATE EXTENSION pg_auth_jwt")
    for reading in readings:
        checks.equal(f"{reading}, created anew", s.code(reading), "28J13")
    owner.query(tokens.setup(0))
    for reading in readings:
        checks.equal(f"{reading}, keys loaded", s.value(reading), "u1")
    owner.query("DELETE FROM auth.jwks")
    checks.equal("withdrawn from the new tables", s.code(WHO), "28J03")
    owner.query(
        f"SELECT auth.init('{tokens.jwks(0)}', issuer => '{tokens.ISSUER}');"
        "CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id())"
    )
    # While others wait for it: a new session, and one that has to read the keys again.
    policy = "CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());"
    for ending, after in (("COMMIT", "28J03"), ("CREATE EXTENSION pg_auth_jwt; COMMIT", "28J13"), ("ROLLBACK", None)):
        waiting = [cluster.session(db) for _ in range(2)]
        for session in waiting:
            session.code(WHO)
        init(waiting[1])
        owner.query("UPDATE auth.issuers SET leeway = '1 s'")
        owner.query("BEGIN; DROP EXTENSION pg_auth_jwt CASCADE")
        waiting[0].begin_query(f"SELECT auth.jwt_session_init('{tokens.token('u1')}')")
        waiting[1].begin_query(WHO)
        while (
            owner.value(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            != "2"
        ):
            time.sleep(0.02)
        owner.query(ending)
        for session in waiting:
            checks.equal(f"waiting for DROP EXTENSION, {ending}", session.code(), after)
        owner.query(
            "" if ending == "ROLLBACK" else "CREATE EXTENSION IF NOT EXISTS pg_auth_jwt;" + tokens.setup(0) + policy
        )
    # In one transaction, while a session never sees it missing.
    owner.query("BEGIN; DROP EXTENSION pg_auth_jwt CASCADE; CREATE EXTENSION pg_auth_jwt; COMMIT")
    checks.equal("replaced", s.code(WHO), "28J13")
    owner.query(tokens.setup(0) + "CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id())")


def killed(checks, cluster, db):
    """A backend that verifies is killed: the server restarts, with the same keys."""
    s = cluster.session(db)
    s.begin_query(LOOP)
    time.sleep(0.2)
    os.kill(s.backend, signal.SIGKILL)
    checks.true("killed", dies(s))
    while cluster.log().count("ready to accept connections") < 2:
        time.sleep(0.05)
    after_crash(checks, cluster, db)


def shut_down_at_once(checks, cluster, db):
    """The server crashes during verification and during an uncommitted change of keys."""
    s, owner = cluster.session(db), cluster.session(db, "owner_role")
    s.begin_query(LOOP)
    owner.query("BEGIN; DELETE FROM auth.jwks")
    cluster.control("stop", "-m", "immediate")
    checks.true("shut down", dies(s))
    cluster.script("start")
    after_crash(checks, cluster, db)


def after_crash(checks, cluster, db):
    s = cluster.session(db)
    checks.equal("nobody at first", s.value(WHO), None)
    checks.equal("key of before", init(s).query("SELECT DISTINCT owner FROM things"), [["u1"]])
    checks.equal("key withdrawn before", s.code("SELECT auth.jwt_session_init($1)", tokens.token("u1", key=1)), "28J03")


def restored(part):
    """Key k1 is deleted when the part begins."""
    owner = cluster.session(db, "owner_role")
    owner.query(f"SELECT auth.init('{tokens.jwks(0, 1)}', issuer => '{tokens.ISSUER}')")
    owner.query("DELETE FROM auth.jwks WHERE kid = 'k1'")
    return db


checks = Checks()
with Cluster("faults", fsync="on") as cluster:
    db = cluster.create_db("test")
    cluster.session(db, "owner_role").query(tokens.setup() + tokens.sql() + SCHEMA)
    checks.run((cancelled, cancelled_while_logging, too_long_for_memory, dropped), checks, cluster, db)
    checks.run((killed, shut_down_at_once), checks, cluster, restored)
    checks.equal("crashes that nobody ordered", cluster.log().count("was terminated by signal") - 1, 0)
checks.done("cancelled, killed, crashed, dropped: nothing accepted that should not be")
