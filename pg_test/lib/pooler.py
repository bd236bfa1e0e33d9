"""PgBouncer in front of a cluster, and clients that share its few server connections, each of which
checks every row that it reads against the token of the same transaction."""

import collections
import os
import random
import shutil
import signal
import sys
import threading
import time

from . import tokens
from .pg import Session, shell

USERS = 50
ROWS = 3

TABLE = """
CREATE TABLE things (owner text, n int);
CREATE INDEX ON things (owner);
ALTER TABLE things ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON things TO authenticated;
"""
SCHEMA = (
    TABLE
    + f"INSERT INTO things SELECT 'u' || u, n FROM generate_series(0, {USERS - 1}) u, generate_series(1, {ROWS}) n;"
)

READ = "SELECT owner FROM things"


def is_here():
    """Whether there is a PgBouncer, of the system's or of scripts/setup."""
    return bool(shell('PATH="$PATH:/usr/sbin"; command -v pgbouncer || true'))


class Pooler:
    """PgBouncer with a socket beside the cluster's, while a `with` lasts; and at a TCP address, if
    one is given."""

    def __init__(self, cluster, dbname, mode, servers, address="", users=("authenticated",)):
        self.dir = f"{cluster.dir}/pooler"
        os.makedirs(self.dir, exist_ok=True)
        self.pidfile = f"{self.dir}/pid"
        with open(f"{self.dir}/users", "w") as file:
            file.write("".join(f'"{user}" ""\n' for user in users))
        with open(f"{self.dir}/ini", "w") as ini:
            ini.write(f"""
[databases]
{dbname} = host={cluster.dir}
[pgbouncer]
pool_mode = {mode}
default_pool_size = {servers}
max_client_conn = 1000
listen_addr = {address}
listen_port = 6432
ignore_startup_parameters = extra_float_digits
unix_socket_dir = {self.dir}
auth_type = trust
auth_file = {self.dir}/users
pidfile = {self.pidfile}
logfile = {self.dir}/log
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
""")
        shell('chown -R "$PG_USER" "$1"', self.dir)
        shell('as_pg env PATH="$PGROOT/tools/bin:$PATH:/usr/sbin" pgbouncer -q -d "$1"', f"{self.dir}/ini")
        for _ in range(500):
            try:
                Session(dbname, host=self.dir, port=6432).close()
                return
            except OSError:  # missing, or not listening yet
                time.sleep(0.02)
        sys.exit("PgBouncer does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with open(self.pidfile) as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGTERM)
        while os.path.exists(self.pidfile):
            time.sleep(0.01)
        while os.path.exists(self.dir):  # it may still be removing its socket
            shutil.rmtree(self.dir, ignore_errors=True)


class Client(threading.Thread):
    """Comes and goes, as a different user in each transaction, until the time is up.

    `is_local` is what it passes to auth.jwt_session_init: "true", "false", or None for nothing.
    With "false" it relies on pg_auth_jwt.scope or on the pooler's DISCARD ALL between two clients.
    `crowd` has pairs of user and token; without it, tokens are made for the users of SCHEMA.
    """

    def __init__(self, host, dbname, until, is_local, whole_session, crowd=None):
        super().__init__()
        self.crowd = crowd
        self.where, self.until = (dbname, "authenticated", host, 6432), until
        self.is_local = f", {is_local}" if is_local else ""
        # This client lets its token outlive the transaction.
        self.keeps_identity = is_local == "false" and whole_session
        self.random = random.Random()
        self.counts = collections.Counter()
        self.crossings = []
        self.failure = None

    def run(self):
        try:
            while time.time() < self.until:
                self.session()
        except Exception as error:  # Any failure must reach the test.
            self.failure = error

    def session(self):
        s = Session(*self.where)
        self.anonymous(s)
        for _ in range(self.random.randint(1, 30)):
            kinds = [self.committed] * 10 + [self.rolled_back] * 4 + [self.failed] * 3 + [self.refused] * 2
            if not self.keeps_identity:
                kinds += [self.anonymous] * 2
            if not self.random.choice(kinds + [self.killed])(s):
                return
            self.counts["transactions"] += 1
        s.close()

    def check(self, what, rows, owner):
        """All the rows of that user, and no others."""
        self.counts["rows"] += len(rows)
        if rows != [[owner]] * (ROWS if owner else 0):
            self.crossings.append(f"{what}: as {owner} read {rows}")

    def someone(self):
        """A user, and a token of theirs."""
        if self.crowd:
            return self.random.choice(self.crowd)
        user = f"u{self.random.randrange(USERS)}"
        return user, tokens.token(user)

    def begin(self, s):
        """Begins a transaction as some user, and reads as this user."""
        user, token = self.someone()
        if self.random.random() < 0.3:
            # As a pipelining driver does.
            s.send(
                s.parse("BEGIN"),
                s.bind(),
                s.run(),
                s.parse(f"SELECT auth.jwt_session_init($1{self.is_local})"),
                s.bind([token]),
                s.run(),
                s.parse(READ),
                s.bind(),
                s.run(),
                s.SYNC,
            )
            self.check("pipeline", s.receive()[1:], user)
        else:
            s.query("BEGIN")
            s.execute(f"SELECT auth.jwt_session_init($1{self.is_local})", token)
        self.check("read", s.query(READ), user)
        return user

    def committed(self, s):
        user = self.begin(s)
        self.check("read again", s.execute(READ), user)
        s.query("COMMIT")
        return True

    def rolled_back(self, s):
        user = self.begin(s)
        s.query("SAVEPOINT a")
        other, token = self.someone()
        s.execute(f"SELECT auth.jwt_session_init($1{self.is_local})", token)
        self.check("in the savepoint", s.query(READ), other)
        s.query("ROLLBACK TO a")
        self.check("after the savepoint", s.query(READ), user)
        s.query("ROLLBACK")
        return True

    def failed(self, s):
        self.begin(s)
        self.fails(s, "SELECT 1 / 0", "22012")
        s.query("ROLLBACK")
        return True

    def refused(self, s):
        s.query("BEGIN")
        self.fails(s, f"SELECT auth.jwt_session_init('{tokens.token('u1', -1)}'{self.is_local})", "28J05")
        self.fails(s, READ, "25P02")
        s.query("ROLLBACK")
        return True

    def anonymous(self, s):
        """Without a token, no identity."""
        self.check("without a token", s.query(READ), None)
        return True

    def killed(self, s):
        """Dies in its transaction, sometimes in the middle of a statement."""
        self.begin(s)
        if self.random.random() < 0.5:
            s.begin_query("SELECT pg_sleep(0.01) FROM things")
        s.die()
        self.counts["killed clients"] += 1
        return False

    def fails(self, s, sql, code):
        self.counts["errors"] += 1
        got = s.code(sql)
        if got != code:
            self.crossings.append(f"{sql}: {got} instead of {code}")


def play(cluster, dbname, mode, clients, servers, seconds, is_local=None, crowd=None):
    """Runs the clients, and returns the counts and the crossings."""
    with Pooler(cluster, dbname, mode, servers) as pooler:
        until = time.time() + seconds
        threads = [Client(pooler.dir, dbname, until, is_local, mode == "session", crowd) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.failure:
            raise thread.failure
    return sum((t.counts for t in threads), collections.Counter()), [c for t in threads for c in t.crossings]
