"""A table of which one user owns nine tenths, and statements whose best plan depends on the user.
scripts/plans/estimates.py checks plans and pages, which are the same each time; bench/run.py measures
times."""

import json
import re

from . import tokens

ROWS = 200_000
USERS = {"heavy": ROWS * 9 // 10, "u5": ROWS // 10 // 1000, "nobody": 0}

SCHEMA = f"""
CREATE TABLE docs (id int PRIMARY KEY, owner text, n int, note text);
INSERT INTO docs SELECT i, CASE WHEN i % 10 > 0 THEN 'heavy' ELSE 'u' || i / 10 % 1000 END, i % 7, repeat('x', 40)
  FROM generate_series(1, {ROWS}) i;
CREATE INDEX ON docs (owner);
CREATE TABLE lines (doc int, n int);
INSERT INTO lines SELECT i % {ROWS} + 1, i % 5 FROM generate_series(1, {ROWS} * 2) i;
CREATE INDEX ON lines (doc);
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs USING (owner = auth.user_id());
GRANT SELECT ON docs, lines TO authenticated;
"""

ALL = "SELECT count(note) FROM docs"
SOME = "SELECT * FROM docs WHERE n = 3"
JOINED = "SELECT sum(l.n) FROM docs d JOIN lines l ON l.doc = d.id"
PAGE = "SELECT * FROM docs ORDER BY id LIMIT 20"
# With this the last one is cheap for everyone, for any user that it was planned for.
INDEX = "CREATE INDEX docs_page ON docs (owner, id)"


def make(cluster, db):
    owner = cluster.session(db, "owner_role")
    owner.query(SCHEMA)
    owner.query("VACUUM ANALYZE docs")
    owner.query("VACUUM ANALYZE lines")
    return owner


def session(cluster, db, user, once):
    """A session of that user, with claim functions evaluated once or, if `once` is off, for each
    row."""
    found = cluster.session(db)
    found.query("SET jit = off; SET max_parallel_workers_per_gather = 0")
    found.query(f"SET pg_auth_jwt.evaluate_once = {once}")
    sign_in(found, user)
    return found


def sign_in(found, user):
    found.execute("SELECT auth.jwt_session_init($1)", tokens.token(user))


class Run:
    """One execution of a statement: the rows of `docs` that the planner expected, the scans and
    joins of the plan, the pages that it read, and its milliseconds."""

    def __init__(self, found, statement):
        lines = found.query(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT json) {statement}")
        explained = json.loads("\n".join(line for (line,) in lines))[0]
        plan = explained["Plan"]
        nodes = list(self.walk(plan))
        self.expected = next(node["Plan Rows"] for node in nodes if node.get("Relation Name") == "docs")
        self.nodes = [
            f"{node['Node Type']} {node.get('Index Name') or node.get('Relation Name') or ''}".strip()
            for node in nodes
            if re.search("Scan|Join|Loop", node["Node Type"])
        ]
        self.pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.ms = explained["Execution Time"]

    @classmethod
    def walk(cls, plan):
        yield plan
        for child in plan.get("Plans", ()):
            yield from cls.walk(child)
