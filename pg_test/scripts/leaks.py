#!/usr/bin/env python3
"""A token, wherever it is put and whatever becomes of it, is not to be read afterwards: not in the
server's log, not in pg_stat_activity, not in pg_stat_statements, not by SHOW.

Each attempt has a token of its own, whose signature is looked for afterwards. The server logs all
that it can (log_statement aside), and the connection loads the library at its start
(session_preload_libraries). Some attempts are made again without that, with usual logging.
"""

import os
import signal
import sys
import time

from lib import tokens
from lib.pg import Checks, Cluster, PgError, has_library

# These two come with contrib/, which is not everywhere.
CONTRIB = [name for name in ("pg_stat_statements", "auto_explain") if has_library(name)]

SETTINGS = {
    "shared_preload_libraries": ",".join(CONTRIB),
    "pg_stat_statements.track": "all",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_analyze": "on",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug5",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_error_verbosity": "verbose",
    "log_connections": "on",
    "log_lock_waits": "on",
    "deadlock_timeout": "100ms",
    "track_activity_query_size": "64kB",
}

# Each is given a token that is good; where the name says so, one that is not.
SIMPLE = {
    "init": "SELECT auth.jwt_session_init('{t}')",
    "init, local": "BEGIN; SELECT auth.jwt_session_init('{t}', true); COMMIT",
    "init, second of two": "SELECT 1; SELECT auth.jwt_session_init('{t}')",
    "init, first of two": "SELECT auth.jwt_session_init('{t}'); SELECT 1",
    "init, then an error": "SELECT auth.jwt_session_init('{t}'), 1 / 0",
    "init, then an error in another statement": "SELECT auth.jwt_session_init('{t}'); SELECT 1 / 0",
    "init, refused": "SELECT auth.jwt_session_init('{bad}')",
    "init, malformed": "SELECT auth.jwt_session_init('{t}.x')",
    "init, prefixed": "SELECT auth.jwt_session_init('Bearer {t}')",
    "init, white space": "SELECT auth.jwt_session_init('{spaced}'), 1 / (SELECT 0)",
    "init, timed out": "SELECT auth.jwt_session_init('{t}'), pg_sleep(9)",
    "init, of many": "SELECT auth.jwt_session_init('{t}') FROM generate_series(1, 3)",
    "init, long statement": "SELECT auth.jwt_session_init('{t}') /* " + "x" * 70_000 + " */",
    "init in EXPLAIN": "EXPLAIN (ANALYZE, VERBOSE) SELECT auth.jwt_session_init('{t}')",
    "init in CREATE TABLE AS": "CREATE TEMP TABLE t AS SELECT 1 AS c, auth.jwt_session_init('{t}')::text",
    "init in DO": "DO $$ BEGIN PERFORM auth.jwt_session_init('{t}'); END $$",
    "init in DO, refused": "DO $$ BEGIN PERFORM auth.jwt_session_init('{bad}'); END $$",
    "init in EXECUTE, refused": "DO $$ BEGIN EXECUTE 'SELECT auth.jwt_session_init(''{bad}'')'; END $$",
    "init, PREPARE and EXECUTE": "PREPARE p AS SELECT auth.jwt_session_init('{t}'); EXECUTE p",
    "init, parameter of EXECUTE": "PREPARE p(text) AS SELECT auth.jwt_session_init($1); EXECUTE p('{t}')",
    "init, parameter of EXECUTE, refused": "PREPARE p(text) AS SELECT auth.jwt_session_init($1); EXECUTE p('{bad}')",
    "set_config": "SELECT set_config('pg_auth_jwt.token', '{t}', false)",
    "set_config, local": "BEGIN; SELECT set_config('pg_auth_jwt.token', '{t}', true); SELECT auth.user_id(); COMMIT",
    "SET": "SET pg_auth_jwt.token = '{t}'",
    "SET, then an error": "SET pg_auth_jwt.token = '{t}'; SELECT 1 / 0",
    "SET, bad, then used": "SET pg_auth_jwt.token = '{bad}'; SELECT auth.user_id()",
    "SET LOCAL": "BEGIN; SET LOCAL pg_auth_jwt.token = '{t}'; SELECT auth.user_id(); COMMIT",
    "SET LOCAL, alone": "SET LOCAL pg_auth_jwt.token = '{t}'",
    "SET in DO": "DO $$ BEGIN EXECUTE 'SET pg_auth_jwt.token = ''{t}'''; END $$",
    "SET of a function": "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET pg_auth_jwt.token = '{t}' AS 'SELECT 1'",
    "syntax error": "SELECT auth.jwt_session_init('{t}') FROM FROM",
    "syntax error in SET": "SET pg_auth_jwt.token = '{t}' '{t}'",
    "unknown function": "SELECT auth.no_such('{t}')",
    "unknown setting": "SET pg_auth_jwt.no_such = '{t}'",
    "cast": "SELECT '{t}'::int",
    "raised": "DO $$ BEGIN RAISE '%', '{t}'; END $$",
    "raised as a warning": "DO $$ BEGIN RAISE WARNING '%', '{t}'; END $$",
    "duplicate key": "CREATE TEMP TABLE t (c text PRIMARY KEY); INSERT INTO t VALUES ('{t}'), ('{t}')",
    "not permitted": "SELECT auth.verify('{t}')",
}

# By the extended protocol: a literal, or bound to $1.
EXTENDED = {
    "init": "SELECT auth.jwt_session_init('{t}')",
    "init, refused": "SELECT auth.jwt_session_init('{bad}')",
    "init, bound": "SELECT auth.jwt_session_init($1)",
    "init, bound, then an error": "SELECT auth.jwt_session_init($1), 1 / 0",
    "init, bound, refused": "SELECT auth.jwt_session_init($1 || 'x')",
    "init, bound, timed out": "SELECT auth.jwt_session_init($1), pg_sleep(9)",
    "set_config": "SELECT set_config('pg_auth_jwt.token', '{t}', false)",
    "set_config, bound": "SELECT set_config('pg_auth_jwt.token', $1, false)",
    "SET": "SET pg_auth_jwt.token = '{t}'",
    "cast": "SELECT '{t}'::int",
    "cast, bound": "SELECT $1::int",
    "syntax error": "SELECT auth.jwt_session_init('{t}') FROM FROM",
    "not permitted": "SELECT auth.verify('{t}')",
}

# Those that keep the promise also as the first statement of a connection which did not load the
# library at its start: their token is seen only by what they call, and that loads it.
FIRST = ["init", "init, local", "init, of many", "init, refused", "init, malformed", "init, prefixed",
         "init, timed out", "init, bound", "init, bound, refused", "init, bound, timed out",
         "init, then an error in another statement", "init, parameter of EXECUTE, refused"]
USUAL = {"log_min_duration_statement": "-1", "auto_explain.log_min_duration": "-1", "log_min_messages": "warning",
         "log_min_error_statement": "error"}


class Leaks:
    def __init__(self, cluster, db, checks):
        self.cluster, self.db, self.checks = cluster, db, checks
        self.other = cluster.session(db)
        self.root = cluster.session(db, "postgres")
        self.tokens = {}

    def new_token(self, what):
        self.tokens[what] = tokens.token(f"u{len(self.tokens)}")
        return self.tokens[what]

    def connect(self, **options):
        return self.cluster.session(self.db, options="-c statement_timeout=500", **options)

    def attempt(self, what, sql, run):
        token = self.new_token(what)
        # Refused because the payload has changed; the signature is as secret as before.
        bad = token.replace(".", ".ey", 1)
        if "{spaced}" in sql:
            token = self.tokens[what] = tokens.token("u1", space="\n ")
        session = self.connect()
        try:
            run(session, sql.replace("{t}", token).replace("{bad}", bad).replace("{spaced}", token), token)
        except PgError:
            pass
        self.look_at_activity(what, session)
        session.close()

    def look_at_activity(self, what, session):
        """As another session of the same role, which is the one that may."""
        query = self.other.value("SELECT query FROM pg_stat_activity WHERE pid = $1", session.backend)
        self.checks.equal(f"{what}: pg_stat_activity", found(self.tokens[what], query), None)

    def look_at_statements(self):
        statements = "\n".join(row[0] for row in self.root.query("SELECT query FROM pg_stat_statements"))
        for what, token in self.tokens.items():
            self.checks.equal(f"{what}: pg_stat_statements", found(token, statements), None)

    def look_at_log(self):
        log = self.cluster.log()
        for what, token in self.tokens.items():
            self.checks.equal(f"{what}: log", found(token, log), None)

    def configure(self, **settings):
        """For the connections that follow."""
        for name, value in settings.items():
            value = f"= '{value}'" if value else "= DEFAULT"
            self.root.query(f"ALTER DATABASE {self.db} SET {name} {value}")

    # What takes more than one statement.

    def failed_transaction(self):
        session = self.connect()
        session.code("BEGIN; SELECT 1 / 0")
        token = self.new_token("failed transaction")
        self.checks.equal("failed transaction", session.code(f"SELECT auth.jwt_session_init('{token}')"), "25P02")
        self.look_at_activity("failed transaction", session)
        session.close()

    def bound_and_never_run(self):
        session = self.connect()
        token = self.new_token("bound and never run")
        session.send(session.parse(f"SELECT auth.jwt_session_init('{token}')"), session.bind(), session.SYNC)
        session.receive()
        self.look_at_activity("bound and never run", session)
        session.close()

    def waiting(self):
        """LOG lines about a lock, and the end of a session by somebody else, quote the statement."""
        holder, waiter = self.connect(), self.connect()
        holder.query("BEGIN; LOCK TABLE locked")
        waiter.begin_query(f"SELECT auth.jwt_session_init('{self.new_token('waiting')}'); SELECT FROM locked")
        self.wait_for("still waiting for")
        self.look_at_activity("waiting", waiter)
        self.root.query(f"SELECT pg_terminate_backend({waiter.backend})")
        self.wait_for("terminating connection due to administrator command")
        holder.close()

    def deadlock(self):
        """Its DETAIL in the log quotes the statements of all who are in it."""
        one, two = self.connect(), self.connect()
        one.query("BEGIN; LOCK TABLE locked")
        two.query("BEGIN; SELECT pg_advisory_xact_lock(1)")
        give = "SELECT auth.jwt_session_init('%s');"
        one.begin_query(give % self.new_token("deadlock, one") + "SELECT pg_advisory_xact_lock(1)")
        two.begin_query(give % self.new_token("deadlock, two") + "SELECT FROM locked")
        self.wait_for("deadlock detected")
        one.die(), two.die()

    def connection_option(self):
        token = self.new_token("connection option")
        session = self.cluster.session(self.db, options=f"-c pg_auth_jwt.token={token}")
        self.checks.true("connection option: taken", session.value("SELECT auth.user_id()"))
        self.look_at_activity("connection option", session)
        session.close()

    def show(self):
        token = self.new_token("show")
        session = self.connect()
        session.query(f"SET pg_auth_jwt.token = '{token}'")
        for sql in ["SHOW pg_auth_jwt.token", "SELECT current_setting('pg_auth_jwt.token')"]:
            self.checks.equal(sql, session.code(sql), "42501")
        for sql in ["SHOW ALL", "SELECT * FROM pg_settings", "SELECT * FROM pg_file_settings"]:
            try:
                rows = session.query(sql)
            except PgError as error:
                rows = str(error)
            self.checks.equal(sql, found(token, str(rows)), None)
        session.close()

    def killed(self):
        """The postmaster, which has no library of ours, logs what the process was running."""
        session = self.connect()
        session.begin_query(f"SELECT auth.jwt_session_init('{self.new_token('killed')}'), pg_sleep(9)")
        time.sleep(0.2)
        os.kill(session.backend, signal.SIGKILL)
        self.wait_for("Failed process was running")
        self.wait_for("ready to accept connections", times=2)

    def wait_for(self, line, times=1):
        for _ in range(400):
            if self.cluster.log().count(line) >= times:
                return
            time.sleep(0.05)
        sys.exit(f"the log never said: {line}")


def found(token, text):
    """The surroundings of the token's signature in the text."""
    at = (text or "").find(token.rsplit(".", 1)[1])
    return None if at < 0 else text[max(0, at - 300):at + 60]


def simple(session, sql, _token):
    session.query(sql)


def extended(session, sql, token):
    session.execute(sql, *([token] if "$1" in sql else []))


def main():
    checks = Checks()
    with Cluster("leaks", **SETTINGS) as cluster:
        db = cluster.create_db("test")
        if "pg_stat_statements" in CONTRIB:
            cluster.psql("-c", "CREATE EXTENSION pg_stat_statements", db)
        owner = cluster.session(db, "owner_role")
        owner.query(tokens.setup(0) + "CREATE TABLE locked (); GRANT ALL ON locked TO authenticated")
        leaks = Leaks(cluster, db, checks)

        leaks.configure(session_preload_libraries="pg_auth_jwt")
        for what, sql in SIMPLE.items():
            leaks.attempt(f"simple, {what}", sql, simple)
        for what, sql in EXTENDED.items():
            leaks.attempt(f"extended, {what}", sql, extended)
        leaks.connection_option()
        leaks.failed_transaction()
        leaks.bound_and_never_run()
        leaks.show()
        leaks.waiting()
        leaks.deadlock()
        leaks.configure(session_preload_libraries="", **USUAL)
        for what in FIRST:
            if what in SIMPLE:
                leaks.attempt(f"first statement, simple, {what}", SIMPLE[what], simple)
            if what in EXTENDED:
                leaks.attempt(f"first statement, extended, {what}", EXTENDED[what], extended)
        if "pg_stat_statements" in CONTRIB:
            leaks.look_at_statements()
        leaks.killed()
        leaks.look_at_log()
    checks.done(f"{len(leaks.tokens)} tokens are nowhere to be read, with {' and '.join(CONTRIB) or 'no contrib/'}")


main()
