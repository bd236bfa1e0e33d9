#!/usr/bin/env python3
"""A login that is refused holds no seat of pg_auth_jwt.login_workers, even while its client keeps the connection by not
answering the refusal."""

import socket
import struct

from lib import oauth_client
from lib.following import until
from lib.oauth_client import MECHANISM, LoginCluster, initial_response, line, token
from lib.pg import Checks, Session

USER = "u1"
# A client waits for a seat until three quarters of this are over, when those with seats give up as well: some get a
# seat in the very moment in which their wait ends.
TIMEOUT = "2s"
ROUNDS = 8
CLIENTS = 12
SEATS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 6"


def send_token(cluster):
    """A connection whose client has sent its token, and reads no answer."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"{cluster.dir}/.s.PGSQL.5432")
    body = f"user\0{USER}\0database\0postgres\0\0".encode()
    client.sendall(struct.pack("!ii", len(body) + 8, 196608) + body)
    client.recv(1000)
    first = initial_response(token(USER)).encode()
    client.sendall(Session._message("p", MECHANISM, struct.pack("!i", len(first)), first))
    return client


def silent_clients(checks, cluster):
    for _ in range(ROUNDS):
        with cluster.session(oauth_client.LOGIN_DATABASE, "postgres") as owner:
            # No worker gets further than to this lock.
            owner.query("BEGIN; LOCK auth.jwks IN ACCESS EXCLUSIVE MODE")
            clients = [send_token(cluster) for _ in range(CLIENTS)]
            answers = [client.recv(1000)[:1] for client in clients]
            seats = cluster.root.query(SEATS)
        checks.equal("refusals that wait for an answer", answers, [b"R"] * CLIENTS)
        checks.equal("seats", seats, [])
        checks.equal("reasons", {state for state, _ in cluster.refusals()}, {"53400"})
        for client in clients:
            client.close()


def gone_clients(checks, cluster):
    """No worker is started for a client that has gone while it waited for a seat."""
    registered = 'DEBUG:  registering background worker "pg_auth_jwt login"'
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 6 AND NOT granted"
    seats = 2  # The default of pg_auth_jwt.login_workers.
    cluster.alter(authentication_timeout="60s", log_min_messages="debug1")
    before = cluster.log().count(registered)
    with cluster.session(oauth_client.LOGIN_DATABASE, "postgres") as owner:
        owner.query("BEGIN; LOCK auth.jwks IN ACCESS EXCLUSIVE MODE")
        seated = [send_token(cluster) for _ in range(seats)]
        until(lambda: cluster.log().count(registered) == before + seats, "workers")
        others = [send_token(cluster) for _ in range(CLIENTS)]
        until(lambda: cluster.root.value(waiting) == str(CLIENTS), "clients that wait")
        for client in others:
            client.close()
        owner.query("ROLLBACK")
    until(lambda: cluster.root.value(waiting) == "0", "their end")
    until(lambda: not cluster.root.query(SEATS), "free seats")
    checks.equal("workers", cluster.log().count(registered) - before, seats)
    checks.equal("reasons", [state for state, _ in cluster.refusals()], ["08006"] * CLIENTS)
    for client in seated:
        client.close()
    cluster.alter(authentication_timeout=TIMEOUT, log_min_messages=None)


def main():
    checks = Checks()
    if not oauth_client.has_login():
        checks.skip_all("Postgres takes tokens for logins from 18 on")
    with LoginCluster("login_seats", authentication_timeout=TIMEOUT) as cluster:
        cluster.root.query(f"CREATE ROLE {USER} LOGIN")
        cluster.configure([line("all", USER)])
        checks.run((silent_clients, gone_clients), checks, cluster)
        checks.equal("no crash", cluster.crashes(), [])
    checks.done("who does not answer a refusal holds no seat")


main()
