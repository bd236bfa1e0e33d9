#!/usr/bin/env python3
"""docs/performance.md: the plan that it shows, in the words that its table has for this version."""

from lib import explained, tokens
from lib.clients import block
from lib.pg import Checks, SharedCluster

SCHEMA = """
CREATE TABLE notes (tenant_id text, title text);
INSERT INTO notes SELECT CASE WHEN i <= 150 THEN 't1' ELSE 't2' END, repeat('x', 200) FROM generate_series(1, 200) i;
ANALYZE notes;
GRANT SELECT ON notes TO authenticated;
"""


def main():
    checks, cluster = Checks(), SharedCluster()
    db = cluster.create_db("test_explained")
    cluster.session(db, "owner_role").query(tokens.setup(0) + SCHEMA)
    session = cluster.session(db)
    session.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u1", tenant_id="t1"))
    query = block("explained_query", explained.PAGE)
    major = explained.version(session)
    # BUFFERS is on by default since Postgres 18.
    shown = session.query(f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, TIMING OFF, SUMMARY OFF) {query}")
    checks.equal(
        "the plan", [line for (line,) in shown], explained.as_shown(block("explained_plan", explained.PAGE), major)
    )
    (never,) = (
        line
        for (line,) in session.query(
            "EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, TIMING OFF, SUMMARY OFF)"
            "SELECT title FROM notes WHERE title = 'y' AND tenant_id = auth.session() ->> 'tenant_id'"
        )
        if "Result" in line
    )
    checks.equal("what no row needs", never.strip(), "->  Result (never executed)")

    # Each is counted by itself: Postgres's own, and those of this extension.
    names = [
        line.strip()
        for (line,) in session.query(
            "EXPLAIN (COSTS OFF) SELECT (SELECT count(*) FROM notes x) FROM notes"
            " WHERE tenant_id = auth.session() ->> 'tenant_id' AND title <> auth.user_id()"
        )
        if line.strip().startswith("InitPlan")
    ]
    wanted = {19: ["InitPlan expr_1", "InitPlan claim_1", "InitPlan claim_2"]}
    checks.equal(
        "several",
        [name.split(" (")[0] for name in names],
        wanted.get(major, ["InitPlan 1", "InitPlan 2", "InitPlan 3"]),
    )
    checks.done("EXPLAIN shows what docs/performance.md does")


main()
