#!/usr/bin/env python3
"""Connections sign in while the key tables change. A connection's first look at the tables reads the
catalogs, and meanwhile Postgres may replace what it knows of an open table, its triggers among it.
Two crashes (SIGSEGV) in 1,500 logins were seen where the triggers were read in place."""

import threading

from lib import tokens
from lib.pg import Checks, Cluster

LOGINS = 1500
WRITERS = 2
CLIENTS = 3


def main():
    checks = Checks()
    with Cluster("logins_during_changes") as cluster:
        db = cluster.create_db("test_logins")
        cluster.session(db, "owner_role").query(tokens.setup(*range(WRITERS)))
        good = tokens.token("u1")
        kids = [kid for kid, in cluster.session(db, "owner_role").query("SELECT kid FROM auth.jwks")]
        checks.equal("keys", len(kids), WRITERS)
        over, outcomes, failures = threading.Event(), [], []

        def write(key):
            try:
                with cluster.session(db, "owner_role") as owner:
                    while not over.is_set():
                        owner.query(f"UPDATE auth.jwks SET alg = alg WHERE kid = '{key}'")
            except Exception as error:  # the server has crashed
                failures.append(repr(error))

        def sign_in():
            try:
                while len(outcomes) < LOGINS and not over.is_set():
                    with cluster.session(db) as session:
                        session.execute("SELECT auth.jwt_session_init($1)", good)
                        outcomes.append(session.value("SELECT auth.user_id()"))
            except Exception as error:
                failures.append(repr(error))
                over.set()

        writers = [threading.Thread(target=write, args=(key,)) for key in kids]
        clients = [threading.Thread(target=sign_in) for _ in range(CLIENTS)]
        for thread in writers + clients:
            thread.start()
        for thread in clients:
            thread.join()
        over.set()
        for thread in writers:
            thread.join()
        checks.equal("no connection fails", failures, [])
        checks.true("all of them were made", len(outcomes) >= LOGINS)
        checks.equal("as one user", set(outcomes), {"u1"})
        checks.true("no process has crashed", "was terminated by signal" not in cluster.log())
    checks.done(f"{LOGINS} logins while keys change")


main()
