#!/usr/bin/env python3
"""Statements of every shape give the same with readers that the planner evaluates once
(pg_auth_jwt.hoist_readers) as with readers called for each row."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tokens
from pg import Checks, PgError, SharedCluster

SCHEMA = """
CREATE TABLE a (id int PRIMARY KEY, owner text DEFAULT auth.user_id(), n int, CHECK (auth.role() IS DISTINCT FROM 'nobody'));
CREATE TABLE b (id int, owner text, n int);
CREATE TABLE p (id int, owner text, n int) PARTITION BY LIST (owner);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('u1');
CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('u2');
CREATE TABLE p3 PARTITION OF p DEFAULT;
INSERT INTO a SELECT i, 'u' || i % 3, i % 7 FROM generate_series(1, 60) i;
INSERT INTO b SELECT i, 'u' || i % 3, i % 5 FROM generate_series(1, 60) i;
INSERT INTO p SELECT i, 'u' || i % 4, i % 5 FROM generate_series(1, 60) i;
CREATE INDEX ON b (owner);
CREATE FUNCTION scalar(x int) RETURNS text LANGUAGE sql STABLE AS 'SELECT auth.user_id() || x';
CREATE FUNCTION mine() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT owner FROM a WHERE owner = auth.user_id()';
CREATE FUNCTION two(OUT x text, OUT y int) LANGUAGE sql STABLE AS 'SELECT auth.user_id(), 1';
CREATE VIEW va AS SELECT *, auth.user_id() AS me FROM a WHERE owner = auth.user_id() WITH CHECK OPTION;
CREATE VIEW vb WITH (security_barrier) AS SELECT *, auth.user_id() AS me FROM b WHERE owner = auth.user_id();
ALTER TABLE a ENABLE ROW LEVEL SECURITY;
ALTER TABLE p ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON a USING (owner = auth.user_id()) WITH CHECK (owner = auth.user_id() AND auth.session() IS NOT NULL);
CREATE POLICY mine_or_shared ON p USING (owner = auth.user_id()
    OR EXISTS (SELECT FROM b WHERE b.id = p.id AND b.owner = auth.user_id()));
GRANT ALL ON ALL TABLES IN SCHEMA public TO authenticated;
"""

STATEMENTS = """
SELECT * FROM a
SELECT * FROM p
SELECT * FROM va
SELECT * FROM vb
SELECT a.id, b.n FROM a JOIN b ON a.id = b.id AND b.owner = auth.user_id()
SELECT a.id, b.n, auth.user_id() FROM a LEFT JOIN b ON a.id = b.id AND b.owner <> auth.user_id()
SELECT a.id, b.n FROM a FULL JOIN b ON a.id = b.id AND b.owner = a.owner WHERE coalesce(b.owner, auth.user_id()) = auth.user_id()
SELECT owner, count(*) FILTER (WHERE owner = auth.user_id()) FROM b GROUP BY owner, auth.user_id()
SELECT owner, auth.user_id(), count(*) FROM b GROUP BY GROUPING SETS ((owner), (auth.user_id()), ())
SELECT sum(id) OVER (PARTITION BY auth.user_id() ORDER BY id ROWS BETWEEN length(auth.user_id()) PRECEDING AND CURRENT ROW) FROM b
SELECT DISTINCT ON (auth.user_id()) auth.user_id(), id FROM b ORDER BY auth.user_id(), id
SELECT id FROM b ORDER BY owner = auth.user_id() DESC, id LIMIT length(auth.user_id())
SELECT id FROM b ORDER BY id OFFSET length(auth.user_id()) LIMIT 3
SELECT owner FROM b GROUP BY owner HAVING owner = auth.user_id() OR count(*) > length(auth.user_id()) * 10
WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5 AND auth.user_id() = 'u1') SELECT * FROM r
WITH c AS MATERIALIZED (SELECT auth.user_id() u FROM b LIMIT 2) SELECT * FROM c, a WHERE a.owner = c.u
SELECT * FROM (SELECT auth.user_id() u) s JOIN b ON b.owner = s.u
SELECT * FROM (VALUES (auth.user_id(), 1), ('u2', 2)) v(o, i) JOIN b ON b.owner = v.o AND b.n = v.i
SELECT * FROM auth.user_id() u JOIN b ON b.owner = u
SELECT * FROM unnest(ARRAY[auth.user_id(), 'x']) u
SELECT * FROM ROWS FROM (auth.user_id(), generate_series(1, 2)) WITH ORDINALITY
SELECT * FROM unnest(ARRAY(SELECT auth.user_id() FROM b LIMIT 2)) u
SELECT (SELECT max(id) FROM a WHERE a.owner = auth.user_id() AND a.id < b.id) FROM b
SELECT id, EXISTS (SELECT FROM a WHERE a.id = b.id AND a.owner = auth.user_id()) FROM b
SELECT id FROM b WHERE n = 1 OR EXISTS (SELECT FROM a WHERE a.id = b.id AND a.owner = auth.user_id())
SELECT id FROM b WHERE n = 1 OR id IN (SELECT id FROM a WHERE a.n = b.n AND a.owner = auth.user_id())
SELECT id FROM b WHERE n = 1 OR NOT EXISTS (SELECT FROM a WHERE EXISTS (SELECT FROM p WHERE p.id = a.id AND a.owner = auth.user_id()) AND a.id = b.id)
SELECT CASE WHEN EXISTS (SELECT FROM a WHERE a.id = b.id AND auth.user_id() = 'u1') THEN 1 END FROM b
SELECT id FROM b WHERE owner IN (SELECT auth.user_id())
SELECT id FROM b WHERE owner = ANY (ARRAY[auth.user_id(), 'u2'])
SELECT id FROM b WHERE (owner, n) = (auth.user_id(), 1)
SELECT id FROM b WHERE (owner, n) IN (SELECT auth.user_id(), n FROM a)
SELECT id FROM b WHERE NOT EXISTS (SELECT FROM a WHERE a.id = b.id AND auth.user_id() = a.owner)
SELECT id FROM b WHERE owner BETWEEN auth.user_id() AND auth.user_id()
SELECT id FROM b WHERE owner LIKE auth.user_id() || '%'
SELECT id FROM b WHERE owner = (SELECT (SELECT auth.user_id()))
SELECT id FROM b WHERE auth.user_id() = 'u1'
SELECT id FROM b WHERE auth.user_id() IS NULL
SELECT id FROM b WHERE auth.user_id() COLLATE "C" < owner COLLATE "C"
SELECT CASE WHEN n = 1 THEN auth.user_id() WHEN owner = auth.user_id() THEN 'me' END FROM b
SELECT coalesce(NULLIF(owner, auth.user_id()), 'mine'), GREATEST(owner, auth.user_id()) FROM b
SELECT scalar(n), scalar(2) FROM b
SELECT * FROM mine()
SELECT * FROM b, mine() m WHERE b.owner = m
SELECT (two()).* FROM b
SELECT * FROM two()
SELECT auth.user_id(), generate_series(1, 2)
SELECT generate_series(1, length(auth.user_id())), auth.email() FROM b
SELECT id FROM a UNION SELECT id FROM b WHERE owner = auth.user_id() EXCEPT SELECT id FROM p
SELECT auth.user_id() UNION ALL SELECT owner FROM a
SELECT count(*) FROM b TABLESAMPLE BERNOULLI (length(auth.user_id()) * 50)
SELECT a.id, l.* FROM a, LATERAL (SELECT b.n, auth.user_id() u FROM b WHERE b.owner = auth.user_id() AND b.id = a.id OFFSET 0) l
SELECT id FROM a FOR UPDATE
SELECT count(*) FROM p WHERE owner = auth.user_id()
SELECT string_agg(owner || auth.user_id(), ',' ORDER BY auth.user_id(), id) FROM b
SELECT percentile_cont(length(auth.user_id()) / 10.0) WITHIN GROUP (ORDER BY id) FROM b
SELECT ROW(auth.user_id(), n), row_to_json(b), auth.session() ->> 'sub' FROM b
SELECT auth.user_id() = ALL (SELECT owner FROM a), ARRAY(SELECT auth.user_id() FROM b), EXISTS (SELECT auth.user_id() FROM b)
SELECT id FROM b b1 JOIN b b2 USING (id, owner) WHERE b1.owner = auth.user_id() AND b2.owner = auth.user_id()
INSERT INTO a (id, n) SELECT 1000 + id, n FROM b WHERE owner = auth.user_id() RETURNING id, owner, auth.user_id()
INSERT INTO a (id, n) VALUES (2000, length(auth.user_id())) RETURNING *, auth.user_id()
INSERT INTO a (id, n) VALUES (1, 9) ON CONFLICT (id) DO UPDATE SET n = length(auth.user_id()) WHERE a.owner = auth.user_id() RETURNING *
INSERT INTO a (id, owner) VALUES (3000, 'u2')
UPDATE a SET n = length(auth.user_id()) FROM b WHERE a.id = b.id AND b.owner = auth.user_id() RETURNING a.id, auth.user_id()
UPDATE a SET (n, owner) = (SELECT length(auth.user_id()), auth.user_id()) RETURNING *
UPDATE p SET n = 7 WHERE owner = auth.user_id() RETURNING id
UPDATE va SET n = 8 WHERE me = auth.user_id() RETURNING id, me
UPDATE va SET owner = 'u2' WHERE id = 1
DELETE FROM a USING b WHERE a.id = b.id AND b.owner = auth.user_id() RETURNING a.id
DELETE FROM vb WHERE me = auth.user_id() RETURNING id
WITH d AS (DELETE FROM b WHERE owner = auth.user_id() RETURNING id, auth.user_id() u) SELECT * FROM d
MERGE INTO b USING (SELECT id, auth.user_id() u FROM a) s ON s.id = b.id AND b.owner = s.u WHEN MATCHED AND auth.user_id() = 'u1' THEN DELETE
CREATE TEMP TABLE t AS SELECT auth.user_id() u, id FROM b WHERE owner = auth.user_id()
"""

SETTINGS = {
    "as it comes": "",
    "parallel": "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
    "nested loops, generic plans": "SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan",
}


def outcome(session, sql):
    session.query("BEGIN")
    try:
        return sorted(map(str, session.execute(sql)))
    except PgError as error:
        return f"{error.code} {error.fields['M']}"
    finally:
        session.query("ROLLBACK")


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_plans")
    cluster.session(db, "owner_role").query(tokens.setup(0) + SCHEMA)
    for planner, setting in SETTINGS.items():
        for user in ("u1", None):
            sessions = []
            for hoist in ("on", "off"):
                session = cluster.session(db, "postgres")
                session.execute("SELECT auth.jwt_session_init($1)", tokens.token(user) if user else None)
                session.query(f"SET pg_auth_jwt.hoist_readers = {hoist}; SET SESSION AUTHORIZATION authenticated; {setting}")
                sessions.append(session)
            for sql in STATEMENTS.strip().split("\n"):
                hoisted, each_row = (outcome(session, sql) for session in sessions)
                checks.equal(f"{planner}, {user}: {sql}", hoisted, each_row)
    checks.done("statements of every shape give the same, hoisted or not")


main()
