#!/usr/bin/env python3
"""A statement that is planned before a role changes: after it, the policies of the present role count, by
which claims are evaluated once or for each row."""

import itertools

from lib import tokens
from lib.pg import SharedCluster, run

SETUP = """
    CREATE ROLE editors; CREATE ROLE writers; GRANT editors, writers TO authenticated;
    CREATE TABLE notes (id int, owner text);
    INSERT INTO notes SELECT n, 'u' || n % 10 FROM generate_series(1, 100) n;
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
    CREATE POLICY all_of_editors ON notes TO editors USING (auth.user_id() IS NOT NULL);
    GRANT SELECT ON notes TO authenticated, writers, editors;
    CREATE FUNCTION counted() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM notes); END $$;
    CREATE VIEW seen WITH (security_invoker) AS SELECT * FROM notes;
    GRANT SELECT ON seen TO authenticated, writers, editors"""
# Each is planned before, and run after.
STATEMENTS = {
    "prepared": "SELECT count(*) FROM notes",
    "a function": "SELECT counted()",
    "a view": "SELECT count(*) FROM seen",
    "a sub-select": "SELECT count(*) FROM (SELECT DISTINCT id FROM notes WHERE owner LIKE 'u%') s",
    "a CTE": "WITH n AS MATERIALIZED (SELECT * FROM notes) SELECT count(*) FROM n",
}


def is_fixed(root):
    """Whether the server has the fix of CVE-2026-14666."""
    found = "SELECT count(*) FROM auth.lint() WHERE code = 'server_outdated' AND detail LIKE '%CVE-2026-14666%'"
    return root.value(found) == "0"


def counts(session):
    return {what: session.value(f'EXECUTE "{what}"') for what in STATEMENTS}


def changes(checks, cluster):
    db = cluster.create_db("test_roles_lost")
    root = cluster.session(db, "postgres")
    owner = cluster.session(db, "owner_role")
    owner.query(tokens.setup(0))
    root.query(
        SETUP.replace("CREATE TABLE notes", "SET ROLE owner_role; CREATE TABLE notes").replace(
            "GRANT editors, writers TO authenticated;",
            "GRANT editors, writers TO authenticated; GRANT ALL ON SCHEMA public TO owner_role;",
        )
    )
    root.query("RESET ROLE")
    for once, mode in itertools.product(("on", "off"), ("force_generic_plan", "force_custom_plan", "auto")):
        about = f"evaluate_once {once}, {mode}"
        with cluster.session(db) as s:
            s.query(f"SET pg_auth_jwt.evaluate_once = {once}; SET plan_cache_mode = {mode}")
            s.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u1"))
            for what, statement in STATEMENTS.items():
                s.query(f'PREPARE "{what}" AS {statement}')
            check = lambda what, wanted: checks.equal(f"{about}: {what}", counts(s), dict.fromkeys(STATEMENTS, wanted))
            for _ in range(6):
                check("a member", "100")
            s.query("SET ROLE editors")
            check("as the editors", "100")
            s.query("SET ROLE writers")
            check("as the writers", "0")
            s.query("RESET ROLE")
            check("back again", "100")
            root.query("REVOKE editors FROM authenticated")
            if is_fixed(root):
                check("no member any more", "10")
                s.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u2"))
                check("another user", "10")
            root.query("ALTER POLICY all_of_editors ON notes TO writers")
            check("the policy for the writers", "100")
            root.query("ALTER POLICY all_of_editors ON notes TO editors")
            check("for the editors again", "10")
            root.query("GRANT editors TO authenticated")
            s.query("DISCARD PLANS")
            check("a member again", "100")
    root.close()
    owner.close()


def main():
    with SharedCluster() as cluster:
        try:
            run("policies of a lost role do not count", (changes,), cluster)
        finally:
            with cluster.session("postgres", "postgres") as root:
                root.query("DROP DATABASE IF EXISTS test_roles_lost WITH (FORCE)")
                root.query("DROP ROLE IF EXISTS editors; DROP ROLE IF EXISTS writers")


main()
