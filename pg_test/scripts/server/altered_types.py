#!/usr/bin/env python3
"""A column gets another type while a cursor still holds rows of the former one: a policy, explain_access
and a followed table go by the rows as they are now, and the server reads none by the wrong definition."""

from lib import tokens
from lib.pg import PgError, SharedCluster, run

WHO = "SELECT auth.user_id()"
# The first minor versions with the fix of CVE-2026-6460. An older server reads kept rows by the wrong definition, which
# can crash it, whether the extension is there or not.
FIXED = {15: 150020, 16: 160016, 17: 170012, 18: 180007}


def answer(session, *statement):
    """Its value, or the SQLSTATE of its error."""
    return session.code(*statement) or session.value(*statement)


def has_fix(session):
    version = int(session.value("SHOW server_version_num"))
    is_early = any(word in session.value("SHOW server_version") for word in ("beta", "rc"))
    return version >= FIXED.get(version // 10000, 0) and not is_early


def fetch_kept_rows(checks, owner, cursor):
    """Postgres may refuse the kept rows, or show them: it never takes the server down."""
    try:
        owner.query(f"FETCH ALL {cursor}")
    except PgError as error:
        checks.true(f"kept rows: {error.code}", error.code[:2] != "XX")


def followed(checks, cluster):
    """The keys of a followed table whose columns change, with an open cursor over its rows."""
    db = cluster.create_db("test_altered_types_followed")
    with cluster.session(db, "owner_role") as owner, cluster.session(db) as user:
        owner.query(tokens.setup(0) + tokens.follow(0))
        user.execute("SELECT auth.jwt_session_init($1, false)", tokens.followed_token("u1"))
        owner.query("BEGIN; DECLARE rows CURSOR WITH HOLD FOR SELECT f FROM followed_keys f; COMMIT")
        owner.query("""ALTER TABLE followed_keys ALTER COLUMN "publicKey" TYPE varchar(4000)""")
        checks.equal("a wider text", user.value(WHO), "u1")
        checks.equal("a new session", fresh(cluster, db), None)
        owner.query("""ALTER TABLE followed_keys ALTER COLUMN "publicKey" TYPE bigint USING 4702111234474983745""")
        checks.equal("a number for a key", user.code(WHO), "28J03")
        checks.equal("a new session, a number", fresh(cluster, db), "28J03")
        if has_fix(owner):
            fetch_kept_rows(checks, owner, "rows")
        else:
            checks.skip("rows that a cursor keeps, as this Postgres lacks the fix of CVE-2026-6460")
        checks.equal("the owner goes on", owner.value("SELECT 1"), "1")


def fresh(cluster, db):
    with cluster.session(db) as session:
        return session.code("SELECT auth.jwt_session_init($1)", tokens.followed_token("u1"))


def guarded(checks, cluster):
    """Policies and explain_access of a table whose columns change between and during statements."""
    db = cluster.create_db("test_altered_types_guarded")
    explain = "SELECT rows FROM auth.explain_access('notes', $1) WHERE kind = 'policy'"
    with cluster.session(db, "owner_role") as owner, cluster.session(db) as user:
        owner.query(
            tokens.setup(0)
            + """
            CREATE TABLE notes (id int, owner text, n int);
            INSERT INTO notes VALUES (1, 'u1', 7), (2, 'u2', 8), (3, 'u1', 9);
            ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
            CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
            GRANT SELECT ON notes TO authenticated;
            CREATE FUNCTION kept() RETURNS notes LANGUAGE plpgsql AS $$
                DECLARE row notes; BEGIN SELECT * INTO row FROM notes ORDER BY id LIMIT 1; RETURN row; END $$"""
        )
        user.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u1"))
        user.query(
            "PREPARE mine AS SELECT count(*), (array_agg(notes ORDER BY id))[1] FROM notes;PREPARE row AS SELECT kept()"
        )
        before = owner.value(explain, tokens.token("u1"))
        checks.equal("two rows", user.query("EXECUTE mine"), [["2", "(1,u1,7)"]])
        user.query("EXECUTE row; BEGIN; DECLARE rows CURSOR WITH HOLD FOR SELECT notes FROM notes; COMMIT")
        for change, row in (
            ("ALTER COLUMN n TYPE text USING 'n' || n", "(1,u1,n7)"),
            ("ALTER COLUMN owner TYPE varchar(20)", "(1,u1,n7)"),
            ("ALTER COLUMN id TYPE bigint", "(1,u1,n7)"),
            ("DROP COLUMN n, ADD COLUMN n int NOT NULL DEFAULT 5", "(1,u1,5)"),
        ):
            owner.query("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT notes FROM notes; COMMIT")
            try:
                owner.query(f"ALTER TABLE notes {change}")
            except PgError as error:
                # A policy depends on the column: it has to be made again.
                checks.equal(f"{change}: {error.fields['M']}", error.code, "0A000")
                owner.query(f"""BEGIN; DROP POLICY own ON notes; ALTER TABLE notes {change};
                    CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id()); COMMIT""")
            checks.equal(f"{change}: rows", user.query("EXECUTE mine"), [["2", row]])
            checks.equal(f"{change}: a function's row", answer(user, "EXECUTE row"), row)
            checks.equal(f"{change}: explained", owner.value(explain, tokens.token("u1")), before)
            if has_fix(owner):
                fetch_kept_rows(checks, owner, "c")
            owner.query("CLOSE c")


def main():
    with SharedCluster() as cluster:
        run("rows are read by their present types", (followed, guarded), cluster)


main()
