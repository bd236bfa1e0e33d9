#!/usr/bin/env python3
"""An expired token stops working at the next statement, wherever it is in use.

Each case below is a session of its own that reads twice: while the token is good, and once it is
not.
"""

import sys
import time

from lib import tokens
from lib.pg import Checks, PgError, SharedCluster

# Seconds until the expiry. If a machine is too slow to prepare all cases in that time, the next one
# is tried.
LIVES = (3.0, 12.0, 48.0)
WHO = "SELECT auth.user_id()"

SCHEMA = """
CREATE TABLE things (owner text DEFAULT auth.user_id(), n int);
INSERT INTO things SELECT 'u1', n FROM generate_series(1, 20000) n;
ANALYZE things;
ALTER TABLE things ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());
GRANT SELECT, INSERT ON things TO authenticated;
CREATE TABLE public_things AS SELECT n FROM generate_series(1, 20000) n;
ANALYZE public_things;
GRANT SELECT ON public_things TO authenticated;

-- A function that the planner cannot look into, so that the claim function is called for each row.
CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN auth.user_id(); END';
CREATE PROCEDURE outlive(seconds float8, commits boolean, INOUT seen text DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.user_id();
    PERFORM pg_sleep(seconds);
    IF commits THEN COMMIT; END IF;
    seen := auth.user_id();
END $$;
"""


def outcome(receive, *args):
    try:
        rows = receive(*args)
        return rows[0][0] if rows else None
    except PgError as error:
        return error.code


# Claim functions and policies, statement by statement.


def claim_function(s):
    yield s.value(WHO)
    yield s.code(WHO)


def not_cached(s):
    s.query("RESET SESSION AUTHORIZATION; SET pg_auth_jwt.cache_size = 0; SET SESSION AUTHORIZATION authenticated")
    yield from claim_function(s)


not_cached.user = "postgres"


def never_read_before(s):
    yield "u1"
    yield s.code(WHO)


def policy(s):
    yield s.value("SELECT DISTINCT owner FROM things")
    yield s.code("SELECT DISTINCT owner FROM things")


def insert_under_policy(s):
    yield s.value("INSERT INTO things (n) VALUES (0) RETURNING owner")
    yield s.code("INSERT INTO things (n) VALUES (0) RETURNING owner")


def open_transaction(s):
    s.query("BEGIN")
    yield s.value(WHO)
    yield s.code(WHO)


def repeatable_read(s):
    s.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
    yield s.value(WHO)
    yield s.code(WHO)


def given_anew(s):
    yield s.value(WHO)
    yield s.code("SELECT auth.jwt_session_init($1)", s.token)


def generic_plan(s):
    s.query("SET plan_cache_mode = force_generic_plan; PREPARE who AS SELECT owner FROM things LIMIT 1")
    yield s.value("EXECUTE who")
    yield s.code("EXECUTE who")


def prepared_by_protocol(s):
    s.send(s.parse("SELECT owner FROM things LIMIT 1", name="who"), s.SYNC)
    s.receive()

    def execute():
        s.send(s.bind(name="who"), s.run(), s.SYNC)
        return outcome(s.receive)

    yield execute()
    yield execute()


def parallel_worker(s):
    s.query(
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
        "SET parallel_leader_participation = off"
    )
    yield s.value("SELECT max(who()) FROM public_things")
    error = s.error("SELECT max(who()) FROM public_things")
    yield error.code + (" in a worker" if "parallel worker" in error.fields.get("W", "") else "")


parallel_worker.after = "28J05 in a worker"


# Cursors. Each FETCH is a statement, whether its plan evaluates the claim function for each row, or
# has evaluated it once, in an InitPlan, at the first FETCH.


def fetch(s, query):
    s.query(f"BEGIN; DECLARE c CURSOR FOR {query}")
    yield s.value("FETCH c")
    yield outcome(s.query, "FETCH c")


def fetch_for_each_row(s):
    yield from fetch(s, "SELECT who() FROM things")


def fetch_after_init_plan(s):
    yield from fetch(s, "SELECT (SELECT auth.user_id()) FROM things")


def first_fetch(s):
    s.query("BEGIN; DECLARE c CURSOR FOR SELECT owner FROM things")
    yield "u1"
    yield s.code("FETCH c")


def held_cursor(s):
    s.query("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT who() FROM things LIMIT 9; COMMIT")
    yield s.value("FETCH c")
    yield s.value("FETCH c")


held_cursor.after = "u1"  # COMMIT stored its rows.


def portal(s):
    s.query("BEGIN")
    s.send(s.parse("SELECT who() FROM things"), s.bind(portal="p"), s.run(rows=1, portal="p"), s.SYNC)
    yield outcome(s.receive)
    s.send(s.run(rows=1, portal="p"), s.SYNC)
    yield outcome(s.receive)


# One message from the client is one statement, unless it commits.


def call(s, commits):
    s.begin_query(f"CALL outlive({s.life}, {commits})")
    yield "u1"
    yield outcome(s.receive)


def procedure(s):
    yield from call(s, "false")


procedure.after = "u1"


def procedure_that_commits(s):
    yield from call(s, "true")


# Other times than exp.


def key_expires(s):
    s.query("RESET pg_auth_jwt.token")
    s.query(f"SET pg_auth_jwt.token = '{tokens.token('u1', key=1)}'")
    yield s.value(WHO)
    yield s.code(WHO)


key_expires.after = "28J03"


def max_age(s):
    aged = tokens.token("u1", iss="https://aged.test.example", iat=s.start, key=3)
    s.query(f"SET pg_auth_jwt.token = '{aged}'")
    yield s.value(WHO)
    yield s.code(WHO)


def not_before(s):
    s.query(f"SET pg_auth_jwt.token = '{tokens.token('u1', nbf=s.start + s.life)}'")
    yield s.code(WHO)
    yield s.value(WHO)


not_before.before, not_before.after = "28J06", "u1"

CASES = [
    claim_function,
    not_cached,
    never_read_before,
    policy,
    insert_under_policy,
    open_transaction,
    repeatable_read,
    given_anew,
    generic_plan,
    prepared_by_protocol,
    parallel_worker,
    fetch_for_each_row,
    fetch_after_init_plan,
    first_fetch,
    held_cursor,
    portal,
    procedure,
    procedure_that_commits,
    key_expires,
    max_age,
    not_before,
]


def attempt(cluster, life):
    """All cases with a token of that life; None where it expired before they were ready."""
    checks = Checks()
    db = cluster.create_db(f"test_expiry_{life:.0f}")
    owner = cluster.session(db, "owner_role")
    owner.query(SCHEMA + tokens.setup(0, 1))
    owner.query(
        f"INSERT INTO auth.issuers (issuer, algorithms, leeway, max_age) VALUES "
        f"('https://aged.test.example', '{{HS256}}', '0 s', '{life} s');"
        f"SELECT auth.init('{tokens.jwks(3)}', issuer => 'https://aged.test.example')"
    )
    sessions = [cluster.session(db, getattr(case, "user", "authenticated")) for case in CASES]

    start = time.time()
    token = tokens.token("u1", life)
    owner.query(f"UPDATE auth.jwks SET expires_at = to_timestamp({start + life}) WHERE kid = 'k1'")
    runs = []
    for case, session in zip(CASES, sessions):
        session.start, session.life, session.token = start, life, token
        if session.value("SELECT session_user") == "postgres":
            session.query("SET SESSION AUTHORIZATION authenticated")
        session.query("SELECT auth.jwt_session_init('%s')" % token)
        runs.append(case(session))
        checks.equal(f"{case.__name__}, before", next(runs[-1]), getattr(case, "before", "u1"))
    if time.time() > start + life:
        return None
    time.sleep(start + life + 0.05 - time.time())
    for case, run in zip(CASES, runs):
        checks.equal(f"{case.__name__}, after", next(run), getattr(case, "after", "28J05"))
    return checks


def main():
    cluster = SharedCluster()
    for life in LIVES:
        if checks := attempt(cluster, life):
            return checks.done(f"expiry seen in {len(CASES)} situations")
    sys.exit(f"what comes before the expiry takes longer than {LIVES[-1]} s on this machine")


main()
