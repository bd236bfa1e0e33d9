#!/usr/bin/env python3
"""A token cannot be read after its use, in any statement and with any outcome: not in the server's
log, pg_stat_activity or pg_stat_statements, and not by SHOW. The same holds for the secret member
of a JWK, which must not be in an error message to the client either.

Each attempt has a token of its own, whose signature is searched for afterwards, or a key, of which
a few characters are. The server logs as much as possible, and the connection loads the library at
its start (session_preload_libraries). Some attempts are repeated without that, with usual logging.
"""

import base64
import hashlib
import os
import signal
import sys
import threading
import time

from lib import oauth_client, tokens
from lib.pg import Checks, Cluster, PgError, has_library

# Modules of contrib/, which not every installation has.
WANTED = ("pg_stat_statements", "auto_explain")
CONTRIB = [name for name in WANTED if has_library(name)]

SETTINGS = {
    "shared_preload_libraries": ",".join(CONTRIB),
    "pg_stat_statements.track": "all",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_analyze": "on",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug5",
    "log_min_duration_statement": "0",
    "log_statement": "all",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_error_verbosity": "verbose",
    "log_connections": "on",
    "log_lock_waits": "on",
    "deadlock_timeout": "100ms",
    "track_activity_query_size": "64kB",
}

# Each gets a good token; where the name says so, a bad one.
SIMPLE = {
    "init": "SELECT auth.jwt_session_init('{t}')",
    "init, jwt =>": "SELECT auth.jwt_session_init(jwt => '{t}')",
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
    "SET of a function": (
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET pg_auth_jwt.token = '{t}' AS 'SELECT 1'"
    ),
    "syntax error": "SELECT auth.jwt_session_init('{t}') FROM FROM",
    "syntax error in SET": "SET pg_auth_jwt.token = '{t}' '{t}'",
    "unknown function": "SELECT auth.no_such('{t}')",
    "unknown setting": "SET pg_auth_jwt.no_such = '{t}'",
    "cast": "SELECT '{t}'::int",
    "raised": "DO $$ BEGIN RAISE '%', '{t}'; END $$",
    "raised as a warning": "DO $$ BEGIN RAISE WARNING '%', '{t}'; END $$",
    "duplicate key": "CREATE TEMP TABLE t (c text PRIMARY KEY); INSERT INTO t VALUES ('{t}'), ('{t}')",
    "not permitted": "SELECT auth.verify('{t}')",
    "comment": "SELECT 1, 'x' /* {t} */",
    "comment, right before": "SELECT 1, 'y' --{t}",
    "comment, alone": "/* {t} */",
    "alias": "SELECT 1, 'z' AS \"{t}\"",
    "url-encoded": "SELECT 1, 'Bearer%20{t}' AS a, 1 / 0",
    "url-encoded, comment": "SELECT 1, 'a' /* ?token=%22{t}%22 */",
    "default of XMLTABLE": "SELECT x, 'c' FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS x text DEFAULT '{t}')",
}

# The token is not in a constant, so pg_stat_statements would keep it with the statement's text.
SAME = ["comment", "alias", "default of XMLTABLE", "url-encoded, comment"]

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
    "comment, alone": "/* {t} */",
}

# The owner's statements with a JWK whose secret member is {k}. The lines after COPY are its data.
INIT = "SELECT auth.init('%s', issuer => 'https://keys.test.example')"
OCT = '{"kty": "oct", "kid": "k9", "alg": "HS256", "k": "{k}"}'
OKP = '{"kty": "OKP", "crv": "Ed25519", "x": "bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI", "d": "{k}"}'
RSA = (
    '{"e": "AQAB", "n": "%s", "d": "{k}", "p": "{k}", "q": "{k}", "dp": "{k}", "dq": "{k}", "qi": "{k}", "kty": "RSA"}'
    % ("A" * 342)
)
OTH = '{"kty": "RSA", "n": "AQAB", "e": "AQAB", "oth": [{"r": "{k}", "d": "{k}", "t": "{k}"}]}'
INSERT = "INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://keys.test.example', '%s')"
KEYS = {
    "accepted": INIT % OCT,
    "accepted, then an error": INIT % OCT + "; SELECT 1 / 0",
    "timed out": INIT % OCT + ", pg_sleep(9)",
    "set": INIT % ('{"keys": [' + OCT + "]}"),
    "set, compact": INIT % ('{"keys":[' + OCT.replace(" ", "") + "]}"),
    "private": INIT % OKP,
    "private, RSA": INIT % RSA,
    "private, RSA of three primes": INIT % OTH,
    "not json": INIT % OCT[:-1],
    "not json at the end": INIT % (OCT + "x"),
    "not json behind the key": INIT % (OCT[:-1] + ',"use":x}'),
    "not json right behind the key": INIT % (OCT[:-1] + "x"),
    "escaped": INIT.replace("'%s'", "E'%s'") % OCT.replace('"', '\\"'),
    "in dollars": INIT.replace("'%s'", "$$%s$$") % OCT,
    "doubled": "DO $$ BEGIN EXECUTE '" + INIT.replace("'", "''") % OKP + "'; END $$",
    "json in json": "SELECT ('\"" + OCT.replace('"', '\\"') + "\"'::jsonb #>> '{}')::jsonb -> 'k', 1 / 0",
    "insert": INSERT % OCT,
    "insert, private": INSERT % OKP,
    "insert, without issuer": "INSERT INTO auth.jwks (jwk) VALUES ('%s')" % OKP,
    "insert, without issuer, oct": "INSERT INTO auth.jwks (jwk) VALUES ('%s')" % OCT,
    "insert, of no issuer": INSERT.replace("keys.test", "no") % OCT,
    "insert, with a false alg": INSERT.replace("jwk)", "jwk, alg)").replace("'%s')", "'%s', 'RS256')") % OCT,
    "update": "UPDATE auth.jwks SET jwk = '%s'" % OKP,
    "prepared": "PREPARE p(jsonb) AS " + INIT % "x" + "; EXECUTE p('%s')" % OKP,
    "raised": "DO $$ BEGIN RAISE WARNING '%%', '%s'; END $$" % OKP,
    "raised, caught and raised": (
        "DO $$ BEGIN PERFORM '%s'::jsonb -> 'k', 1 / 0; EXCEPTION WHEN OTHERS THEN RAISE; END $$"
    )
    % OCT,
    "bound": INIT.replace("'%s'", "$1"),
    "bound, then an error": INIT.replace("'%s'", "$1") + ", 1 / 0",
    "bound, cast": "SELECT $1::int",
    "copy": "COPY auth.jwks (issuer, jwk) FROM STDIN\nhttps://no.example\t" + OCT,
    "copy, secret first": "COPY auth.jwks (issuer, jwk) FROM STDIN\n\\N\t"
    + '{"k": "{k}", "alg": "HS256", "kid": "k9", "kty": "oct"}',
    "copy, private": "COPY auth.jwks (issuer, jwk) FROM STDIN\nhttps://keys.test.example\t" + OKP,
    "copy, private first": "COPY auth.jwks (issuer, jwk) FROM STDIN\nhttps://keys.test.example\t"
    '{"d": "{k}", "x": "bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI", "crv": "Ed25519", "kty": "OKP"}',
    "copy, cut in the key": "COPY auth.jwks (issuer, kid, jwk) FROM STDIN\nhttps://keys.test.example\tthirtythreecharacters\t"
    '{"d": "{k}", "crv": "Ed25519", "kty": "OKP"}',
    "copy, csv": 'COPY auth.jwks (issuer, jwk) FROM STDIN (FORMAT csv)\nhttps://keys.test.example,"'
    + OKP.replace('"', '""')
    + '"',
    "copy, csv, secret first": "COPY auth.jwks (issuer, jwk) FROM STDIN (FORMAT csv)\nhttps://no.example,"
    '"{""k"": ""{k}"", ""kid"": ""k9"", ""kty"": ""oct""}"',
    "copy, not json": "COPY auth.jwks (issuer, jwk) FROM STDIN\nhttps://keys.test.example\t" + OKP[:-1],
    "copy, columns": "COPY auth.jwks (issuer, jwk) FROM STDIN\nhttps://keys.test.example\t" + OKP + "\t1",
}

# These keep the promise also as the first statement of a connection that did not load the library
# at its start: only the function that they call reads the token, and the call loads the library.
FIRST = [
    "init",
    "init, local",
    "init, of many",
    "init, refused",
    "init, malformed",
    "init, prefixed",
    "init, timed out",
    "init, bound",
    "init, bound, refused",
    "init, bound, timed out",
    "init, then an error in another statement",
    "init, parameter of EXECUTE, refused",
]
FIRST_KEYS = [
    "accepted, then an error",
    "private",
    "bound",
    "insert, private",
    "insert, without issuer",
    "copy, private first",
    "copy, cut in the key",
]
USUAL = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "auto_explain.log_min_duration": "-1",
    "log_min_messages": "warning",
    "log_min_error_statement": "error",
}


class Leaks:
    def __init__(self, cluster, db, checks):
        self.cluster, self.db, self.checks = cluster, db, checks
        self.other = cluster.session(db)
        self.root = cluster.session(db, "postgres")
        self.tokens = {}

    def new_token(self, what):
        self.tokens[what] = tokens.token(f"u{len(self.tokens)}")
        return self.tokens[what]

    def new_key(self, what):
        self.tokens[what] = base64.urlsafe_b64encode(hashlib.sha256(what.encode()).digest()).decode().rstrip("=")
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

    def attempt_with_key(self, what, sql):
        key = self.new_key(what)
        session = self.connect(user="owner_role")
        answer = ""
        run = copy if sql.startswith("COPY") else extended if "$1" in sql else simple
        try:
            run(session, sql.replace("{k}", key), OKP.replace("{k}", key))
        except PgError as error:
            answer = str(error.fields)
        self.checks.equal(f"{what}: the client", found(key, answer + str(session.notices())), None)
        self.look_at_activity(what, session)
        session.close()

    def look_at_activity(self, what, session):
        """From another session of the same role, which may see the text."""
        query = self.other.value("SELECT query FROM pg_stat_activity WHERE pid = $1", session.backend)
        self.checks.equal(f"{what}: pg_stat_activity", found(self.tokens[what], query), None)

    def look_at_statements(self):
        """Another execution shows a text that was stored before its statement ran."""
        for what in SAME:
            self.other.query(SIMPLE[what].replace("{t}", "x"))
        statements = "\n".join(row[0] for row in self.root.query("SELECT query FROM pg_stat_statements"))
        for what, token in self.tokens.items():
            self.checks.equal(f"{what}: pg_stat_statements", found(token, statements), None)

    def look_at_log(self):
        log = self.cluster.log()
        for what, token in self.tokens.items():
            self.checks.equal(f"{what}: log", found(token, log), None)

    def configure(self, **settings):
        """Sets defaults for later connections."""
        for name, value in settings.items():
            value = f"= '{value}'" if value else "= DEFAULT"
            self.root.query(f"ALTER DATABASE {self.db} SET {name} {value}")

    # Attempts with more than one statement.

    def failed_transaction(self):
        session = self.connect()
        session.code("BEGIN; SELECT 1 / 0")
        token = self.new_token("failed transaction")
        self.checks.equal("failed transaction", session.code(f"SELECT auth.jwt_session_init('{token}')"), "25P02")
        self.look_at_activity("failed transaction", session)
        session.close()

    def one_by_one(self, what, sql, *messages):
        """Messages of the extended protocol, given the session and the statement with a token in
        it; afterwards the shown text is checked."""
        session = self.connect()
        sql = sql.replace("{t}", self.new_token(what))
        parts = [part for message in messages for part in message(session, sql)]
        session.send(*parts)
        for _ in range(parts.count(session.SYNC)):
            session.error()
        self.look_at_activity(what, session)
        session.close()

    def no_hook_runs(self, when):
        """Postgres shows the text at Parse, Bind and Execute, and need not run anything then."""
        parse = lambda s, sql: [s.parse(sql)]
        bind = lambda s, _: [s.bind()]
        again = lambda s, _: [s.bind(portal="p"), s.run(1, "p"), s.run(1, "p")]
        sync = lambda s, _: [s.SYNC]
        for what, sql in {
            "a query": "SELECT auth.jwt_session_init('{t}')",
            "INSERT": "INSERT INTO locked SELECT FROM auth.jwt_session_init('{t}')",
            "SET": "SET pg_auth_jwt.token = '{t}'",
            "a comment": "/* {t} */",
        }.items():
            self.one_by_one(f"{when}, parsed only, {what}", sql, parse, sync)
            self.one_by_one(f"{when}, bound and never run, {what}", sql, parse, bind, sync)
            self.one_by_one(
                f"{when}, parsed, then bound and never run, {what}",
                sql,
                parse,
                sync,
                lambda s, sql: [s.parse(sql, name="n"), s.SYNC, s.bind(name="n"), s.SYNC],
            )
        self.one_by_one(
            f"{when}, portal executed twice",
            "INSERT INTO locked SELECT FROM auth.jwt_session_init('{t}'), generate_series(1, 3) RETURNING 1",
            parse,
            again,
            sync,
        )

        # Before its transaction ends, while another session looks.
        session = self.connect()
        session.send(
            session.parse(f"SELECT auth.jwt_session_init('{self.new_token(f'{when}, bound')}')"),
            session.bind(),
            b"H\0\0\0\4",
        )
        time.sleep(0.2)
        self.look_at_activity(f"{when}, bound", session)
        session.close()

    def not_logged(self):
        """Errors from before the first hook."""
        for what in ["syntax error", "unknown function", "comment, alone"]:
            self.attempt(f"not logged, simple, {what}", SIMPLE[what], simple)
        for what in ["syntax error", "comment, alone"]:
            self.attempt(f"not logged, extended, {what}", EXTENDED[what], extended)

    def waiting(self):
        """LOG lines about a lock, and about a session that another one ends, quote the
        statement."""
        holder, waiter = self.connect(), self.connect()
        holder.query("BEGIN; LOCK TABLE locked")
        waiter.begin_query(f"SELECT auth.jwt_session_init('{self.new_token('waiting')}'); SELECT FROM locked")
        self.wait_for("still waiting for")
        self.look_at_activity("waiting", waiter)
        self.root.query(f"SELECT pg_terminate_backend({waiter.backend})")
        self.wait_for("terminating connection due to administrator command")
        holder.close()

    def deadlock(self):
        """Its DETAIL in the log quotes the statements of all sessions in it."""
        one, two = self.connect(), self.connect()
        one.query("BEGIN; LOCK TABLE locked")
        two.query("BEGIN; SELECT pg_advisory_xact_lock(1)")
        give = "SELECT auth.jwt_session_init('%s');"
        one.begin_query(give % self.new_token("deadlock, one") + "SELECT pg_advisory_xact_lock(1)")
        two.begin_query(give % self.new_token("deadlock, two") + "SELECT FROM locked")
        self.wait_for("deadlock detected")
        one.die(), two.die()

    def maintenance_workers(self):
        """Parallel workers of CREATE INDEX and REINDEX show what their leader is running, and call
        no hook. They wait for a lock meanwhile, in a function of the index."""
        holder = self.cluster.session(self.db, "owner_role")
        holder.query(
            "CREATE TABLE gate (); CREATE TABLE big AS SELECT n FROM generate_series(1, 20000) AS n;"
            "ALTER TABLE big SET (parallel_workers = 2);"
            "CREATE FUNCTION gated(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS"
            " 'BEGIN PERFORM FROM public.gate; RETURN n; END';"
            "CREATE FUNCTION build() RETURNS void LANGUAGE plpgsql AS"
            " 'BEGIN EXECUTE ''CREATE INDEX ON big (gated(n))''; END'; CREATE INDEX old ON big (gated(n))"
        )
        index = "CREATE INDEX ON big (gated(n))"
        key = OCT.replace("{k}", "{t}")
        for what, (secret, run, sql) in {
            "CREATE INDEX, signed in before": (self.new_token, simple, "SELECT auth.jwt_session_init('{t}'); " + index),
            "CREATE INDEX, comment": (self.new_token, simple, index + " /* {t} */"),
            "CREATE INDEX, extended": (self.new_token, extended, index + " /* {t} */"),
            "REINDEX": (self.new_token, simple, "REINDEX INDEX old /* {t} */"),
            "DO": (self.new_token, simple, "DO $$ BEGIN PERFORM build(); END $$ /* {t} */"),
            "function": (self.new_token, simple, "SELECT build() /* {t} */"),
            "second of a message, after a caught error": (
                self.new_token,
                simple,
                "DO $$ BEGIN EXECUTE 'DROP INDEX none'; EXCEPTION WHEN OTHERS THEN END $$;" + index + " /* {t} */",
            ),
            "key": (self.new_key, simple, index + f" /* {key} */"),
        }.items():
            what = f"maintenance workers, {what}"
            sql = sql.replace("{t}", secret(what))
            leader = self.cluster.session(self.db, "owner_role")
            leader.query("SET maintenance_work_mem = '256MB'")
            holder.query("BEGIN; LOCK TABLE gate")
            builder = threading.Thread(target=run, args=(leader, sql, None))
            builder.start()
            workers = []
            while not workers and builder.is_alive():
                workers = self.root.query(
                    "SELECT query FROM pg_stat_activity WHERE backend_type = 'parallel worker'"
                    f" AND leader_pid = {leader.backend} AND wait_event_type = 'Lock'"
                )
            self.checks.true(f"{what}: has workers", workers)
            for (query,) in workers:
                self.checks.true(f"{what}: a worker shows the statement", query)
                self.checks.equal(f"{what}: a worker's pg_stat_activity", found(self.tokens[what], query), None)
            holder.query("COMMIT")
            builder.join()
            self.look_at_activity(what, leader)
            leader.close()

    def printed_trees(self):
        """debug_print_* writes constants as text in lines of any width, or as the numbers of their
        bytes, and bound parameters likewise."""
        session = self.connect()
        session.query("SET debug_print_parse = on; SET debug_print_rewritten = on; SET debug_print_plan = on")
        secrets = []
        set_token = "DO $$ BEGIN EXECUTE 'SET pg_auth_jwt.token = ''%s'''; END $$"
        for pretty in "on", "off":
            session.query(f"SET debug_pretty_print = {pretty}")
            for what, run, sql in [
                ("simple", simple, "SELECT auth.jwt_session_init('{t}')"),
                ("bound", extended, "SELECT auth.jwt_session_init($1)"),
                ("SET", simple, "SET pg_auth_jwt.token = '{t}'"),
                ("DO", simple, set_token % "{t}"),
                ("joined in DO", simple, set_token % "' || split_part('{t} ', ' ', 1) || '"),
                (
                    "EXECUTE",
                    simple,
                    "PREPARE p(text) AS SELECT auth.jwt_session_init($1); EXECUTE p('{t}'); DEALLOCATE p",
                ),
            ]:
                token = self.new_token(f"printed tree, pretty {pretty}, {what}")
                run(session, sql.replace("{t}", token), token)
                secrets.append(token.rsplit(".", 1)[1])
            secrets.append(self.new_key(f"printed tree, pretty {pretty}, key"))
            session.query("SELECT '%s'::jsonb -> 'kty'" % OCT.replace("{k}", secrets[-1]))
        session.query("SELECT 'harmless' FROM locked")
        session.close()
        log = "".join(self.cluster.log().split())
        numbers = lambda text: "".join(str(ord(character)) for character in text)
        for secret in secrets:
            for part in secret[:20], secret[-20:]:
                self.checks.true("a printed tree as text", part not in log)
                self.checks.true("a printed tree as numbers", numbers(part) not in log)
        self.checks.true("other trees are printed", numbers("harmless") in log)

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
            self.checks.equal(sql, session.value(sql), "<token>")
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


def found(secret, text):
    """The surroundings of a token's signature, or of some characters of a key, in the text."""
    text = text or ""
    *token, last = secret.rsplit(".", 1)
    for part in [last] if token else [last[at : at + 8] for at in range(len(last) - 7)]:
        at = text.find(part)
        if at >= 0:
            return text[max(0, at - 300) : at + 60]


def simple(session, sql, _token):
    session.query(sql)


def extended(session, sql, token):
    session.execute(sql, *([token] if "$1" in sql else []))


def copy(session, sql, _token):
    first, *lines = sql.split("\n")
    session.copy(first, lines)


def loaded_before_pg_stat_statements(checks):
    """Its hooks then run first."""
    libraries = "pg_auth_jwt,pg_stat_statements"
    with Cluster("leaks", **{**SETTINGS, "shared_preload_libraries": libraries}) as cluster:
        db = cluster.create_db("test")
        cluster.psql("-c", "CREATE EXTENSION pg_stat_statements", db)
        leaks = Leaks(cluster, db, checks)
        for what in SAME:
            leaks.attempt(f"loaded first, {what}", SIMPLE[what], simple)
        leaks.look_at_statements()


def logged_in_by(checks):
    """Tokens that open a connection, or do not, with everything in the log that can be."""
    if not oauth_client.has_login():
        return
    settings = {**SETTINGS, "log_min_messages": "debug5", "session_preload_libraries": "pg_auth_jwt"}
    with oauth_client.LoginCluster("leaks_login", **settings, max_worker_processes="16") as cluster:
        db = cluster.create_db("test")
        if "pg_stat_statements" in CONTRIB:
            cluster.psql("-c", "CREATE EXTENSION pg_stat_statements", db)
        cluster.session(db, "owner_role").query(oauth_client.issuer())
        cluster.root.query("CREATE ROLE boss LOGIN SUPERUSER")
        # The session that looks at the others' statements needs no token.
        cluster.configure(["local all authenticated trust"])
        leaks = Leaks(cluster, db, checks)
        cluster.configure([oauth_client.line(more="map=all")], "all /^.*$ authenticated\nall /^.*$ boss\n")

        def login(what, user="authenticated", change=lambda token: token, **claims):
            leaks.tokens[what] = oauth_client.token(f"u{len(leaks.tokens)}", **claims)
            try:
                return cluster.login(db, user, change(leaks.tokens[what]))
            except PgError as error:
                said = f"{error.fields} {error.challenge}"
                checks.equal(f"{what}: the client", found(leaks.tokens[what], said), None)

        for what, claims, change in (
            ("expired", {"seconds": -1}, lambda token: token),
            ("of another audience", {"aud": "x"}, lambda token: token),
            ("of another issuer", {"iss": "https://x.test.example"}, lambda token: token),
            ("without a scope", {"scope": None}, lambda token: token),
            ("of an unknown key", {"header": {"kid": "x"}}, lambda token: token),
            # Refused because the payload has changed; the signature is as secret as before.
            ("forged", {}, lambda token: token.replace(".", ".ey", 1)),
            ("of four parts", {}, lambda token: f"{token}.x"),
            ("not base64url", {}, lambda token: f"{token}=="),
            ("not a token's text", {}, lambda token: f"{token}!"),
            ("longer", {"pad": "x" * 40_000}, lambda token: f"{token}x"),
        ):
            checks.equal(f"login, {what}", login(f"login, {what}", change=change, **claims), None)
        checks.equal("login, a superuser is refused", login("login, a superuser is refused", "boss"), None)
        cluster.set(login_superuser="on")
        for user in ("authenticated", "boss"):
            what = f"login, {user}"
            session = login(what, user)
            leaks.look_at_activity(what, session)
            for sql in (
                "SELECT auth.user_id()",
                "SELECT 1 / 0",
                "SHOW ALL",
                "SELECT * FROM pg_settings",
                "SELECT name, setting, boot_val, reset_val FROM pg_settings WHERE name ~ '^pg_auth_jwt'",
                "SELECT current_setting('pg_auth_jwt.token')",
                "SHOW pg_auth_jwt.token",
                "RESET ALL",
                "DISCARD ALL",
                "SELECT set_config('pg_auth_jwt.token', current_setting('pg_auth_jwt.token'), false)",
                "RESET pg_auth_jwt.token",
                "SELECT a::text FROM pg_stat_activity AS a",
                "EXPLAIN (ANALYZE, VERBOSE, SETTINGS) SELECT auth.user_id()",
                "CREATE TEMP TABLE t AS SELECT s::text FROM pg_settings AS s",
                "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET pg_auth_jwt.token FROM CURRENT AS 'SELECT 1'",
                "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()",
            ):
                try:
                    rows = session.query(sql)
                except PgError as error:
                    rows = error.fields
                checks.equal(f"{what}: {sql}", found(leaks.tokens[what], str(rows) + str(session.notices())), None)
            leaks.look_at_activity(what, session)
            session.close()
        if "pg_stat_statements" in CONTRIB:
            leaks.look_at_statements()
        leaks.look_at_log()
        checks.true(
            "the log has all there is", "DEBUG" in cluster.log() and "connection authenticated" in cluster.log()
        )
        checks.equal("logins: no crash", cluster.crashes(), [])


def main():
    checks = Checks()
    for name in sorted(set(WANTED) - set(CONTRIB)):
        checks.skip(f"what {name} shows, as this Postgres has no contrib/{name}")
    with Cluster("leaks", **SETTINGS) as cluster:
        db = cluster.create_db("test")
        if "pg_stat_statements" in CONTRIB:
            cluster.psql("-c", "CREATE EXTENSION pg_stat_statements", db)
        owner = cluster.session(db, "owner_role")
        owner.query(
            tokens.setup(0)
            + "INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://keys.test.example', '{HS256}');"
            "CREATE TABLE locked (); GRANT ALL ON locked TO authenticated"
        )
        leaks = Leaks(cluster, db, checks)

        leaks.configure(session_preload_libraries="pg_auth_jwt")
        for what, sql in SIMPLE.items():
            leaks.attempt(f"simple, {what}", sql, simple)
        for what, sql in EXTENDED.items():
            leaks.attempt(f"extended, {what}", sql, extended)
        for what in KEYS:
            leaks.attempt_with_key(f"key, {what}", KEYS[what])
        leaks.connection_option()
        leaks.failed_transaction()
        leaks.no_hook_runs("logged")
        leaks.show()
        leaks.waiting()
        leaks.deadlock()
        leaks.maintenance_workers()
        leaks.printed_trees()
        leaks.configure(**USUAL)
        leaks.no_hook_runs("not logged")
        leaks.configure(log_min_messages="fatal")
        leaks.not_logged()
        leaks.configure(session_preload_libraries="", **USUAL)
        for what in FIRST:
            if what in SIMPLE:
                leaks.attempt(f"first statement, simple, {what}", SIMPLE[what], simple)
            if what in EXTENDED:
                leaks.attempt(f"first statement, extended, {what}", EXTENDED[what], extended)
        for what in FIRST_KEYS:
            leaks.attempt_with_key(f"first statement, key, {what}", KEYS[what])
        if "pg_stat_statements" in CONTRIB:
            leaks.look_at_statements()
        leaks.killed()
        leaks.look_at_log()
    if "pg_stat_statements" in CONTRIB:
        loaded_before_pg_stat_statements(checks)
    logged_in_by(checks)
    checks.done(
        f"{len(leaks.tokens)} tokens and keys are nowhere to be read, with {' and '.join(CONTRIB) or 'no contrib/'}"
    )


main()
