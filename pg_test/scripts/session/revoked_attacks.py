#!/usr/bin/env python3
"""Mallory's token is revoked, or their session is ended, while they are at work, with free SQL and a second token that
goes on: no answer afterwards, and none that mixes before and after."""

import threading

from lib import tokens
from lib.database import WHO, Database
from lib.following import until
from lib.pg import PgError, SharedCluster, run

# The row with secret = false is what LOW shows. A policy that takes an error for "no clearance" would show the others.
SCHEMA = """
GRANT CREATE ON SCHEMA public TO authenticated;
CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL);
CREATE TABLE memos AS SELECT i AS id, i > 1 AS secret FROM generate_series(1, 400) i;
ALTER TABLE memos ADD PRIMARY KEY (id), ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON memos TO authenticated
    USING (auth.user_id() IS NOT NULL AND (NOT secret OR (auth.session() ->> 'clearance') IS DISTINCT FROM 'low'));
CREATE SCHEMA helper;
GRANT USAGE ON SCHEMA helper TO PUBLIC;
-- Catches each error, and by a query, which looks again for a followed session.
CREATE FUNCTION helper.clearance() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$ BEGIN
    RETURN (SELECT auth.session() ->> 'clearance' FROM (VALUES (1)) AS v WHERE auth.user_id() IS NOT NULL);
    EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
-- As PL/Python's "except Exception" does, which catches the cancelling of a query too.
CREATE FUNCTION helper.any_clearance() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$ BEGIN
    RETURN (SELECT auth.session() ->> 'clearance' FROM (VALUES (1)) AS v WHERE auth.user_id() IS NOT NULL);
    EXCEPTION WHEN OTHERS OR query_canceled THEN RETURN NULL; END $$;
CREATE TABLE notes (LIKE memos INCLUDING ALL);
CREATE TABLE letters (LIKE memos INCLUDING ALL);
INSERT INTO notes TABLE memos;
INSERT INTO letters TABLE memos;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON notes TO authenticated
    USING (auth.user_id() IS NOT NULL AND (NOT secret OR helper.clearance() IS DISTINCT FROM 'low'));
CREATE POLICY p ON letters TO authenticated
    USING (auth.user_id() IS NOT NULL AND (NOT secret OR helper.any_clearance() IS DISTINCT FROM 'low'));
CREATE VIEW seen WITH (security_barrier) AS SELECT * FROM notes;
ALTER VIEW seen OWNER TO authenticated;
CREATE TABLE plain AS SELECT * FROM memos;
CREATE FUNCTION of_definer() RETURNS SETOF plain LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT * FROM plain WHERE auth.user_id() IS NOT NULL
    AND (NOT secret OR helper.any_clearance() IS DISTINCT FROM 'low') $$;
GRANT SELECT, UPDATE ON memos, notes, letters TO authenticated;
"""
# Mallory's: waits once in the middle of a query, so that the end comes there.
MALLORYS = """
CREATE FUNCTION pg_temp.hold(id int) RETURNS boolean LANGUAGE plpgsql COST 100000 AS $$ BEGIN
    IF id = 1 THEN PERFORM pg_advisory_xact_lock(7); END IF;
    -- Longer than a look for a session counts within a query.
    IF id = 2 THEN PERFORM pg_sleep(0.11); END IF;
    RETURN true; END $$;
"""
LOW = {"sub": "mallory", "clearance": "low", "sid": "s1", "jti": "j1"}
OTHER = {"sub": "mallory", "clearance": "low", "sid": "s2", "jti": "j2"}
ISSUER = tokens.ISSUER
ENDS = {
    "jti": f"SELECT auth.revoke('{ISSUER}', jti => 'j1')",
    "sub": f"SELECT auth.revoke('{ISSUER}', sub => 'mallory', issued_before => 'infinity')",
    "sid": f"SELECT auth.revoke('{ISSUER}', sid => 's1')",
    "issuer": f"SELECT auth.revoke_issuer('{ISSUER}', issued_before => 'infinity')",
    "session deleted": "DELETE FROM session WHERE id = 's1'",
    "session ended": "UPDATE session SET \"expiresAt\" = now() - interval '1 s' WHERE id = 's1'",
    "sessions unreadable": "ALTER TABLE session RENAME TO sessions",
    "revocations unreadable": "ALTER TABLE auth.revocations RENAME TO gone",
}
MEND = """
ALTER TABLE IF EXISTS sessions RENAME TO session;
ALTER TABLE IF EXISTS auth.gone RENAME TO revocations;
TRUNCATE auth.revocations, session;
INSERT INTO session VALUES ('s1', 'infinity'), ('s2', 'infinity');
"""
TABLES = ("memos", "notes", "letters", "seen", "of_definer()")
REFUSED = {"28J10", "28J12", "57014", "55000"}


class Place:
    def __init__(self, cluster, name):
        self.db = Database(cluster, f"revoked_{name}", tokens.setup(0), SCHEMA)
        self.db.root.query(MEND + f"SELECT auth.follow_sessions('session', '{ISSUER}')")

    def mallory(self, settings="", **claims):
        session = self.db.signed_in(**claims)
        session.query(f"SELECT auth.user_id(); {MALLORYS}{settings}")
        return session

    def end_during(self, session, end, statement):
        """The outcome of a statement that waits in the middle, where this end comes."""
        outcome = []
        self.db.root.query("SELECT pg_advisory_lock(7)")

        def work():
            try:
                outcome.append((None, session.query(statement)))
            except PgError as error:
                outcome.append((error.code, error.rows))

        worker = threading.Thread(target=work)
        worker.start()
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: not worker.is_alive() or self.db.owner.value(waits) == "1", f"it waits: {statement}")
        self.db.root.query(end)
        self.db.root.query("SELECT pg_advisory_unlock(7)")
        worker.join()
        return outcome[0]


def in_a_query(checks, cluster):
    """It ends in an error, or goes on as what it was; no policy's handler makes an answer of the end."""
    place = Place(cluster, "query")
    refused = 0
    for once in ("on", "off"):
        for end, statement in ENDS.items():
            # Half of them, because each takes a while.
            for table in TABLES if once == "on" else TABLES[:2]:
                what = f"{end}, {table}, once {once}"
                settings = f"SET pg_auth_jwt.evaluate_once = {once}; SET enable_seqscan = off; SET enable_sort = off"
                session = place.mallory(settings, **LOW)
                query = f"SELECT secret FROM {table} WHERE pg_temp.hold(id) ORDER BY id"
                code, rows = place.end_during(session, statement, query)
                checks.true(f"{what}: {code}", code in REFUSED or code is None)
                checks.true(f"no other row, {what}: {rows[:3]}", rows in ([], [["f"]]))
                refused += code is not None
                checks.true(f"the next statement, {what}", session.code(f"SELECT count(*) FROM {table}") in REFUSED)
                checks.true(f"and the next, {what}", session.code(WHO) in REFUSED)
                place.db.root.query(MEND)
                checks.equal(f"good again, {what}", session.value(WHO), "mallory")
                session.close()
    checks.true(f"some are refused: {refused}", refused >= len(ENDS))


def cursors(checks, cluster):
    """What was left open: cursors, portals, prepared statements, a savepoint, a function that catches all."""
    place = Place(cluster, "cursors")
    for end, statement in ENDS.items():
        for table in TABLES:
            session = place.mallory("PREPARE again AS SELECT count(*) FROM memos", **LOW)
            session.query(
                f"BEGIN ISOLATION LEVEL REPEATABLE READ; SAVEPOINT a; EXECUTE again; SAVEPOINT b;"
                f"DECLARE c SCROLL CURSOR FOR SELECT id FROM {table}; FETCH 1 FROM c; SAVEPOINT c"
            )
            place.db.root.query(statement)
            for read in (
                *("FETCH 1 FROM c", "FETCH ALL FROM c", "FETCH BACKWARD 1 FROM c", "MOVE 1 FROM c"),
                *(
                    "MOVE ABSOLUTE 0 FROM c",
                    "EXECUTE again",
                    f"SELECT count(*) FROM {table}",
                    f"EXPLAIN ANALYZE SELECT * FROM {table}",
                ),
                *(f"COPY (SELECT * FROM {table}) TO STDOUT", f"CREATE TEMP TABLE t AS SELECT * FROM {table}"),
                f"DECLARE h CURSOR WITH HOLD FOR SELECT * FROM {table}; COMMIT",
            ):
                # The rows of a function in FROM are stored by the first FETCH, under the token of that time.
                if table == "of_definer()" and read.split()[0] in ("FETCH", "MOVE"):
                    continue
                checks.true(f"{read}, {end}, {table}", session.code(read) in REFUSED)
                if "COMMIT" in read:
                    break
                session.query("ROLLBACK TO c")
            session.query("ROLLBACK")
            caught = session.warnings()
            session.query(
                f"DO $$ DECLARE n int; BEGIN FOR i IN 1..3 LOOP BEGIN SELECT count(*) INTO n FROM {table};"
                " RAISE WARNING 'read %', n; EXCEPTION WHEN OTHERS OR query_canceled THEN NULL; END; END LOOP; END $$"
            )
            checks.equal(f"caught, {end}, {table}", session.warnings()[len(caught) :], [])
            place.db.root.query(MEND)
            session.close()


def two_tokens(checks, cluster):
    """The other token goes on, by itself: it reads nothing that the ended one has left open."""
    place = Place(cluster, "two")
    good = tokens.token(**OTHER)
    for end in ("jti", "sid", "session deleted", "session ended"):
        for table in TABLES[:-1]:
            what = f"{end}, {table}"
            session = place.mallory(**LOW)
            bad = tokens.token(**LOW)
            session.query("BEGIN")
            session.query(f"DECLARE c CURSOR FOR SELECT id FROM {table}; FETCH 1 FROM c; SAVEPOINT a")
            place.db.root.query(ENDS[end])
            session.query(f"SELECT auth.jwt_session_init('{good}')")
            checks.true(f"the cursor, {what}", session.code("FETCH ALL FROM c") in REFUSED)
            session.query("ROLLBACK TO a")
            session.query(f"SELECT auth.jwt_session_init('{good}')")
            checks.equal(f"the other token, {what}", session.value(f"SELECT count(*) FROM {table}"), "1")
            for switch in (f"set_config('pg_auth_jwt.token', '{bad}', true)", f"auth.jwt_session_init('{bad}')"):
                code = session.code(f"SELECT id, {switch} FROM {table}, generate_series(1, 3)")
                checks.true(f"back in a query: {code}, {what}", code in REFUSED)
                session.query("ROLLBACK TO a")
            session.query("ROLLBACK")
            place.db.root.query(MEND)
            session.close()


def logged_in(checks, cluster):
    """auth.login(): the identity ends at once; the role, which answers nothing by itself, with the transaction."""
    place = Place(cluster, "login")
    place.db.root.query("CREATE ROLE revoked_editor; GRANT revoked_editor TO authenticated")
    try:
        place.db.owner.query(
            "UPDATE auth.issuers SET role_claim = 'role', allowed_roles = '{revoked_editor}';"
            "CREATE POLICY e ON memos TO revoked_editor USING (auth.user_id() IS NOT NULL);"
            "GRANT SELECT ON memos TO revoked_editor"
        )
        login, role = f"SELECT auth.login('{tokens.token(**LOW, role='revoked_editor')}')", "SELECT current_user::text"
        for end, statement in ENDS.items():
            session = place.db.session()
            session.query(f"BEGIN; {login}; SAVEPOINT a")
            checks.equal(f"as the role, {end}", session.value("SELECT count(*) FROM memos"), "400")
            session.query(f"SET LOCAL pg_auth_jwt.token = '{tokens.token(**OTHER | {'sub': 'other'})}'")
            by_hand = [session.value(WHO), session.value(role)]
            checks.equal(f"another token by hand, {end}", by_hand, ["other", "revoked_editor"])
            session.query("ROLLBACK TO a")
            place.db.root.query(statement)
            for attempt in (
                "SELECT count(*) FROM memos",
                WHO,
                login,
                "SET LOCAL ROLE authenticated; SELECT auth.user_id()",
            ):
                code = session.code(attempt)
                checks.true(
                    f"{attempt[:40]}: {code}, {end}", code in REFUSED or code == "42501" and "SET LOCAL" in attempt
                )
                session.query("ROLLBACK TO a")
            checks.equal(f"the role, {end}", session.value(role), "revoked_editor")
            session.query("COMMIT")
            checks.equal(f"afterwards, {end}", [session.value(role), session.value(WHO)], ["authenticated", None])
            checks.true(f"no new one, {end}", session.code(f"BEGIN; {login}") in REFUSED)
            session.close()
            place.db.root.query(MEND)
    finally:
        place.db.root.query("DROP OWNED BY revoked_editor; DROP ROLE revoked_editor")


def objects_of_mallory(checks, cluster):
    """Tables, operators and functions of theirs that have the names of those that are looked at."""
    place = Place(cluster, "objects")
    session = place.mallory(**LOW)
    session.query("""
        CREATE TEMP TABLE session AS SELECT 's1'::text AS id, 'infinity'::timestamptz AS "expiresAt";
        CREATE TEMP TABLE revocations (issuer text, kind text, value text, issued_before timestamptz);
        CREATE FUNCTION public.yes(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
        CREATE FUNCTION public.later(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
        CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.yes);
        CREATE OPERATOR public.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.later);
        SET search_path = pg_temp, public, pg_catalog""")
    for end, statement in ENDS.items():
        place.db.root.query(statement)
        checks.true(f"{end} counts", session.code(WHO) in REFUSED)
        place.db.root.query(MEND)
        checks.equal("good again", session.value(WHO), "mallory")
    # An owner who revokes with Mallory's objects first in the search path.
    with place.db.session("owner_role") as owner:
        owner.query("SET search_path = public, pg_catalog")
        owner.query(ENDS["jti"])
        owner.query(f"SELECT auth.unrevoke('{ISSUER}', jti => 'other')")
        checks.equal("revoked", session.code(WHO), "28J10")
        owner.query(f"SELECT auth.unrevoke('{ISSUER}', jti => 'j1')")
        checks.equal("taken back", session.value(WHO), "mallory")


def not_allowed(checks, cluster):
    """What an application role cannot do to the rows and the settings."""
    place = Place(cluster, "allowed")
    session = place.mallory(**LOW)
    place.db.root.query(ENDS["jti"])
    for statement in (
        "TABLE auth.revocations",
        "TABLE auth.revocation_status",
        "TABLE auth.session_status",
        "DELETE FROM auth.revocations",
        "UPDATE auth.revocations SET issued_before = '-infinity'",
        f"INSERT INTO auth.revocations (issuer, kind, value) VALUES ('{ISSUER}', 'sub', 'alice')",
        "TRUNCATE auth.revocations",
        "DO $$ BEGIN LOCK TABLE auth.revocations IN ACCESS EXCLUSIVE MODE; END $$",
        "DO $$ BEGIN LOCK TABLE auth.revocations IN ACCESS SHARE MODE; END $$",
        "DO $$ BEGIN LOCK TABLE session IN ACCESS SHARE MODE; END $$",
        "ALTER TABLE auth.revocations DISABLE TRIGGER ALL",
        "CREATE RULE r AS ON SELECT TO auth.revocations DO INSTEAD SELECT 1",
        "CREATE TABLE public.child () INHERITS (auth.revocations)",
        "CREATE TABLE public.child () INHERITS (session)",
        "CREATE TABLE public.referring (id text REFERENCES session (id))",
        "CREATE STATISTICS s ON issuer, kind FROM auth.revocations",
        "CREATE INDEX ON session (id) WHERE false",
        "UPDATE auth.issuers SET sessions = NULL",
        f"SELECT auth.revoke('{ISSUER}', sub => 'alice')",
        f"SELECT auth.unrevoke('{ISSUER}', jti => 'j1')",
        f"SELECT auth.revoke_issuer('{ISSUER}')",
        f"SELECT auth.unrevoke_issuer('{ISSUER}')",
        f"SELECT auth.follow_sessions('memos', '{ISSUER}')",
        f"SELECT auth.unfollow_sessions('{ISSUER}')",
        "SELECT auth.list_session_sources()",
        f"SELECT * FROM auth.inspect('{tokens.token(**LOW)}')",
        "SELECT * FROM auth.list_stats()",
    ):
        checks.true(statement, session.code(statement) in ("42501", "42809", "28J10"))
        checks.equal("is still revoked", session.code(WHO), "28J10")
    checks.equal("one row", place.db.root.value("SELECT count(*) FROM auth.revocations"), "1")


def tables_of_the_issuer(checks, cluster):
    """A table that cannot be followed any more lets nobody in, and good sessions back once it is as before."""
    place = Place(cluster, "tables")
    session = place.mallory(**LOW)
    other = place.db.signed_in(**OTHER)
    alter, end = "ALTER TABLE session", '"expiresAt"'
    create = "ALTER TABLE session RENAME TO rows; CREATE %s; ALTER TABLE session OWNER TO owner_role"
    for change, undo in (
        (f"{alter} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", f"{alter} DISABLE ROW LEVEL SECURITY"),
        (f"{alter} ALTER {end} TYPE date", f"{alter} ALTER {end} TYPE timestamptz"),
        (f"{alter} ALTER id TYPE char(9)", f"{alter} ALTER id TYPE text"),
        (f"{alter} ADD expires_at timestamptz, DROP {end}", f"{alter} RENAME expires_at TO {end}"),
        (f'{alter} ADD "revokedAt" text', f'{alter} DROP "revokedAt"'),
        (f'{alter} ADD "notAfter" date, ADD not_after date', f'{alter} DROP "notAfter", DROP not_after'),
        (f"{alter} ADD revoked_at timestamptz GENERATED ALWAYS AS (NULL) STORED", f"{alter} DROP revoked_at"),
        (
            f"CREATE TABLE parent (LIKE session); {alter} INHERIT parent",
            f"{alter} NO INHERIT parent; DROP TABLE parent",
        ),
        (
            "CREATE TABLE whole (LIKE session) PARTITION BY LIST (id);"
            "ALTER TABLE whole ATTACH PARTITION session DEFAULT",
            "ALTER TABLE whole DETACH PARTITION session; DROP TABLE whole",
        ),
        (
            create % "TABLE session (LIKE rows) PARTITION BY LIST (id)" + f"; {alter} ATTACH PARTITION rows DEFAULT",
            f"{alter} DETACH PARTITION rows; DROP TABLE session; ALTER TABLE rows RENAME TO session",
        ),
        (
            create % "MATERIALIZED VIEW session AS TABLE rows",
            "DROP MATERIALIZED VIEW session; ALTER TABLE rows RENAME TO session",
        ),
        (
            create % "UNLOGGED TABLE session (LIKE rows)",
            "DROP TABLE session; ALTER TABLE rows RENAME TO session",
        ),
        ("ALTER SCHEMA public RENAME TO other", "ALTER SCHEMA other RENAME TO public"),
        ("GRANT TRIGGER ON session TO PUBLIC", "REVOKE ALL ON session FROM PUBLIC"),
        ("GRANT UPDATE (id) ON session TO PUBLIC", "REVOKE ALL ON session FROM PUBLIC"),
    ):
        place.db.root.query(change)
        checks.equal(change, [session.code(WHO), other.code(WHO)], ["55000", "55000"])
        place.db.root.query(undo)
        place.db.root.query("TRUNCATE session; INSERT INTO session VALUES ('s1', 'infinity'), ('s2', 'infinity')")
        checks.equal(undo, [session.value(WHO), other.value(WHO)], ["mallory", "mallory"])
    # Indexes that lack rows, and rows of the same id.
    place.db.root.query(
        "ALTER TABLE session DROP CONSTRAINT session_pkey; CREATE INDEX ON session (id) WHERE id > 's1';"
        "CREATE INDEX ON session (lower(id)); INSERT INTO session SELECT n, 'infinity' FROM generate_series(1, 2000) n"
    )
    checks.equal("by a scan", [session.value(WHO), other.value(WHO)], ["mallory", "mallory"])
    place.db.root.query("INSERT INTO session VALUES ('s1', '-infinity')")
    checks.equal("one of two has ended", [session.code(WHO), other.value(WHO)], ["28J10", "mallory"])
    place.db.root.query("CREATE INDEX ON session (id)")
    checks.equal("also by an index", [session.code(WHO), other.value(WHO)], ["28J10", "mallory"])


PARTS = (in_a_query, cursors, two_tokens, logged_in, objects_of_mallory, not_allowed, tables_of_the_issuer)
run("an ended token answers nothing, whatever its holder had at work", PARTS, SharedCluster())
