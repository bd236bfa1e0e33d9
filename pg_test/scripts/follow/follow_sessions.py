#!/usr/bin/env python3
"""auth.follow_sessions: a token counts only while its session is in the issuer's table, at each statement, whatever was
cached; and a table that is not, or no longer, the one that was followed lets no token in."""

import threading
import uuid

from lib import tokens
from lib.database import WHO, Database
from lib.following import until
from lib.pg import SharedCluster, run

FOLLOW = f"SELECT auth.follow_sessions('%s', '{tokens.ISSUER}'%s)"
# As Better Auth makes it.
BETTER_AUTH = """
    CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE,
        "createdAt" timestamptz NOT NULL DEFAULT now(), "ipAddress" text, "userAgent" text, "userId" text NOT NULL)"""
ADD = "INSERT INTO session (id, \"expiresAt\", token, \"userId\") VALUES ('%s', now() + interval '%s', '%s', 'u1')"
# As GoTrue makes it: in a schema "auth" of its own there, which is this extension's here.
SUPABASE = """
    CREATE SCHEMA gotrue;
    CREATE TABLE gotrue.sessions (id uuid PRIMARY KEY, user_id uuid NOT NULL, created_at timestamptz,
        updated_at timestamptz, factor_id uuid, not_after timestamptz, refreshed_at timestamp, user_agent text)"""


def add(session, end="1 h"):
    return ADD % (session, end, session)


def database(cluster, name, *statements):
    return Database(cluster, f"sessions_{name}", tokens.setup(0), *statements)


def followed(cluster, name):
    """Better Auth's table, with the sessions s1 and s2; a table with a policy."""
    db = database(cluster, name, BETTER_AUTH, add("s1"), add("s2"), FOLLOW % ("session", ""))
    db.owner.query(
        "CREATE TABLE things AS SELECT 'u1' AS owner FROM generate_series(1, 3000);"
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());"
        "GRANT SELECT ON things TO authenticated"
    )
    return db


def sign_out(checks, cluster):
    """At the next statement: in open transactions, of prepared statements, and in cursors."""
    db = followed(cluster, "sign_out")
    first, other = db.signed_in(sid="s1"), db.signed_in(sid="s2")
    checks.equal("both are there", [first.value(WHO), other.value(WHO)], ["u1", "u1"])
    old = db.signed_in(sid="s1")
    old.query("BEGIN ISOLATION LEVEL REPEATABLE READ; PREPARE mine AS SELECT count(*) FROM things")
    checks.equal("an old snapshot", old.value("EXECUTE mine"), "3000")
    cursor = db.signed_in(sid="s1")
    cursor.query("BEGIN; DECLARE c CURSOR FOR SELECT owner FROM things; FETCH c")

    db.owner.query("BEGIN; DELETE FROM session WHERE id = 's1'")
    checks.equal("not committed", first.value(WHO), "u1")
    checks.equal("in its own transaction", db.owner.code("SELECT auth.verify($1)", token("s1")), "28J10")
    db.owner.query("ROLLBACK")
    checks.equal("rolled back", db.owner.code("SELECT auth.verify($1)", token("s1")), None)
    db.owner.query("DELETE FROM session WHERE id = 's1'")
    error = first.error(WHO)
    checks.equal("signed out", error.code, "28J10")
    checks.true(f"which is said: {error.detail}", '"sid"' in error.detail and "sessions" in error.detail)
    checks.equal("under an old snapshot, prepared", old.code("EXECUTE mine"), "28J10")
    checks.equal("in a cursor", cursor.code("FETCH c"), "28J10")
    checks.equal("at sign-in", first.code("SELECT auth.jwt_session_init($1)", token("s1")), "28J10")
    checks.equal("another session", other.value(WHO), "u1")
    db.owner.query(add("s1"))
    checks.equal("a session that is back", first.value(WHO), "u1")
    counted = "SELECT sum(count) FROM auth.stats WHERE sqlstate = '28J10' AND issuer IS NOT NULL"
    db.owner.query("GRANT SELECT ON auth.stats TO authenticated")
    db.owner.query("GRANT EXECUTE ON FUNCTION auth.list_stats TO authenticated")
    checks.true("counted", int(first.value(counted)) >= 2)
    db.owner.query("TRUNCATE session")
    checks.equal("truncated", [first.code(WHO), other.code(WHO)], ["28J10", "28J10"])


def token(session, **claims):
    return tokens.token("u1", sid=session, **claims)


def ends(checks, cluster):
    """A row that has run out counts as none."""
    db = followed(cluster, "ends")
    session = db.signed_in(sid="s1")
    checks.equal("there", session.value(WHO), "u1")
    db.owner.query("UPDATE session SET \"expiresAt\" = now() - interval '1 s' WHERE id = 's1'")
    error = session.error(WHO)
    checks.equal("has run out", error.code, "28J10")
    checks.true(f"which is said: {error.detail}", "ended at" in error.detail)
    db.owner.query("UPDATE session SET \"expiresAt\" = 'infinity'")
    checks.equal("has no end", session.value(WHO), "u1")
    db.owner.query("ALTER TABLE session ADD revoked_at timestamptz")
    db.owner.query(FOLLOW % ("session", ""))
    checks.equal("not revoked", session.value(WHO), "u1")
    db.owner.query("UPDATE session SET revoked_at = now()")
    checks.equal("revoked", session.code(WHO), "28J10")


def claims(checks, cluster):
    """Ids of each type; the claim's name, or its path; a token without it."""
    one = uuid.uuid4()
    db = database(cluster, "claims", SUPABASE, f"INSERT INTO gotrue.sessions (id, user_id) VALUES ('{one}', '{one}')")
    db.owner.query(FOLLOW % ("gotrue.sessions", ", 'session_id'"))
    supabase = db.signed_in(session_id=str(one))
    checks.equal("a uuid", supabase.value(WHO), "u1")
    db.owner.query("UPDATE gotrue.sessions SET not_after = now()")
    checks.equal("not_after", supabase.code(WHO), "28J10")
    db.owner.query("UPDATE gotrue.sessions SET not_after = NULL")
    for odd in (str(uuid.uuid4()), "x", "", 7):
        checks.equal(
            f"no row: {odd}", db.owner.code("SELECT auth.verify($1)", tokens.token("u1", session_id=odd)), "28J10"
        )
    for odd in ({}, {"session_id": None}, {"session_id": [str(one)]}, {"sid": str(one)}, {"session_id": 1.5}):
        error = db.owner.error("SELECT auth.verify($1)", tokens.token("u1", **odd))
        checks.equal(f"no claim: {odd}", error and error.code, "28J09")

    db.owner.query("CREATE TABLE numbered (id bigint PRIMARY KEY); INSERT INTO numbered VALUES (1), (9007199254740993)")
    db.owner.query(FOLLOW % ("numbered", ", '{app_metadata,session,id}'"))
    for value, code in (
        (1, None),
        ("1", None),
        (2, "28J10"),
        ("01", "28J10"),
        (9007199254740993, None),
        (None, "28J09"),
    ):
        nested = tokens.token("u1", app_metadata={"session": {"id": value}})
        checks.equal(f"a path, {value!r}", db.owner.code("SELECT auth.verify($1)", nested), code)
    checks.equal(
        "no object on the way", db.owner.code("SELECT auth.verify($1)", tokens.token("u1", app_metadata=1)), "28J09"
    )
    checks.equal("the former table no longer counts", supabase.code(WHO), "28J09")
    # The same paths as of auth.issuers.role_claim.
    for path, nested in (
        ('{"a,b"}', {"a,b": 1}),
        ("{amr,1,sid}", {"amr": ["pwd", {"sid": 1}]}),
        ('{"{","\\"","null"}', {"{": {'"': {"null": 1}}}),
        ("https://app.example/sid", {"https://app.example/sid": 1}),
    ):
        db.owner.query(FOLLOW % ("numbered", f", '{path}'"))
        checks.equal(f"{path}: found", db.owner.code("SELECT auth.verify($1)", tokens.token("u1", **nested)), None)
        checks.equal(f"{path}: not", db.owner.code("SELECT auth.verify($1)", tokens.token("u1", sid=1)), "28J09")
        shown = "a,b" if path == '{"a,b"}' else path
        checks.equal(f"{path}: shown", db.owner.value("SELECT claim FROM auth.session_status"), shown)
    for bad in ("", "{}", "{a,,b}", "{a", "{null}", "{a b", '{"a}', f"{{{','.join('a' * 17)}}}"):
        checks.equal(f"no claim's name: {bad}", db.owner.code(FOLLOW % ("numbered", f", '{bad}'")), "22023")


def tables(checks, cluster):
    """A table that is another one now, or that others may write to, lets nobody in: an error of this server."""
    db = followed(cluster, "tables")
    session = db.signed_in(sid="s1")
    checks.equal("there", session.value(WHO), "u1")
    for change, undo in (
        ("ALTER TABLE session RENAME TO sessions", "ALTER TABLE sessions RENAME TO session"),
        ('ALTER TABLE session RENAME "expiresAt" TO ends', 'ALTER TABLE session RENAME ends TO "expiresAt"'),
        ("ALTER TABLE session RENAME id TO key", "ALTER TABLE session RENAME key TO id"),
        ("ALTER TABLE session OWNER TO authenticated", "ALTER TABLE session OWNER TO owner_role"),
        ("GRANT INSERT ON session TO PUBLIC", "REVOKE INSERT ON session FROM PUBLIC"),
        ("CREATE TABLE child () INHERITS (session)", "DROP TABLE child"),
        (
            "ALTER TABLE session RENAME TO t; CREATE VIEW session AS SELECT * FROM t",
            "DROP VIEW session; ALTER TABLE t RENAME TO session",
        ),
        ("UPDATE auth.issuers SET sessions = '{}'", FOLLOW % ("session", "")),
        ("UPDATE auth.issuers SET sessions = '1'", FOLLOW % ("session", "")),
    ):
        db.root.query(change)
        checks.equal(f"not usable: {change}", session.code(WHO), "55000")
        checks.equal("at sign-in", session.code("SELECT auth.jwt_session_init($1)", token("s2")), "55000")
        status = "SELECT state, detail IS NOT NULL FROM auth.session_status"
        checks.equal("its status", db.root.query(status), [["missing", "t"]])
        found = "SELECT level FROM auth.lint() WHERE code = 'sessions_missing'"
        checks.equal("found by auth.lint", db.root.query(found), [["error"]])
        db.root.query(undo)
        checks.equal(f"usable again: {undo}", session.value(WHO), "u1")
    db.root.query("DROP TABLE session")
    checks.equal("dropped", session.code(WHO), "55000")
    db.owner.query(BETTER_AUTH)
    db.owner.query(add("s1"))
    checks.equal("another table of the name and owner", session.value(WHO), "u1")

    db.owner.query("BEGIN; LOCK TABLE session")
    checks.equal("locked", session.code(WHO), "55P03")
    db.owner.query("ROLLBACK")
    checks.equal("no longer locked", session.value(WHO), "u1")


def refused(checks, cluster):
    """Tables that cannot be followed, and callers that may not."""
    db = database(cluster, "refused", BETTER_AUTH)
    owner = db.owner
    owner.query("CREATE TABLE no_id (sid text); CREATE TABLE odd (id jsonb); CREATE VIEW v AS SELECT 'x' AS id")
    owner.query('CREATE TABLE two (id text, expires_at timestamptz, "expiresAt" timestamptz)')
    for table, code in (("no_id", "42703"), ("odd", "42804"), ("v", "0A000"), ("two", "42702"), ("auth.jwks", "42703")):
        refusal = owner.code(FOLLOW % (table, ""))
        checks.true(f"{table}: {refusal}", refusal == code or table == "auth.jwks" and refusal in ("0A000", code))
    checks.equal("columns", owner.code(FOLLOW % ("no_id", ', columns => \'{"id": "sid"}\'')), None)
    checks.true("no index is said", any("no index" in notice["M"] for notice in owner.warnings()))
    found = owner.query("SELECT level, code FROM auth.lint() WHERE code ~ '^sessions_'")
    checks.equal("and found by auth.lint", found, [["warning", "sessions_without_index"]])
    owner.query("GRANT DELETE, SELECT ON session TO authenticated; GRANT UPDATE (id) ON session TO authenticated")
    checks.equal("that others may write", owner.code(FOLLOW % ("session", "")), None)
    checks.true("is said", any("other roles can write" in notice["M"] for notice in owner.warnings()))
    owner.query(f"SELECT auth.unfollow_sessions('{tokens.ISSUER}')")
    owner.query(FOLLOW % ("no_id", ', columns => \'{"id": "sid"}\''))
    checks.equal("an unknown member", owner.code(FOLLOW % ("no_id", ', columns => \'{"kid": "sid"}\'')), "22023")
    checks.equal("an unknown issuer", owner.code("SELECT auth.follow_sessions('session', 'https://x')"), "23503")
    checks.equal("others may not", db.session().code(FOLLOW % ("session", "")), "42501")
    checks.equal("unfollowed", owner.value(f"SELECT auth.unfollow_sessions('{tokens.ISSUER}')"), "t")
    checks.equal("not again", owner.value(f"SELECT auth.unfollow_sessions('{tokens.ISSUER}')"), "f")
    checks.equal("tokens count by themselves", owner.code("SELECT auth.verify($1)", tokens.token("u1")), None)


def unnamed(checks, cluster):
    """auth.lint finds a claim that no token has had since it was named; one that has it is enough."""
    db = followed(cluster, "unnamed")
    # Lint reads what its session has counted: a Postgres without shared counts has no others.
    found = "SELECT level, detail ~ '28J09', fix FROM auth.lint() WHERE code = 'sessions_unnamed'"
    verify = "SELECT auth.verify($1)"
    named, other = tokens.token("u1", sid="s1"), tokens.token("u1", session_id="s1")
    wrong = f"SELECT auth.follow_sessions('public.session', issuer => '{tokens.ISSUER}', claim => 'session_id', "
    checks.equal("no token yet", db.owner.query(found), [])
    checks.equal("another claim", db.owner.code(verify, other), "28J09")
    rows = db.owner.query(found)
    checks.equal("none had it", [row[:2] for row in rows], [["warning", "t"]])
    checks.true(f"the fix: {rows}", rows and rows[0][2].startswith(wrong))
    checks.true("with the columns", 'columns => \'{"id": "id", "expires_at": "expiresAt"}\'' in rows[0][2])
    checks.equal("refused for another reason", db.owner.code(verify, tokens.token("u1", -60, sid="s1")), "28J05")
    checks.equal("says nothing about it", len(db.owner.query(found)), 1)
    checks.equal("a session that has ended", db.owner.code(verify, tokens.token("u1", sid="gone")), "28J10")
    checks.equal("was named", db.owner.query(found), [])
    checks.equal("another claim again", db.owner.code(verify, other), "28J09")
    checks.equal("some had it", db.owner.query(found), [])
    db.owner.query(rows[0][2])
    checks.equal("followed by another claim", db.owner.query(found), [])
    checks.equal("which none had", db.owner.code(verify, named), "28J09")
    checks.equal("is found again", len(db.owner.query(found)), 1)
    checks.equal("until one has", db.owner.code(verify, other), None)
    checks.equal("it is named", db.owner.query(found), [])
    row = "SELECT xmin FROM auth.issuers"
    before = db.owner.value(row)
    db.owner.query(rows[0][2])
    checks.equal("the same again writes nothing", db.owner.value(row), before)
    db.owner.query(FOLLOW % ("session", ""))
    checks.equal("cached tokens are verified again", db.owner.code(verify, other), "28J09")
    checks.equal("and found", len(db.owner.query(found)), 1)
    # By the grants of docs/lint.md, and not without one of them.
    tables = "auth.issuers, auth.jwks, auth.revocations, auth.key_status, auth.session_status, auth.stats"
    functions = "auth.lint(), auth.list_keys(), auth.list_session_sources(), auth.list_stats()"
    db.owner.query(f"GRANT SELECT ON {tables} TO authenticated; GRANT EXECUTE ON FUNCTION {functions} TO authenticated")
    other_role = db.session()
    checks.equal("another role asks", other_role.code("SELECT * FROM auth.lint()"), None)
    for given in tables.split(", "):
        db.owner.query(f"REVOKE SELECT ON {given} FROM authenticated")
        checks.equal(f"without {given}", other_role.code("SELECT * FROM auth.lint()"), "42501")
        db.owner.query(f"GRANT SELECT ON {given} TO authenticated")
    db.owner.query(f"SELECT auth.unfollow_sessions('{tokens.ISSUER}')")
    checks.equal("unfollowed", db.owner.query(found), [])


def inspected(checks, cluster):
    db = followed(cluster, "inspected")
    step = "SELECT ok, detail FROM auth.inspect('%s') WHERE step = 'session'"
    checks.equal("there", db.owner.query(step % token("s1"))[0][0], "t")
    checks.equal("not there", db.owner.query(step % token("s3"))[0][0], "f")
    checks.equal("not named", db.owner.query(step % tokens.token("u1"))[0][0], "f")


def under_load(checks, cluster):
    """No statement that begins after the commit of a sign-out is answered."""
    db = followed(cluster, "load")
    wrong, count = [], 40
    for number in range(count):
        db.owner.query(add(f"load{number}"))
    readers = [db.signed_in(sid=f"load{number}") for number in range(count)]
    gone = [threading.Event() for _ in readers]

    def read(number):
        for _ in range(2_000):
            is_gone = gone[number].is_set()
            code = readers[number].code(WHO)
            if code is None and is_gone:
                wrong.append(number)
            if code == "28J10":
                return
        wrong.append(f"{number} goes on")

    threads = [threading.Thread(target=read, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for number in range(count):
        db.owner.query(f"DELETE FROM session WHERE id = 'load{number}'")
        gone[number].set()
    for thread in threads:
        thread.join()
    checks.equal("none is answered", wrong, [])


# Each reads the table `things`, in the course of one message of the client. `wait` ends when the sign-out is committed.
WAIT = "PERFORM pg_advisory_xact_lock(7)"
READ = "PERFORM count(*) FROM things"
DO = "DO $$ DECLARE c refcursor; n bigint; r record; BEGIN %s END $$"
AT_ONCE = {
    "DO": DO % f"{READ}; {WAIT}; {READ};",
    "dynamic SQL": DO % f"{READ}; {WAIT}; EXECUTE 'SELECT count(*) FROM things' INTO n;",
    "a function's query": DO % f"{READ}; {WAIT}; PERFORM counted();",
    "a default": DO % f"{READ}; {WAIT}; INSERT INTO notes DEFAULT VALUES;",
    "a subtransaction": DO % f"{READ}; {WAIT}; BEGIN {READ}; EXCEPTION WHEN division_by_zero THEN NULL; END;",
    "a new cursor": DO % f"{READ}; {WAIT}; OPEN c FOR SELECT owner FROM things; FETCH c INTO r;",
    "CALL": "CALL twice()",
    "CALL with COMMIT": "CALL twice_with_commit()",
    "a message of several": "SELECT count(*) FROM things; SELECT pg_advisory_lock(7); SELECT count(*) FROM things",
}
# Those that a query calls, and cursors: after a while. So they go on until they are refused.
AGAIN = "FOR i IN 1..600 LOOP PERFORM pg_sleep(0.05); %s; END LOOP; RAISE 'is never refused'"
IN_TIME = {
    "a function": "SELECT again()",
    "a function, beside a claim": "SELECT auth.user_id(), again()",
    "a function, for rows of the table": "SELECT again() FROM things",
    "a cursor": DO % f"OPEN c FOR SELECT owner FROM things; FETCH c INTO r; {WAIT}; {AGAIN % 'FETCH c INTO r'};",
    "a loop": DO % f"FOR r IN SELECT owner FROM things LOOP {WAIT}; PERFORM pg_sleep(0.05); END LOOP;",
}
ENDED = {"28J10", "28J12", "57014"}


def in_one_message(checks, cluster):
    """A sign-out that is committed while a message of the client runs: what the message reads later is refused."""
    db = followed(cluster, "message")
    db.owner.query(
        "CREATE TABLE notes (owner text DEFAULT auth.user_id()); GRANT INSERT ON notes TO authenticated;"
        "CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM things';"
        f"CREATE FUNCTION again() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {READ}; {WAIT}; {AGAIN % READ}; END $$;"
        f"CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$ BEGIN {READ}; {WAIT}; {READ}; END $$;"
        f"CREATE PROCEDURE twice_with_commit() LANGUAGE plpgsql AS $$ BEGIN {READ}; COMMIT; {WAIT}; {READ}; END $$;"
    )
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    for what, statement in (AT_ONCE | IN_TIME).items():
        for end in ("DELETE FROM session WHERE id = 's1'", "UPDATE session SET \"expiresAt\" = '-infinity'"):
            session = db.signed_in(sid="s1")
            db.root.query("SELECT pg_advisory_lock(7)")
            outcome = []
            reader = threading.Thread(target=lambda: outcome.append(session.error(statement)))  # noqa: B023
            reader.start()
            until(lambda: db.owner.value(waits) == "1", f"{what} waits")
            db.owner.query(end)
            db.root.query("SELECT pg_advisory_unlock(7)")
            reader.join()
            error = outcome[0]
            checks.true(f"{what}, {end}: {error}", error and error.code in ENDED and "never" not in error.message)
            session.close()
            db.owner.query("DELETE FROM session WHERE id = 's1'; UPDATE session SET \"expiresAt\" = 'infinity'")
            db.owner.query(add("s1"))


PARTS = (sign_out, ends, claims, tables, refused, unnamed, inspected, under_load, in_one_message)
run("tokens count only while their sessions are there", PARTS, SharedCluster())
