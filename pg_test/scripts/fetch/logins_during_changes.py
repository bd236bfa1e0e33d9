#!/usr/bin/env python3
"""Connections sign in while the key tables change. A connection's first look at the tables reads
the catalogs, and meanwhile Postgres may replace what it knows of an open table, its triggers among
it: where these were read in place, a backend crashed (SIGSEGV) once in about 1,500 logins. CI runs it on two versions
of Postgres."""

import threading

from lib.endpoint import Endpoint, keys
from lib.following import FetchingCluster, Issuer, folder
from lib.pg import Checks

LOGINS = 1500
WRITERS = 2
CLIENTS = 3


def main():
    checks = Checks()
    with (
        folder() as place,
        FetchingCluster("logins_during_changes", place) as cluster,
        Endpoint(cluster.authority) as endpoint,
    ):
        cluster.allow(endpoint.host)
        db = cluster.create_db("test_logins")
        issuer = Issuer(cluster.session(db, "owner_role"), endpoint, "logins", keys(1, 2))
        checks.equal("the keys are fetched", issuer.outcome(), "changed")
        over, outcomes, failures = threading.Event(), [], []

        def write():
            try:
                with cluster.session(db, "owner_role") as owner:
                    while not over.is_set():
                        owner.query("UPDATE auth.jwks SET alg = alg")
            except Exception as error:  # the server has crashed
                failures.append(repr(error))

        def sign_in():
            try:
                while len(outcomes) < LOGINS and not over.is_set():
                    with cluster.session(db) as session:
                        outcomes.append(issuer.sign_in(session, 1))
            except Exception as error:
                failures.append(repr(error))
                over.set()

        writers = [threading.Thread(target=write) for _ in range(WRITERS)]
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
        checks.equal("each was let in", set(outcomes), {None})
        checks.true("no process has crashed", "was terminated by signal" not in cluster.log())
    checks.done(f"{LOGINS} logins while keys change")


main()
