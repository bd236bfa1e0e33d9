#!/usr/bin/env python3
"""Behind Pgpool-II, which sends reads to a standby: a transaction with a user goes to the primary, or has its user on
the standby too, if the token comes by SET LOCAL. Neither the kept connections nor the cache of results give a user the
rows of another."""

import sys
import time

from lib import pgpool, tokens
from lib.pg import Checks, Cluster

SCHEMA = """
CREATE TABLE notes (owner text, note text);
INSERT INTO notes SELECT 'u' || n, 'note of u' || n FROM generate_series(1, 9) n;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
CREATE TABLE public_notes (n int);
GRANT SELECT ON notes, public_notes TO authenticated;
"""
NODE = "SELECT current_setting('transaction_read_only')"
NOTES = "SELECT note FROM notes"
PRIMARY, STANDBY = "off", "on"


def replayed(primary, standby):
    """Waits until the standby has replayed what the primary has written by now."""
    position = primary.value("SELECT pg_current_wal_flush_lsn()")
    for _ in range(600):
        if standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t":
            return
        time.sleep(0.05)
    sys.exit("the standby does not come forward")


def sign_in(session, user, extended=False):
    session.query("BEGIN")
    if extended:
        session.execute("SELECT auth.jwt_session_init($1)", tokens.token(user))
    else:
        session.query(f"SELECT auth.jwt_session_init('{tokens.token(user)}')")


def set_local(session, user):
    session.query("BEGIN")
    session.query(f"SET LOCAL pg_auth_jwt.token = '{tokens.token(user)}'")


def goes_where(checks, pool):
    """As configured by default, a transaction goes to the primary, once it has a user."""
    session = pool.session()
    checks.equal("a read", session.value(NODE), STANDBY)
    checks.equal("a read without a user", session.query(NOTES), [])
    for user, begin, *how in [
        ("u1", sign_in),
        ("u2", sign_in, True),
        ("u1", set_local),
        ("u3", sign_in),
        ("u4", set_local),
        ("u5", sign_in, True),
    ]:
        what, own = f"{user}, {begin.__name__}", [[f"note of {user}"]]
        begin(session, user, *how)
        checks.equal(f"{what}: the server", session.value(NODE), PRIMARY)
        checks.equal(f"{what}: rows", session.query(NOTES), own)
        checks.equal(f"{what}: rows, extended", session.execute(NOTES), own)
        session.query("COMMIT")
        checks.equal(f"{what}: afterwards", (session.value(NODE), session.query(NOTES)), (STANDBY, []))

    # For the session, the primary alone has the user: no rows from the standby, and never another's.
    session.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u1"))
    checks.equal("of the session, on the standby", (session.value(NODE), session.query(NOTES)), (STANDBY, []))
    session.query(f"SET pg_auth_jwt.token = '{tokens.token('u1')}'")
    checks.equal("of the session, by SET", (session.value(NODE), session.query(NOTES)), (STANDBY, [["note of u1"]]))
    session.close()
    # The connection to each server is kept for the next client.
    session = pool.session()
    checks.equal("the next client", session.query(NOTES), [])
    session.close()


def reads_from_standby(checks, pool):
    """With disable_load_balance_on_write = off, reads of a transaction go to the standby, where SET LOCAL brings the
    user to, and jwt_session_init does not."""
    session = pool.session()
    for user in ("u1", "u2"):
        set_local(session, user)
        checks.equal(f"{user}, SET LOCAL: the server", session.value(NODE), STANDBY)
        checks.equal(f"{user}, SET LOCAL: rows", session.query(NOTES), [[f"note of {user}"]])
        session.query("COMMIT")
        checks.equal(f"{user}: afterwards", session.query(NOTES), [])
        sign_in(session, user)
        checks.equal(f"{user}, jwt_session_init: the server", session.value(NODE), STANDBY)
        checks.equal(f"{user}, jwt_session_init: no rows", session.query(NOTES), [])
        session.query("COMMIT")
    session.close()


def caches_results(checks, pool, owner, catch_up):
    """The cache knows a statement by its text, the database and the role. Since the fix of CVE-2024-45624 it keeps
    nothing of a table with policies."""
    session = pool.session()
    count = "SELECT count(*) FROM public_notes"
    checks.equal("a table without policies", session.value(count), "0")
    owner.query("INSERT INTO public_notes VALUES (1)")
    catch_up()
    checks.equal("is cached", session.value(count), "0")
    for user in ("u1", "u2"):
        session.query(f"SET pg_auth_jwt.token = '{tokens.token(user)}'")
        checks.equal(f"{user}, SET", session.query(NOTES), [[f"note of {user}"]])
        session.query("RESET pg_auth_jwt.token")
        for begin in (sign_in, set_local):
            begin(session, user)
            checks.equal(f"{user}, {begin.__name__}", session.query(NOTES), [[f"note of {user}"]])
            session.query("COMMIT")
    session.close()


def main():
    checks = Checks()
    if not pgpool.is_here():
        checks.skip_all("needs Pgpool-II")
    with (
        Cluster("pgpool_primary", synchronous_commit="local") as primary,
        Cluster("pgpool_standby", standby_of=primary) as standby,
    ):
        db = primary.create_db("test")
        owner = primary.session(db, "owner_role")
        owner.query(tokens.setup(0) + SCHEMA)
        monitor = standby.session("postgres", "postgres")

        def catch_up():
            replayed(owner, monitor)

        catch_up()
        for part, settings, *more in [
            (goes_where, {}),
            (reads_from_standby, {"disable_load_balance_on_write": "off"}),
            (caches_results, {"memory_cache_enabled": "on"}, owner, catch_up),
        ]:
            with pgpool.Pgpool(primary, standby, db, **settings) as pool:
                part(checks, pool, *more)
    checks.done("each user has their own rows, or none, from the primary and from the standby")


main()
