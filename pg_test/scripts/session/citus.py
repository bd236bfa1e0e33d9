#!/usr/bin/env python3
"""Citus gets the token of a transaction as a SET LOCAL that it can send to its workers, and nobody else gets it: not
the log, pg_stat_activity, pg_stat_statements or auto_explain. A module with a utility hook stands in for Citus
(utility_hook.c); the text that it sees is run in another database, as a worker would."""

import os
import shutil
import subprocess

from lib import tokens
from lib.pg import HERE, Checks, Cluster, has_library

OURS = "pg_auth_jwt"
STATISTICS = "pg_stat_statements"
CONTRIB = [name for name in (STATISTICS, "auto_explain") if has_library(name)]
LOGGED = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug5",
    "log_parameter_max_length": "0",
    "log_error_verbosity": "verbose",
    "compute_query_id": "on",
    "track_activity_query_size": "64kB",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_utility": "on",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_analyze": "on",
}
IN_FUNCTION = """
CREATE FUNCTION sign_in(token text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    PERFORM auth.jwt_session_init(token, true);
    RETURN auth.user_id();
END $$;
CREATE FUNCTION sign_in_and_back(token text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    BEGIN
        PERFORM auth.jwt_session_init(token, true);
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        RETURN auth.user_id();
    END;
END $$;
"""


def compile_hook(cluster):
    includes = cluster.client("pg_config", "--includedir-server").strip()
    library = f"{cluster.dir}/utility_hook.so"
    source = f"{HERE}/lib/utility_hook.c"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", f"-I{includes}", source, "-o", library], check=True)
    os.chmod(library, 0o755)
    return library


class Place:
    """A database of a coordinator, and one that stands for a worker's."""

    def __init__(self, checks, cluster, library, what):
        self.checks, self.cluster, self.what = checks, cluster, what
        self.db, self.worker = cluster.create_db("test_citus"), cluster.create_db("test_citus_worker")
        for db in (self.db, self.worker):
            cluster.session(db, "owner_role").query(tokens.setup(0))
        self.root = cluster.session(self.db, "postgres")
        self.root.query(
            f"CREATE FUNCTION seen() RETURNS text LANGUAGE c AS '{library}', 'utility_hook_seen';{IN_FUNCTION}"
        )
        if STATISTICS in CONTRIB:
            self.root.query(f"CREATE EXTENSION {STATISTICS}")
        self.tokens = []

    def equal(self, what, got, wanted):
        self.checks.equal(f"{self.what}: {what}", got, wanted)

    def session(self, propagates="local", user="authenticated"):
        session = self.cluster.session(self.db, user)
        if propagates:
            session.query(f"SET citus.propagate_set_commands = {propagates}")
        return session

    def token(self, sub, **claims):
        token = tokens.token(sub, **claims)
        self.tokens.append(token)
        return token

    def is_seen(self, session, what, token, before="", workers=("authenticated",)):
        """The hook has seen just this token's SET LOCAL, by which a worker has the same user and role."""
        seen = session.value("SELECT seen()")
        self.equal(f"{what}: the hook", seen, f"{before}SET LOCAL pg_auth_jwt.token = '{token}';")
        who = "SELECT concat_ws(' ', auth.user_id(), current_user)"
        for role in workers:
            worker = self.cluster.session(self.worker, role)
            worker.query("BEGIN")
            worker.query(seen)
            self.equal(f"{what}: the worker's user", worker.value(who), session.value(who))
            worker.query("COMMIT")
            self.equal(f"{what}: the worker's next transaction", worker.value(who), role)
            worker.close()

    def is_hidden(self, what, session):
        """pg_stat_activity shows the client's statement."""
        shown = self.root.value(f"SELECT query FROM pg_stat_activity WHERE pid = {session.backend}")
        for token in self.tokens:
            self.equal(f"{what}: pg_stat_activity", token.rsplit(".", 1)[1] in shown, False)


def is_passed_on(place):
    """Each token that ends with the transaction, by whatever way it comes."""
    session = place.session()
    for what, sql in {
        "by the argument": "SELECT auth.jwt_session_init($1, true)",
        "by the block": "SELECT auth.jwt_session_init($1)",
        "by a function": "SELECT sign_in($1)",
        "by the varchar": "SELECT auth.jwt_session_init(jwt => $1)",
    }.items():
        token = place.token(what)
        session.query("BEGIN")
        session.execute(sql, token)
        place.is_hidden(what, session)
        place.is_seen(session, what, token)
        place.equal(f"{what}: the user", session.value("SELECT auth.user_id()"), what)
        # Known by now, so it is not verified again.
        session.execute(sql, token)
        place.is_seen(session, f"{what}, again", token)
        session.query("COMMIT")
        place.equal(f"{what}: after the transaction", session.value("SELECT auth.user_id()"), None)
        place.equal(f"{what}: nothing else", session.value("SELECT seen()"), "")

    token = place.token("u1")
    session.query(f"BEGIN; SELECT auth.jwt_session_init('{token}')")
    place.is_hidden("as a literal", session)
    place.is_seen(session, "as a literal", token)
    session.execute("SELECT auth.jwt_session_init($1)", "")
    place.is_seen(session, "signed out", "")
    session.query("COMMIT")

    token = place.token("by the setting")
    session.query("SET pg_auth_jwt.scope = transaction; BEGIN")
    session.execute("SELECT auth.jwt_session_init($1, false)", token)
    place.is_seen(session, "by the setting", token)
    session.query("COMMIT")
    # Postgres 19 has no other way to write strings any more.
    if session.code("SET standard_conforming_strings = off") != "0A000":
        session.query("BEGIN")
        session.execute("SELECT auth.jwt_session_init($1)", token)
        place.is_seen(session, "with backslashes in strings", token)
        session.query("COMMIT")
    session.close()


def is_not_passed_on(place):
    """What Citus does not want, what is for the session, and what is refused."""
    for propagates in ("none", None):
        session = place.session(propagates)
        session.query("BEGIN")
        session.execute("SELECT auth.jwt_session_init($1)", place.token("u1"))
        place.equal(f"{propagates}: the user", session.value("SELECT auth.user_id()"), "u1")
        place.equal(f"{propagates}: the hook", session.value("SELECT seen()"), "")
        session.query("COMMIT")
        session.close()
    session = place.session()
    session.execute("SELECT auth.jwt_session_init($1, false)", place.token("u1"))
    place.equal("of the session: the hook", session.value("SELECT seen()"), "")
    session.query("BEGIN")
    bad = place.token("u2").replace(".", ".ey", 1)
    place.equal("refused", session.code("SELECT auth.jwt_session_init($1)", bad), "28J01")
    session.query("ROLLBACK")
    place.equal("refused: the hook", session.value("SELECT seen()"), "")
    session.close()


def fails_with_the_hook(place):
    """An error of the hook is the statement's, with its code, and leaves no user behind. A hook that does not go on
    leaves the user that was asked for, and not the one before."""
    session = place.session()
    session.execute("SELECT auth.jwt_session_init($1, false)", place.token("u1"))
    session.query("SET citus.fails = on; BEGIN")
    error = session.error("SELECT auth.jwt_session_init($1)", place.token("u2"))
    place.equal("fails", error and error.code, "08006")
    place.equal("fails: the message", error.message, "no worker for: SET LOCAL pg_auth_jwt.token = '<token>'")
    session.query("ROLLBACK")
    place.equal("fails: the user", session.value("SELECT auth.user_id()"), "u1")
    session.query("SET citus.fails = off; SET citus.swallows = on; BEGIN")
    session.execute("SELECT auth.jwt_session_init($1)", place.token("u2"))
    place.equal("swallows: the user", session.value("SELECT auth.user_id()"), "u2")
    session.query("COMMIT; SET citus.swallows = off; BEGIN; SELECT seen()")
    place.equal("back", session.value("SELECT sign_in_and_back($1)", place.token("u3")), "u1")
    session.query("COMMIT")
    session.close()


def passes_the_role(place):
    """auth.login passes role and token on. Citus connects as the role of that moment, so a worker's connection that is
    older than the login has the connection's role, and a later one has that of the token."""
    place.cluster.session(place.db, "owner_role").query(
        "UPDATE auth.issuers SET role_claim = 'role', allowed_roles = '{editor,\"an ''odd'' role\"}'"
    )
    session = place.session(user="authenticator")
    for role in ("editor", "an 'odd' role"):
        token = place.token("u1", role=role)
        session.query("BEGIN")
        session.execute("SELECT auth.login($1)", token)
        place.is_hidden(f"login as {role}", session)
        before = "SET LOCAL role = '{}';".format(role.replace("'", "''"))
        place.is_seen(session, f"login as {role}", token, before, ("authenticator", role))
        session.query("SAVEPOINT before")
        place.equal("another token", session.code("SELECT auth.jwt_session_init($1)", place.token("u2")), "55000")
        session.query("ROLLBACK TO before")
        place.equal("login: the user", session.value("SELECT auth.user_id()"), "u1")
        session.query("COMMIT")
        place.equal("afterwards", session.value("SELECT current_user::text"), "authenticator")
    session.query("BEGIN")
    place.equal("no such role", session.code("SELECT auth.login($1)", place.token("u1", role="x")), "42501")
    session.query("ROLLBACK")
    place.equal("no such role: the hook", session.value("SELECT seen()"), "")
    for setting in ("fails", "swallows"):
        session.query(f"SET citus.{setting} = on; BEGIN")
        code = session.code("SELECT auth.login($1)", place.token("u3", role="editor"))
        place.equal(setting, code, "08006" if setting == "fails" else None)
        if not code:
            who = session.value("SELECT concat_ws(' ', auth.user_id(), current_user)")
            place.equal(f"{setting}: the user", who, "u3 editor")
        session.query(f"ROLLBACK; SET citus.{setting} = off; SELECT seen()")
    session.close()


def is_nowhere_else(place):
    place.root.query("DO $$ BEGIN EXECUTE 'SET LOCAL application_name = control'; END $$")
    log = place.cluster.log()
    place.equal("the log has the statements", "SELECT auth.jwt_session_init($1, true)" in log, True)
    statements = ""
    if STATISTICS in CONTRIB:
        of_database = "SELECT query FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid"
        statements = "\n".join(row[0] for row in place.root.query(of_database + " WHERE datname = 'test_citus'"))
        place.equal("statistics have utility statements", "SET LOCAL application_name" in statements, True)
        place.equal("statistics have ours", "SET LOCAL pg_auth_jwt.token" in statements, False)
    for token in place.tokens:
        signature = token.rsplit(".", 1)[1]
        place.equal("the log", signature in log, False)
        place.equal("pg_stat_statements", signature in statements, False)


def main():
    checks = Checks()
    if not shutil.which("cc"):
        checks.skip_all("no C compiler")
    if STATISTICS not in CONTRIB:
        checks.skip(f"statistics, as this Postgres has no contrib/{STATISTICS}")
    orders = {
        "after": ["{hook}", *CONTRIB, OURS],
        "before": [OURS, *CONTRIB, "{hook}"],
        "statistics first": [*CONTRIB, "{hook}", OURS],
    }
    with Cluster("citus", **LOGGED) as cluster:
        library = compile_hook(cluster)
        roles = """CREATE ROLE editor LOGIN; CREATE ROLE "an 'odd' role" LOGIN;
            CREATE ROLE authenticator LOGIN NOINHERIT; GRANT editor, "an 'odd' role" TO authenticator"""
        cluster.session("postgres", "postgres").query(roles)
        for what, order in orders.items():
            conf = ", ".join(f"'{name}'" for name in order).format(hook=library)
            cluster.session("postgres", "postgres").query(f"ALTER SYSTEM SET shared_preload_libraries = {conf}")
            cluster.control("restart")
            place = Place(checks, cluster, library, what)
            checks.run([is_passed_on, is_not_passed_on, fails_with_the_hook, passes_the_role, is_nowhere_else], place)
            place.root.close()
            for db in (place.db, place.worker):
                cluster.session("postgres", "postgres").query(f"DROP DATABASE {db}")
    checks.done("a hook like that of Citus sees the transaction's token, and nobody else does")


main()
