#!/usr/bin/env python3
"""Postgres's modules with hooks of their own, loaded before this library or after it: the same rows
and the same plans, in which claims are evaluated once. pg_plan_advice, which Postgres has since 19,
finds its advice followed, and gives advice that brings the same plan again."""

import re

from lib import tokens
from lib.pg import Checks, Cluster, has_library

OURS = "pg_auth_jwt"
ADVISES = "pg_plan_advice"
# With hooks of the planner, of the executor and of utility statements.
MODULES = [name for name in ("auto_explain", "pg_stat_statements", ADVISES) if has_library(name)]
SHARED = "pg_stat_statements"

SCHEMA = """
CREATE TABLE notes (id int PRIMARY KEY, owner text, n int);
CREATE TABLE tags (id int, owner text, n int);
INSERT INTO notes SELECT i, 'u' || i % 40, i % 7 FROM generate_series(1, 4000) i;
INSERT INTO tags SELECT i, 'u' || i % 40, i % 7 FROM generate_series(1, 20000) i;
CREATE INDEX tags_by_owner ON tags (owner);
ANALYZE notes, tags;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE tags ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = (SELECT auth.user_id()));
CREATE POLICY own ON tags USING (owner = auth.user_id());
GRANT ALL ON notes, tags TO authenticated;
"""
BY_INDEX = "SELECT count(*), sum(id) FROM tags WHERE n = 3"
JOINED = "SELECT sum(id) FROM tags JOIN notes USING (id) WHERE tags.n = 3"
WITH_SUBPLAN = (
    "SELECT sum(id) FROM tags JOIN notes USING (id) WHERE tags.n = 3 "
    "OR EXISTS (SELECT FROM notes x WHERE x.id = tags.id AND x.n = 2)"
)
SUB_SELECT_STAYS = "SELECT sum(id) FROM tags WHERE owner = (SELECT lower(auth.session() ->> 'sub'))"
CHANGED = "UPDATE notes SET n = length(auth.user_id()) WHERE n = 3 RETURNING id, auth.user_id()"
STATEMENTS = (BY_INDEX, JOINED, WITH_SUBPLAN, SUB_SELECT_STAYS, CHANGED)
PARALLEL = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"
COUNTED = "COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF"


class Place:
    """A database whose sessions have these modules."""

    def __init__(self, checks, cluster, db, what):
        self.checks, self.cluster, self.db, self.what = checks, cluster, db, what

    def session(self, sub="u1", *settings):
        session = self.cluster.session(self.db, "postgres")
        for setting in settings:
            session.query(setting)
        session.query("SET SESSION AUTHORIZATION authenticated")
        if sub:
            session.execute("SELECT auth.jwt_session_init($1, false)", tokens.token(sub))
        return session

    def equal(self, what, got, wanted):
        self.checks.equal(f"{self.what}: {what}", got, wanted)

    def true(self, what, got):
        self.checks.true(f"{self.what}: {what}", got)

    def found(self, *settings):
        """The rows and the plan of each statement, for two users and for none."""
        answers = {}
        for sub in ("u1", "u2", None):
            session = self.session(sub, *settings)
            for sql in STATEMENTS:
                session.query("BEGIN")
                answers[sub, sql] = session.query(sql), plan(session, sql)
                session.query("ROLLBACK")
            session.close()
        return answers

    def prepared(self):
        """A plan that is kept gives each user their own rows."""
        session = self.session("u1", "SET plan_cache_mode = force_generic_plan")
        session.query(f"PREPARE q AS {WITH_SUBPLAN}")
        rows = []
        for sub in ("u1", "u2", "u1"):
            session.execute("SELECT auth.jwt_session_init($1, false)", tokens.token(sub))
            rows.append(session.value("EXECUTE q"))
        return rows


def plan(session, sql, options="COSTS OFF"):
    return [line for (line,) in session.query(f"EXPLAIN ({options}) {sql}")]


def advised(session, sql):
    """The plan without advice, and the advice: what was given, and what brings this plan."""
    lines = plan(session, sql, "COSTS OFF, PLAN_ADVICE")
    parts, part = {"plan": []}, "plan"
    for line in lines:
        if line in ("Supplied Plan Advice:", "Generated Plan Advice:"):
            part = line.split()[0]
            parts[part] = []
        else:
            parts[part].append(line.strip() if part != "plan" else line)
    return parts["plan"], parts.get("Supplied", []), " ".join(parts["Generated"])


def evaluated_once(lines):
    """How often each InitPlan ran, in each process that did; 0 for never."""
    return [
        int((re.search(r"loops=(\d+)", lines[at + 1]) or (0, 0))[1])
        for at, line in enumerate(lines)
        if re.fullmatch(r" *InitPlan \w+", line)
    ]


def advice(place):
    """What pg_plan_advice is told is done, and claims are evaluated once in the plan that it wants."""
    wanted = {
        BY_INDEX: ("SEQ_SCAN(tags)", "Seq Scan on tags"),
        JOINED: ("JOIN_ORDER(notes tags) NESTED_LOOP_PLAIN(tags)", "Nested Loop"),
        WITH_SUBPLAN: ("MERGE_JOIN_PLAIN(notes) SEQ_SCAN(tags)", "Merge Join"),
        SUB_SELECT_STAYS: ("INDEX_SCAN(tags public.tags_by_owner)", "Index Scan using tags_by_owner on tags"),
    }
    for sql, (text, node) in wanted.items():
        rows = place.session("u1", "SET pg_auth_jwt.evaluate_once = off").query(sql)
        session = place.session(
            "u1", "SET pg_plan_advice.feedback_warnings = on", "SET max_parallel_workers_per_gather = 0"
        )
        session.query(f"SET pg_plan_advice.advice = '{text}'")
        shape, supplied, _ = advised(session, sql)
        place.true(f"{sql}: {text}: {shape}", any(node in line for line in shape))
        place.equal(f"{sql}: its advice", [line.endswith("/* matched */") for line in supplied], [True] * len(supplied))
        place.equal(f"{sql}: {text}: rows", session.query(sql), rows)
        ran = evaluated_once(plan(session, sql, COUNTED))
        place.true(f"{sql}: {text}: evaluated once: {ran}", ran and set(ran) <= {0, 1})
        place.equal(f"{sql}: {text}: warnings", session.warnings(), [])

    # The advice that it gives brings the same plan, without a name that only some plans have.
    for sql in STATEMENTS:
        session = place.session("u1", "SET pg_plan_advice.feedback_warnings = on")
        shape, _, generated = advised(session, sql)
        session.query(f"SET pg_plan_advice.advice = $advice${generated}$advice$")
        again, supplied, generated_again = advised(session, sql)
        place.equal(f"{sql}: the same plan by its own advice", (again, generated_again), (shape, generated))
        place.true(f"{sql}: {supplied}", all(line.endswith("/* matched */") for line in supplied))
        place.equal(f"{sql}: no warnings", session.warnings(), [])

    # Workers, each of which evaluates the claims once for itself.
    session = place.session("u1", PARALLEL, "SET pg_plan_advice.advice = 'GATHER(tags) SEQ_SCAN(tags)'")
    lines = plan(session, BY_INDEX, COUNTED)
    place.true(f"in parallel: {lines}", any("Gather" in line for line in lines))
    ran = evaluated_once(lines)
    place.true(f"in parallel: {ran}", ran and max(ran) <= 3)
    place.equal("in parallel: rows", session.query(BY_INDEX), place.session("u1").query(BY_INDEX))

    # Details that it keeps with each plan.
    details = "SET pg_plan_advice.always_store_advice_details = on"
    place.equal("with details", place.found(details), place.found())


def main():
    checks = Checks()
    if ADVISES not in MODULES:
        checks.skip(f"advice, as this Postgres has no contrib/{ADVISES}")
    alone = None
    in_session = [name for name in MODULES if name != SHARED]
    orders = {
        "alone": {"shared_preload_libraries": OURS},
        "shared, after": {"shared_preload_libraries": ",".join([*MODULES, OURS])},
        "shared, before": {"shared_preload_libraries": ",".join([OURS, *MODULES])},
        "session, after": {"session_preload_libraries": ",".join([*in_session, OURS])},
        "session, before": {"session_preload_libraries": ",".join([OURS, *in_session])},
    }
    for what, settings in orders.items():
        with Cluster("other_modules", **settings) as cluster:
            db = cluster.create_db("test_other_modules")
            cluster.session(db, "owner_role").query(tokens.setup(0) + SCHEMA)
            cluster.session(db, "postgres").query("VACUUM ANALYZE notes, tags")
            place = Place(checks, cluster, db, what)
            found, kept = place.found(), place.prepared()
            if alone is None:
                alone = found, kept
                place.true("users have rows", all(found["u1", sql][0] != found["u2", sql][0] for sql in STATEMENTS))
                place.true("users have rows of their own", kept[0] == kept[2] != kept[1])
                off = place.found("SET pg_auth_jwt.evaluate_once = off")
                for key, (rows, _) in found.items():
                    place.equal(f"{key}: rows as without", rows, off[key][0])
            else:
                for key, answer in found.items():
                    place.equal(f"{key}", answer, alone[0][key])
                place.equal("a plan that is kept", kept, alone[1])
                if ADVISES in MODULES:
                    advice(place)
    checks.done(f"the same beside {', '.join(MODULES) or 'no other module'}, loaded before or after")


main()
