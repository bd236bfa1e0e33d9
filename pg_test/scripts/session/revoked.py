#!/usr/bin/env python3
"""A revoked token is refused whatever happens to auth.revocations meanwhile, and to the sessions that look at it."""

from lib import tokens
from lib.pg import Checks, Cluster

INIT = "SELECT auth.jwt_session_init($1, false)"
WHO = "SELECT auth.user_id()"
REVOKE = "SELECT auth.revoke($1, sub => $2, issued_before => 'infinity')"
UNREVOKE = "SELECT auth.unrevoke($1, sub => $2)"


class Place:
    """A database with an issuer."""

    def __init__(self, cluster, db):
        self.cluster, self.db = cluster, db
        self.root = cluster.session(db, "postgres")
        self.owner = cluster.session(db, "owner_role")
        self.owner.query(tokens.setup(0))

    def session(self, sub="u1"):
        s = self.cluster.session(self.db)
        s.execute(INIT, tokens.token(sub))
        return s

    def revoke(self, sub="u1"):
        self.owner.execute(REVOKE, tokens.ISSUER, sub)

    def unrevoke(self, sub="u1"):
        self.owner.execute(UNREVOKE, tokens.ISSUER, sub)

    def is_refused(self, checks, what, s, sub="u1"):
        """Good before, refused after, and good again."""
        checks.equal(f"{what}: before", [s.code(WHO), s.value(WHO)], [None, sub])
        self.revoke(sub)
        checks.equal(f"{what}: after", s.code(WHO), "28J10")
        self.unrevoke(sub)
        checks.equal(f"{what}: again", s.code(WHO), None)


def given_up(checks, place):
    """A first look at the table that ends in an error, because it is locked."""
    for limit, code in (("lock_timeout", "55P03"), ("statement_timeout", "57014")):
        s = place.cluster.session(place.db)
        s.query(f"SET {limit} = '100 ms'")
        place.root.query("BEGIN; LOCK TABLE auth.revocations")
        checks.equal(limit, s.code(INIT, tokens.token("u1")), code)
        place.root.query("ROLLBACK")
        s.query(f"RESET {limit}")
        s.execute(INIT, tokens.token("u1"))
        place.is_refused(checks, limit, s)
        s.close()


def rewritten(checks, place):
    """Commands that give the table other files, and another TOAST table."""
    s = place.session()
    for command in (
        "VACUUM auth.revocations",
        "VACUUM FULL auth.revocations",
        "CLUSTER auth.revocations USING revocations_pkey",
        "REINDEX TABLE auth.revocations",
        "REINDEX TABLE CONCURRENTLY auth.revocations",
        "TRUNCATE auth.revocations",
        "ALTER TABLE auth.revocations SET UNLOGGED",
        "ALTER TABLE auth.revocations SET LOGGED",
        "ALTER TABLE auth.revocations ADD COLUMN note text DEFAULT clock_timestamp()::text",
        "ALTER TABLE auth.revocations DROP COLUMN note",
        "ALTER TABLE auth.revocations SET (fillfactor = 50)",
        "ALTER TABLE auth.revocations DISABLE TRIGGER ALL",
        "VACUUM FULL auth.revocations",
        "ALTER TABLE auth.revocations ENABLE ALWAYS TRIGGER revocations_changed",
        "ALTER TABLE auth.revocations ENABLE TRIGGER revocations_changed",
        "ALTER TABLE auth.revocations ENABLE REPLICA TRIGGER revocations_changed",
        "ALTER TABLE auth.revocations ENABLE ALWAYS TRIGGER revocations_changed",
        "ALTER TABLE auth.revocations ENABLE ALWAYS TRIGGER revocations_truncated",
    ):
        place.root.query(command)
        place.is_refused(checks, command, s)
        other = place.session("u2")
        place.is_refused(checks, f"{command}, after a connection", other, "u2")
        other.close()
    # In one transaction with the revocation, in both orders.
    for rewrite in (
        "TRUNCATE auth.revocations",
        "ALTER TABLE auth.revocations ALTER reason TYPE varchar; ALTER TABLE auth.revocations ALTER reason TYPE text",
    ):
        place.root.query("BEGIN; " + rewrite)
        place.root.execute(REVOKE, tokens.ISSUER, "u1")
        place.root.query("COMMIT")
        checks.equal(f"{rewrite}, revoke", s.code(WHO), "28J10")
        place.unrevoke()
        checks.equal(f"{rewrite}, unrevoke", s.code(WHO), None)
    place.root.query("BEGIN")
    place.root.execute(REVOKE, tokens.ISSUER, "u1")
    place.root.query("ALTER TABLE auth.revocations ADD x text DEFAULT clock_timestamp(); COMMIT")
    checks.equal("revoke, ALTER", s.code(WHO), "28J10")


def renamed(checks, place):
    """Another table in place of it."""
    s = place.session()
    place.root.query("ALTER TABLE auth.revocations RENAME TO gone")
    checks.equal("missing", s.code(WHO), "55000")
    place.root.query("ALTER TABLE auth.gone RENAME TO revocations")
    place.is_refused(checks, "renamed back", s)
    place.root.query("ALTER EXTENSION pg_auth_jwt DROP TABLE auth.revocations")
    new = place.cluster.session(place.db)
    checks.equal("not of the extension", new.code(INIT, tokens.token("u1")), "55000")
    new.close()
    place.root.query("ALTER EXTENSION pg_auth_jwt ADD TABLE auth.revocations")
    place.is_refused(checks, "of the extension", s)
    place.root.query("DROP EXTENSION pg_auth_jwt; CREATE EXTENSION pg_auth_jwt")
    place.root.query(tokens.setup(0))
    place.root.query("SELECT auth.grant_to('owner_role', true)")
    place.is_refused(checks, "of another extension", s)
    # Statements in one transaction: the table that is seen there is not the one that stays.
    t = place.cluster.session(place.db, "postgres")
    t.execute(INIT, tokens.token("u1"))
    t.query("BEGIN; SAVEPOINT a; DROP EXTENSION pg_auth_jwt; CREATE EXTENSION pg_auth_jwt")
    t.query(tokens.setup(0))
    checks.equal("an own new table", t.value(WHO), "u1")
    t.query("ROLLBACK TO a")
    checks.equal("the old one", t.value(WHO), "u1")
    t.query("COMMIT")
    place.is_refused(checks, "after own rollback", t)


def undone(checks, place):
    """A verdict by rows that the session's own transaction has changed, and not committed."""
    s = place.cluster.session(place.db, "postgres")
    s.execute(INIT, tokens.token("u1"))
    other = place.session("u1")
    for end in ("ROLLBACK", "ROLLBACK TO a", "PREPARE TRANSACTION 'p'", "error"):
        place.revoke()
        checks.equal(f"{end}: revoked", s.code(WHO), "28J10")
        s.query("BEGIN; SAVEPOINT a; DELETE FROM auth.revocations")
        checks.equal(f"{end}: deleted", s.value(WHO), "u1")
        if end == "error":
            s.code("SELECT 1/0")
            s.query("ROLLBACK TO a")
        else:
            s.query(end)
        checks.equal(f"{end}: undone", [s.code(WHO), other.code(WHO)], ["28J10", "28J10"])
        s.query("ROLLBACK")
        if end.startswith("PREPARE"):
            s.query("COMMIT PREPARED 'p'")
            checks.equal("committed", [s.code(WHO), other.code(WHO)], [None, None])
        place.unrevoke()
        checks.equal(f"{end}: unrevoked", [s.code(WHO), other.code(WHO)], [None, None])
        s.query("BEGIN; SAVEPOINT a")
        s.execute(REVOKE, tokens.ISSUER, "u1")
        checks.equal(f"{end}: own", s.code(WHO), "28J10")
        s.query("ROLLBACK TO a")
        s.query("ROLLBACK")
        checks.equal(f"{end}: own undone", s.code(WHO), None)
    # The revocation itself prepared, and committed by another session.
    s.query("BEGIN")
    s.execute(REVOKE, tokens.ISSUER, "u1")
    s.query("PREPARE TRANSACTION 'p'")
    checks.equal("prepared", [s.code(WHO), other.code(WHO)], [None, None])
    place.root.query("COMMIT PREPARED 'p'")
    checks.equal("committed", [s.code(WHO), other.code(WHO)], ["28J10", "28J10"])
    place.unrevoke()
    # In the exception block of a function.
    s.query(
        f"DO $$ BEGIN BEGIN PERFORM auth.revoke('{tokens.ISSUER}', sub => 'u1'); PERFORM auth.user_id();"
        " EXCEPTION WHEN SQLSTATE '28J10' THEN NULL; END; PERFORM auth.user_id(); END $$"
    )
    checks.equal("an exception block", s.code(WHO), None)


def large(checks, place):
    """More rows than are scanned, with and without the index, and with one that cannot be read."""
    s = place.session()
    place.owner.query(
        "INSERT INTO auth.revocations (issuer, kind, value, reason) "
        f"SELECT '{tokens.ISSUER}', 'jti', n, repeat('x', 100) FROM generate_series(1, 2000) n"
    )
    place.is_refused(checks, "large", s)
    insert = "INSERT INTO auth.revocations (issuer, kind, value, issued_before) VALUES ($1, 'sub', $2, 'infinity')"
    place.owner.execute(insert, tokens.ISSUER, "hot")
    for value in ("hot", "u1", "cold", "u1"):
        place.owner.query(f"UPDATE auth.revocations SET value = '{value}' WHERE kind = 'sub'")
        checks.equal(f"UPDATE to {value}", s.code(WHO), "28J10" if value == "u1" else None)
    place.owner.query("DELETE FROM auth.revocations WHERE kind = 'sub'")
    place.root.query("BEGIN; REINDEX TABLE auth.revocations")
    checks.equal("while the index is rebuilt", s.code(WHO), None)
    place.root.query("COMMIT")
    place.is_refused(checks, "rebuilt", s)
    # An index that cannot be read.
    path = place.root.value("SELECT pg_relation_filepath('auth.revocations_pkey')")
    place.root.query("CHECKPOINT")
    file = f"{place.cluster.dir}/data/{path}"
    with open(file, "rb") as f:
        good = f.read()
    place.cluster.control("stop", "-m", "fast")
    with open(file, "r+b") as f:
        f.seek(8192)
        f.write(b"\x5a" * (len(good) - 8192))
    place.cluster.control("start")
    place.root = place.cluster.session(place.db, "postgres")
    place.owner = place.cluster.session(place.db, "owner_role")
    s = place.cluster.session(place.db)
    for _ in range(3):
        checks.equal("broken", s.code(INIT, tokens.token("u1")), "XX001")
    place.root.query("REINDEX TABLE auth.revocations")
    checks.equal("mended", s.code(INIT, tokens.token("u1")), None)
    place.is_refused(checks, "mended", s)
    place.root.query("ALTER TABLE auth.revocations DROP CONSTRAINT revocations_pkey")
    checks.equal("without index", s.code(WHO), None)
    place.owner.execute(insert, tokens.ISSUER, "u1")
    checks.equal("without index", s.code(WHO), "28J10")


checks = Checks()
with Cluster("revoked", max_prepared_transactions=2) as cluster:
    for part in (given_up, rewritten, renamed, undone, large):
        checks.run((part,), checks, Place(cluster, cluster.create_db(part.__name__)))
    checks.equal("no crash", cluster.crashes(), [])
checks.done("a revoked token is refused whatever happens to the table and to those who look at it")
