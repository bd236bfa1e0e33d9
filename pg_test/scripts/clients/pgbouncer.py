#!/usr/bin/env python3
"""Behind PgBouncer no row is read under another transaction's token, in transaction and in session
mode, whatever ends the transaction. `soak pgbouncer` is the long version."""

from lib import pooler, tokens
from lib.pg import Checks, Cluster


def main():
    checks = Checks()
    if not pooler.is_here():
        checks.skip_all("needs PgBouncer")
    total = 0
    with Cluster("pgbouncer") as cluster:
        db = cluster.create_db("test")
        cluster.session(db, "owner_role").query(pooler.SCHEMA + tokens.setup(0))
        root = cluster.session(db, "postgres")

        def play(what, mode, **options):
            counts, crossings = pooler.play(cluster, db, mode, clients=30, servers=4, seconds=1.5, **options)
            for kind in ("transactions", "errors", "killed clients"):
                checks.true(f"{what}: some {kind}", counts[kind])
            return counts["transactions"], crossings

        # Shows that the clients would detect a crossing.
        checks.true("is_local false is seen to cross", play("false", "transaction", is_local="false")[1])
        cases = [
            ("no is_local", "transaction", None),
            ("is_local", "transaction", "true"),
            ("session mode", "session", "false"),
            ("scope", "transaction", "false"),
        ]
        for what, mode, is_local in cases:
            if what == "scope":
                # Applies at login, so to server connections that a pooler makes from now on.
                root.query("ALTER ROLE authenticated SET pg_auth_jwt.scope = 'transaction'")
            transactions, crossings = play(what, mode, is_local=is_local)
            checks.equal(f"{what}: crossings", crossings[:3], [])
            total += transactions
    checks.done(f"{total} transactions by 30 clients over 4 connections, no crossing")


main()
