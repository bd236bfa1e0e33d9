#!/usr/bin/env python3
"""Statements of every shape give the same results with claim functions that are evaluated once
(pg_auth_jwt.evaluate_once) and that are called for each row."""

import re
import sys

from lib import tokens
from lib.pg import Checks, PgError, SharedCluster

SCHEMA = """
CREATE TABLE a (id int PRIMARY KEY, owner text DEFAULT auth.user_id(), n int,
    CHECK (auth.role() IS DISTINCT FROM 'nobody'));
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
CREATE POLICY mine ON a USING (owner = auth.user_id()) WITH CHECK (owner = auth.user_id()
    AND auth.session() IS NOT NULL);
CREATE POLICY mine_or_shared ON p USING (owner = auth.user_id()
    OR EXISTS (SELECT FROM b WHERE b.id = p.id AND b.owner = auth.user_id()));
CREATE TABLE f (id int, owner text);
INSERT INTO f SELECT i, 'u' || i / 4 % 2 FROM generate_series(1, 60) i;
ALTER TABLE f ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_mine ON f USING (EXISTS (SELECT FROM a WHERE a.id = f.id) AND id IN (SELECT id FROM p
    WHERE p.owner = auth.user_id()));
CREATE TABLE seen (id int, was text, by text DEFAULT auth.user_id());
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO seen SELECT new.id, auth.user_id() FROM b WHERE b.id = new.id AND b.owner = auth.user_id();
        RETURN new; END';
CREATE TRIGGER note AFTER UPDATE ON b FOR EACH ROW WHEN (new.owner = auth.user_id()) EXECUTE FUNCTION note();
CREATE FUNCTION count_new() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO seen SELECT count(*), max(auth.user_id()) FROM new_rows WHERE owner = auth.user_id();
        RETURN NULL; END';
CREATE TRIGGER count_new AFTER INSERT ON b REFERENCING NEW TABLE AS new_rows EXECUTE FUNCTION count_new();
CREATE VIEW vt AS SELECT id, owner FROM b WHERE owner = auth.user_id();
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE b SET n = length(auth.user_id()) WHERE b.id = old.id AND b.owner = auth.user_id(); RETURN new; END';
CREATE TRIGGER instead INSTEAD OF UPDATE ON vt FOR EACH ROW EXECUTE FUNCTION instead();
CREATE VIEW vr AS SELECT id, owner FROM b WHERE owner = auth.user_id();
CREATE RULE gone AS ON DELETE TO vr DO INSTEAD INSERT INTO seen SELECT old.id, auth.user_id()
    WHERE old.owner = auth.user_id();
CREATE FUNCTION atomic(x int DEFAULT length(auth.user_id())) RETURNS bigint LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT count(*) FROM b WHERE owner = auth.user_id() AND n < x; END;
CREATE FUNCTION rows_of(who text DEFAULT auth.user_id()) RETURNS SETOF b LANGUAGE plpgsql STABLE AS
    'DECLARE r b; BEGIN RETURN QUERY SELECT * FROM b WHERE owner = auth.user_id() AND owner = who;
     FOR r IN SELECT * FROM b WHERE owner <> auth.user_id() LOOP IF r.owner > auth.user_id() THEN RETURN NEXT r;
         END IF; END LOOP; END';
CREATE FUNCTION definer() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
    AS 'SELECT count(*) FROM f WHERE owner = auth.user_id()';
CREATE PROCEDURE put(INOUT who text) LANGUAGE plpgsql AS
    'BEGIN INSERT INTO seen SELECT id, who FROM b WHERE owner = auth.user_id(); SELECT max(was) INTO who
        FROM seen WHERE was = auth.user_id(); END';
GRANT ALL ON ALL TABLES IN SCHEMA public TO authenticated;
GRANT CREATE ON SCHEMA public TO authenticated;
"""

# ";;" separates several statements that run together.
STATEMENTS = """
SELECT * FROM a
SELECT * FROM p
SELECT * FROM va
SELECT * FROM vb
SELECT a.id, b.n FROM a JOIN b ON a.id = b.id AND b.owner = auth.user_id()
SELECT a.id, b.n, auth.user_id() FROM a LEFT JOIN b ON a.id = b.id AND b.owner <> auth.user_id()
SELECT a.id, b.n FROM a FULL JOIN b ON a.id = b.id AND b.owner = a.owner
    WHERE coalesce(b.owner, auth.user_id()) = auth.user_id()
SELECT owner, count(*) FILTER (WHERE owner = auth.user_id()) FROM b GROUP BY owner, auth.user_id()
SELECT owner, auth.user_id(), count(*) FROM b GROUP BY GROUPING SETS ((owner), (auth.user_id()), ())
SELECT sum(id) OVER (PARTITION BY auth.user_id() ORDER BY id ROWS BETWEEN length(auth.user_id()) PRECEDING
    AND CURRENT ROW) FROM b
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
SELECT id FROM b WHERE n = 1 OR NOT EXISTS (SELECT FROM a WHERE EXISTS (SELECT FROM p WHERE p.id = a.id
    AND a.owner = auth.user_id()) AND a.id = b.id)
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
SELECT a.id, l.* FROM a, LATERAL (SELECT b.n, auth.user_id() u FROM b WHERE b.owner = auth.user_id()
    AND b.id = a.id OFFSET 0) l
SELECT id FROM a FOR UPDATE
SELECT count(*) FROM p WHERE owner = auth.user_id()
SELECT string_agg(owner || auth.user_id(), ',' ORDER BY auth.user_id(), id) FROM b
SELECT percentile_cont(length(auth.user_id()) / 10.0) WITHIN GROUP (ORDER BY id) FROM b
SELECT ROW(auth.user_id(), n), row_to_json(b), auth.session() ->> 'sub' FROM b
SELECT auth.user_id() = ALL (SELECT owner FROM a), ARRAY(SELECT auth.user_id() FROM b),
    EXISTS (SELECT auth.user_id() FROM b)
SELECT id FROM b b1 JOIN b b2 USING (id, owner) WHERE b1.owner = auth.user_id() AND b2.owner = auth.user_id()
INSERT INTO a (id, n) SELECT 1000 + id, n FROM b WHERE owner = auth.user_id() RETURNING id, owner, auth.user_id()
INSERT INTO a (id, n) VALUES (2000, length(auth.user_id())) RETURNING *, auth.user_id()
INSERT INTO a (id, n) VALUES (1, 9) ON CONFLICT (id) DO UPDATE SET n = length(auth.user_id())
    WHERE a.owner = auth.user_id() RETURNING *
INSERT INTO a (id, owner) VALUES (3000, 'u2')
UPDATE a SET n = length(auth.user_id()) FROM b WHERE a.id = b.id AND b.owner = auth.user_id()
    RETURNING a.id, auth.user_id()
UPDATE a SET (n, owner) = (SELECT length(auth.user_id()), auth.user_id()) RETURNING *
UPDATE p SET n = 7 WHERE owner = auth.user_id() RETURNING id
UPDATE va SET n = 8 WHERE me = auth.user_id() RETURNING id, me
UPDATE va SET owner = 'u2' WHERE id = 1
DELETE FROM a USING b WHERE a.id = b.id AND b.owner = auth.user_id() RETURNING a.id
DELETE FROM vb WHERE me = auth.user_id() RETURNING id
WITH d AS (DELETE FROM b WHERE owner = auth.user_id() RETURNING id, auth.user_id() u) SELECT * FROM d
MERGE INTO b USING (SELECT id, auth.user_id() u FROM a) s ON s.id = b.id AND b.owner = s.u WHEN MATCHED
    AND auth.user_id() = 'u1' THEN DELETE
CREATE TEMP TABLE t AS SELECT auth.user_id() u, id FROM b WHERE owner = auth.user_id()
SELECT a.id, s.u, s.u || 'x' FROM a LEFT JOIN (SELECT id, auth.user_id() AS u FROM b WHERE n = 1) s ON a.id = s.id
SELECT a.id FROM a LEFT JOIN (SELECT id, auth.user_id() AS u FROM b WHERE n = 1) s ON a.id = s.id WHERE s.u IS NULL
SELECT a.id, vb.me FROM vb RIGHT JOIN a USING (id) WHERE coalesce(vb.me, 'none') <> auth.user_id() OR a.n = 3
SELECT x.u, y.u FROM (SELECT n, auth.user_id() AS u FROM a WHERE n < 3) x FULL
    JOIN (SELECT n, auth.user_id() AS u FROM b WHERE n > 1) y ON x.n = y.n AND x.u = y.u
SELECT a.id, l.u FROM a LEFT JOIN LATERAL (SELECT auth.user_id() AS u, b.n FROM b WHERE b.id = a.id
    AND b.owner = auth.user_id()) l ON l.n = 2
SELECT count(*) FROM p p1 JOIN p p2 USING (owner) WHERE p1.owner = auth.user_id()
    GROUP BY p1.owner, p1.owner = auth.user_id()
SELECT * FROM f
SELECT f.id, p.n FROM f JOIN p USING (id) WHERE f.owner = auth.user_id() OR p.owner = auth.user_id()
UPDATE f SET owner = auth.user_id() WHERE owner <> auth.user_id() RETURNING *
SELECT id FROM b WHERE (SELECT auth.user_id() = b.owner)
SELECT id FROM b WHERE (SELECT auth.user_id() = b.owner AND auth.session() ->> 'sub' = b.owner)
SELECT DISTINCT auth.user_id(), n FROM b
SELECT n FROM b GROUP BY n, auth.user_id() ORDER BY auth.user_id(), n
SELECT auth.user_id() || n, count(*) FROM b GROUP BY auth.user_id(), n
SELECT auth.user_id() || 'x', count(*) FROM b GROUP BY GROUPING SETS ((auth.user_id()), ())
SELECT auth.user_id() || n, n, grouping(auth.user_id()), count(*) FROM b GROUP BY CUBE (auth.user_id(), n)
SELECT n, count(*) FROM b GROUP BY ROLLUP (n, auth.user_id()) HAVING auth.user_id() IS NULL
SELECT n, count(*) FROM b GROUP BY ROLLUP (n, auth.user_id()) HAVING length(auth.user_id()) > 0
SELECT owner = auth.user_id(), n + length(auth.user_id()) FROM b
    GROUP BY GROUPING SETS ((owner = auth.user_id()), (n + length(auth.user_id())))
SELECT coalesce(auth.user_id(), 'all'), (SELECT auth.user_id()), count(*) FROM b GROUP BY ROLLUP (auth.user_id())
SELECT u || 'x', count(*) FROM (SELECT auth.user_id() AS u FROM b) s GROUP BY ROLLUP (u)
SELECT auth.user_id(), rank() OVER (ORDER BY auth.user_id() || n) FROM b ORDER BY auth.user_id() || n
SELECT lag(owner, length(auth.user_id()), auth.user_id()) OVER w, first_value(auth.user_id()) OVER w FROM b
    WINDOW w AS (PARTITION BY owner = auth.user_id() ORDER BY id)
SELECT id FROM b ORDER BY auth.user_id() = owner, id FETCH FIRST (length(auth.user_id())) ROWS WITH TIES
SELECT id FROM b WHERE (owner, id) > (auth.user_id(), 30)
SELECT id FROM b WHERE ROW(owner, n) IS DISTINCT FROM ROW(auth.user_id(), 2)
SELECT id FROM b WHERE ARRAY[owner, auth.user_id()] && ARRAY['u2']
SELECT id FROM b WHERE NULLIF(owner, auth.user_id()) IS NULL
SELECT id FROM b WHERE owner IN (auth.user_id(), auth.email(), 'u2')
SELECT id FROM b WHERE owner = CASE WHEN n > 2 THEN auth.user_id() ELSE 'u2' END
SELECT id FROM b WHERE owner = format('%s', auth.user_id()) COLLATE "C"
SELECT (b).owner = auth.user_id(), (ROW(auth.user_id(), 1)::text) FROM b
SELECT (ARRAY['x', auth.user_id()])[2], (ARRAY[1, 2])[length(auth.user_id())] FROM b
SELECT id, x FROM b, XMLTABLE('/r' PASSING xmlparse(document '<r>' || coalesce(auth.user_id(), '') || '</r>')
    COLUMNS x text PATH '.') t WHERE b.owner = x
SELECT * FROM jsonb_to_record(auth.session()) AS r(sub text, iss text) JOIN b ON b.owner = r.sub
SELECT e.key, b.id FROM b, jsonb_each(auth.session()) e WHERE e.value = to_jsonb(b.owner)
SELECT v.o, b.id FROM b, LATERAL (VALUES (auth.user_id()), (b.owner)) v(o) WHERE b.n = 1
SELECT * FROM (SELECT owner FROM b UNION SELECT auth.user_id()) s WHERE owner = auth.user_id()
SELECT * FROM (SELECT owner, n FROM a UNION ALL SELECT owner, n FROM b UNION ALL SELECT auth.user_id(), 0) s
    WHERE owner = auth.user_id()
SELECT owner FROM b INTERSECT ALL SELECT auth.user_id() FROM b
WITH RECURSIVE r AS (SELECT id, owner FROM b WHERE id = 1 UNION SELECT b.id, auth.user_id() FROM r
    JOIN b ON b.id = r.id + 3 AND (b.owner = r.owner OR b.owner = auth.user_id())) SELECT * FROM r
WITH RECURSIVE r AS (SELECT 1 AS id, auth.user_id() AS u UNION ALL SELECT id + 1, u FROM r WHERE id < 5)
    SEARCH DEPTH FIRST BY u SET o CYCLE id SET c USING path SELECT * FROM r
WITH x AS NOT MATERIALIZED (SELECT id FROM b WHERE owner = auth.user_id()) SELECT * FROM x x1 JOIN x x2
    USING (id) WHERE auth.user_id() IS NOT NULL
WITH i AS (INSERT INTO b VALUES (901, auth.user_id(), 1) RETURNING *), u AS (UPDATE b SET n = 3
    WHERE owner = auth.user_id() RETURNING id) SELECT i.id, u.id FROM i, u WHERE i.owner = auth.user_id()
SELECT min(id), max(id) FROM b WHERE owner = auth.user_id()
SELECT count(*) FROM b b1, b b2 WHERE b1.owner = auth.user_id() AND b1.owner = b2.owner
SELECT b.id, (SELECT auth.user_id() FROM a WHERE a.id = b.id LIMIT 1) FROM b WHERE EXISTS (SELECT auth.user_id())
SELECT id FROM b WHERE owner = (SELECT owner FROM a WHERE a.owner = auth.user_id() AND a.id = b.id)
SELECT id FROM b WHERE owner > ANY (SELECT auth.user_id() FROM a WHERE a.n = b.n)
SELECT id FROM b WHERE (owner, auth.user_id()) IN (SELECT owner, auth.user_id() FROM a)
SELECT atomic(), atomic(2), scalar(n) FROM b
SELECT * FROM rows_of()
SELECT * FROM rows_of('u2')
SELECT * FROM b, LATERAL rows_of(b.owner) r WHERE b.id < 4
SELECT definer(), count(*) FROM f
SELECT current_user, auth.user_id(), auth.role(), auth.uid(), auth.jwt() = auth.session(), auth.organization(),
    auth.organization_id() FROM b
SELECT id FROM b FOR UPDATE
SELECT b.id FROM b JOIN a USING (id) WHERE b.owner = auth.user_id() FOR NO KEY UPDATE OF b SKIP LOCKED
TABLE va
INSERT INTO b VALUES (902, auth.user_id(), 1), (903, 'u2', 1);; SELECT * FROM seen
INSERT INTO b SELECT 910 + n, auth.user_id(), n FROM b WHERE owner = auth.user_id();; SELECT * FROM seen
INSERT INTO va (id) VALUES (904) RETURNING me, owner
INSERT INTO va (id, owner) VALUES (904, 'u2')
INSERT INTO p VALUES (905, auth.user_id(), 1), (906, auth.user_id(), 1) RETURNING tableoid::regclass, *
INSERT INTO a AS t (id, n) SELECT id, 5 FROM b WHERE owner = auth.user_id() ON CONFLICT (id) DO UPDATE
    SET n = excluded.n + length(auth.user_id()), owner = auth.user_id() WHERE t.owner = auth.user_id() RETURNING *
INSERT INTO a (id, n) SELECT id + 2000, 5 FROM b WHERE owner = auth.user_id() ON CONFLICT DO NOTHING RETURNING id
UPDATE b SET n = n + 1 WHERE id < 9;; SELECT * FROM seen
UPDATE b SET owner = auth.user_id() FROM a, p WHERE a.id = b.id AND p.id = a.id AND p.owner = auth.user_id();;
    SELECT * FROM seen
UPDATE b SET n = (SELECT count(*) FROM a WHERE a.owner = auth.user_id() AND a.n = b.n) WHERE owner = auth.user_id()
    RETURNING *
UPDATE p SET owner = 'u2' WHERE owner = auth.user_id()
UPDATE p SET id = id + 1000 WHERE n = length(auth.user_id()) RETURNING tableoid::regclass, *
UPDATE vt SET owner = 'x' WHERE owner = auth.user_id() RETURNING *
UPDATE vb SET owner = owner WHERE id > length(auth.user_id())
DELETE FROM vr WHERE id < 10;; SELECT * FROM seen
DELETE FROM p WHERE owner = auth.user_id() RETURNING id, auth.user_id()
MERGE INTO a USING b ON a.id = b.id AND b.owner = auth.user_id() WHEN MATCHED
    AND b.n > length(auth.user_id()) THEN UPDATE SET n = length(auth.user_id()) WHEN MATCHED THEN DELETE
    WHEN NOT MATCHED THEN INSERT (id, n) VALUES (b.id + 4000, length(auth.user_id()));; SELECT * FROM a
MERGE INTO p USING (VALUES (3, auth.user_id()), (907, auth.user_id())) v(id, o) ON p.id = v.id
    WHEN MATCHED THEN UPDATE SET n = 9 WHEN NOT MATCHED THEN INSERT VALUES (v.id, auth.user_id(), 0);; SELECT * FROM p
DECLARE c SCROLL CURSOR FOR SELECT id, owner, auth.user_id() FROM b WHERE owner = auth.user_id() ORDER BY id;;
    FETCH 2 FROM c;; FETCH LAST FROM c;; FETCH BACKWARD 2 FROM c;; MOVE FIRST FROM c;; FETCH ALL FROM c
DECLARE c CURSOR FOR SELECT id FROM b WHERE owner = auth.user_id() FOR UPDATE;; FETCH 1 FROM c;;
    UPDATE b SET n = 70 WHERE CURRENT OF c RETURNING id, auth.user_id();; FETCH 1 FROM c;;
    DELETE FROM b WHERE CURRENT OF c RETURNING id;; FETCH ALL FROM c
PREPARE q(text) AS SELECT id FROM b WHERE owner = $1 AND owner = auth.user_id();; EXECUTE q(auth.user_id());;
    EXECUTE q('u1');; EXECUTE q('u2');; DEALLOCATE q
CREATE TEMP TABLE t AS SELECT id FROM b WHERE owner = auth.user_id() WITH NO DATA
CREATE MATERIALIZED VIEW m AS SELECT id FROM b WHERE owner = auth.user_id();; SELECT * FROM m;;
    REFRESH MATERIALIZED VIEW m;; SELECT * FROM m
SELECT id, auth.user_id() AS u INTO TEMP t FROM b WHERE owner = auth.user_id();; SELECT * FROM t
CALL put(auth.user_id());; SELECT * FROM seen
DO 'DECLARE n int; BEGIN SELECT count(*) INTO n FROM b WHERE owner = auth.user_id(); INSERT INTO seen
    VALUES (n, auth.user_id()); END';; SELECT * FROM seen
CREATE TABLE g (id int, owner text GENERATED ALWAYS AS (auth.user_id()) STORED)
CREATE TABLE d (id int, owner text DEFAULT auth.user_id()
    CHECK (owner = auth.user_id()) , k text DEFAULT auth.user_id() || 'x');; INSERT INTO d SELECT id FROM b;;
    INSERT INTO d VALUES (1), (2);; SELECT * FROM d
CREATE TABLE d (id int, owner text CHECK (owner = auth.user_id()));; INSERT INTO d SELECT id, 'u2' FROM b
CREATE TABLE d (id int);; INSERT INTO d VALUES (1), (2);; ALTER TABLE d ADD owner text DEFAULT auth.user_id();;
    SELECT * FROM d;; ALTER TABLE d ADD CHECK (owner = auth.user_id());;
    ALTER TABLE d ALTER id TYPE text USING auth.user_id() || id;; SELECT * FROM d
CREATE TABLE d (owner text);; CREATE INDEX ON d (owner, (auth.user_id()))
CREATE TEMP TABLE s (owner text) PARTITION BY LIST (owner);;
    CREATE TEMP TABLE s1 PARTITION OF s FOR VALUES IN (auth.user_id());; INSERT INTO s SELECT auth.user_id() FROM b;;
    SELECT * FROM s
"""

# Statements for later versions only, by the first version.
LATER = {
    16: """
SELECT any_value(auth.user_id()), count(*) FILTER (WHERE owner = auth.user_id()) FROM b GROUP BY owner
SELECT json_arrayagg(auth.user_id() ORDER BY id), json_object('u': auth.user_id()), auth.user_id() IS JSON
    FROM b GROUP BY n
""",
    17: """
SELECT j.x, b.id FROM b, JSON_TABLE(auth.session(), '$' COLUMNS (x text PATH '$.sub')) j WHERE j.x = b.owner
SELECT j.x, j.o FROM b, JSON_TABLE(to_jsonb(b), '$' PASSING auth.user_id() AS u
    COLUMNS (x text PATH '$.owner', o text PATH '$.nothing' DEFAULT auth.user_id() ON EMPTY)) j
    WHERE b.owner = auth.user_id()
SELECT id FROM b WHERE JSON_EXISTS(to_jsonb(b), '$ ? (@.owner == $u)' PASSING auth.user_id() AS u)
SELECT JSON_VALUE(auth.session(), '$.sub' DEFAULT auth.user_id() ON EMPTY), JSON_QUERY(auth.session(), '$.iss') FROM b
MERGE INTO a USING b ON a.id = b.id AND b.owner = auth.user_id() WHEN MATCHED THEN UPDATE
    SET n = length(auth.user_id()) WHEN NOT MATCHED BY SOURCE AND a.owner = auth.user_id() THEN DELETE
    WHEN NOT MATCHED BY TARGET AND b.owner = auth.user_id() THEN INSERT (id, n) VALUES (b.id + 4000, 1)
    RETURNING merge_action(), a.*, auth.user_id()
MERGE INTO va USING b ON va.id = b.id WHEN MATCHED AND va.me = auth.user_id() THEN UPDATE SET n = 5
    RETURNING va.id, auth.user_id()
WITH m AS (MERGE INTO b USING a ON a.id = b.id WHEN MATCHED AND b.owner = auth.user_id() THEN DELETE RETURNING b.id)
    SELECT * FROM m WHERE auth.user_id() IS NOT NULL
""",
    18: """
UPDATE b SET n = length(auth.user_id()) WHERE owner = auth.user_id() RETURNING old.n, new.n, old.owner = auth.user_id()
INSERT INTO a (id, n) VALUES (1, 9), (4, 9) ON CONFLICT (id) DO UPDATE SET n = length(auth.user_id())
    WHERE a.owner = auth.user_id() RETURNING old.*, new.*, auth.user_id()
DELETE FROM b WHERE owner = auth.user_id() RETURNING old.id, new.id, auth.user_id()
CREATE TABLE g (id int, owner text GENERATED ALWAYS AS (auth.user_id()) VIRTUAL)
CREATE TABLE g (id int, mine int GENERATED ALWAYS AS (id * 2) VIRTUAL);;
    INSERT INTO g SELECT id FROM b WHERE owner = auth.user_id();;
    SELECT mine, auth.user_id() FROM g WHERE mine > length(auth.user_id())
SELECT auth.user_id() || n, grouping(auth.user_id()), count(*) FROM b
    GROUP BY DISTINCT GROUPING SETS ((auth.user_id()), (n), ()) HAVING auth.user_id() || n IS NULL
""",
    19: """
INSERT INTO a (id, n) SELECT id, 5 FROM b WHERE owner = auth.user_id() ON CONFLICT (id) DO SELECT
    WHERE a.owner = auth.user_id() AND a.n > length(auth.user_id()) RETURNING *, auth.user_id()
INSERT INTO a AS t (id, n) VALUES (1, 9), (2, 9), (4, 9) ON CONFLICT (id) DO SELECT FOR UPDATE
    WHERE t.owner = auth.user_id() RETURNING old.n, new.n, auth.user_id() || t.n
WITH i AS (INSERT INTO a (id, n) SELECT id, 5 FROM b ON CONFLICT (id) DO SELECT FOR SHARE RETURNING owner)
    SELECT count(*) FROM i WHERE owner = auth.user_id()
SELECT lag(NULLIF(owner, auth.user_id())) IGNORE NULLS OVER w, last_value(auth.user_id()) RESPECT NULLS OVER w FROM b
    WINDOW w AS (PARTITION BY owner = auth.user_id() ORDER BY id)
SELECT json_array(SELECT auth.user_id() || n FROM a WHERE a.owner = auth.user_id() AND a.id < b.id ORDER BY 1) FROM b
""",
}

# Makes these few rows as costly as many: for a few, mere calls stay calls.
MANY_ROWS = "SET cpu_tuple_cost = 1;"

SETTINGS = {
    "as it comes": "",
    "parallel": "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
    "nested loops, generic plans": (
        "SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan"
    ),
    "sorted, by partition": (
        "SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on; SET enable_hashagg = off;"
        "SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_seqscan = off"
    ),
}
# JIT is off since Postgres 19. Optimising would take minutes.
COMPILED = "SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = -1; SET jit_optimize_above_cost = -1"


def outcome(session, sql):
    session.query("BEGIN")
    try:
        return [sorted(map(str, session.execute(part))) for part in sql.split(";; ")]
    except PgError as error:
        return f"{error.code} {error.fields['M']}"
    finally:
        session.query("ROLLBACK")


# Each waits for rows that another session is about to change, and then rechecks them: some evaluate
# claims then that they did not evaluate before, or have claims that would raise and are not
# reached.
WAITING = """
UPDATE b SET n = -1 WHERE owner = auth.user_id() AND n < 50 RETURNING id, n, auth.user_id()
UPDATE b SET n = -1 FROM a WHERE a.id = b.id AND b.owner = auth.user_id() AND b.n < 50 RETURNING b.id, auth.user_id()
UPDATE b SET n = -1 WHERE (SELECT auth.user_id() = b.owner) RETURNING id, n
UPDATE b SET n = -1 WHERE EXISTS (SELECT FROM a WHERE a.id = b.id AND b.owner = auth.user_id()) RETURNING id, n
DELETE FROM b WHERE owner <> auth.user_id() RETURNING id, n
SELECT id, n FROM vb FOR UPDATE
SELECT id, n, auth.user_id() FROM b WHERE owner = auth.user_id() ORDER BY id FOR UPDATE
MERGE INTO b USING a ON a.id = b.id WHEN MATCHED AND b.owner = auth.user_id() AND b.n < 50 THEN UPDATE
    SET n = -1 WHEN MATCHED AND b.n >= 50 THEN DELETE;; TABLE b
UPDATE p SET n = -1 WHERE n < 50 RETURNING id, n
UPDATE b SET n = -1 WHERE CASE WHEN n < 50 THEN id > 0 ELSE owner = auth.session() ->> 'sub' END RETURNING id, n
SELECT id, n FROM b WHERE CASE WHEN n < 50 THEN id > 0 ELSE owner = auth.session() ->> 'sub' END FOR UPDATE
SELECT id, n FROM b WHERE CASE WHEN n < 50 THEN id > 0
    ELSE (SELECT lower(auth.session() ->> 'sub') = b.owner) END FOR UPDATE
UPDATE b SET n = -1 WHERE CASE WHEN n > 1000 THEN (SELECT (auth.session() ->> 'sub')::int = b.id)
    ELSE owner = auth.user_id() END RETURNING id, n
"""


def outcome_after(other, session, sql):
    """Its result after the commit of another session's changes, for which it waited."""
    other.query(
        "BEGIN; UPDATE b SET n = 100 WHERE id % 4 = 0; UPDATE b SET owner = 'u2' WHERE owner = 'u1' AND id % 5 = 0;"
        "UPDATE b SET owner = 'u1' WHERE owner = 'u0' AND id % 5 = 0; UPDATE p SET n = 100 WHERE id % 4 = 0"
    )
    first, *rest = sql.split(";; ")
    session.query("BEGIN")
    session.begin_query(first)
    waits = f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {session.backend}"
    for _ in range(2000):
        if other.value(waits) == "t":
            break
        other.query("SELECT pg_sleep(0.005), pg_stat_clear_snapshot()")
    else:
        sys.exit(f"did not wait: {sql}")
    other.query("COMMIT")
    try:
        return [sorted(map(str, rows)) for rows in (session.receive(), *map(session.query, rest))]
    except PgError as error:
        return f"{error.code} {error.fields['M']}"
    finally:
        session.query("ROLLBACK")
        other.query("TRUNCATE b, p; INSERT INTO b TABLE b_before; INSERT INTO p TABLE p_before; ANALYZE b, p")


def lines(statements):
    """A statement is a line, with those that are indented after it."""
    return re.sub(r"\n +", " ", statements).strip().split("\n")


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_plans")
    cluster.session(db, "owner_role").query(tokens.setup(0) + SCHEMA)
    version = int(cluster.session(db).value("SHOW server_version_num")) // 10000
    statements = STATEMENTS + "".join(text for first, text in LATER.items() if version >= first)

    def signed_in(user, once, setting):
        session = cluster.session(db, "postgres")
        session.execute("SELECT auth.jwt_session_init($1)", tokens.token(user) if user else None)
        session.query(
            f"SET pg_auth_jwt.evaluate_once = {once}; SET SESSION AUTHORIZATION authenticated; {MANY_ROWS} {setting}"
        )
        return session

    interpreted = {}
    for planner, setting in SETTINGS.items():
        for user in ("u1", None):
            sessions = [signed_in(user, once, setting) for once in ("on", "off")]
            for sql in lines(statements):
                once, each_row = (outcome(session, sql) for session in sessions)
                checks.equal(f"{planner}, {user}: {sql}", once, each_row)
                interpreted.setdefault((user, sql), once)
    if cluster.session(db).value("SET jit = on; SELECT pg_jit_available()") == "t":
        session = signed_in("u1", "on", COMPILED)
        # A third of them: compiling takes a hundred times what running does, and the expressions are of the same kinds.
        for sql in lines(statements)[::3]:
            checks.equal(f"compiled: {sql}", outcome(session, sql), interpreted["u1", sql])
    else:
        checks.skip("the server has no JIT: nothing is compiled")

    other = cluster.session(db, "postgres")
    other.query("CREATE TABLE b_before AS TABLE b; CREATE TABLE p_before AS TABLE p;ALTER TABLE b DISABLE TRIGGER USER")
    for sql in lines(WAITING):
        found = []
        for once in ("on", "off"):
            session = cluster.session(db, "authenticated")
            session.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
            session.query(f"{MANY_ROWS} SET pg_auth_jwt.evaluate_once = {once}")
            found.append(outcome_after(other, session, sql))
            session.close()
        checks.equal(f"after waiting: {sql}", *found)
        checks.true(f"after waiting: {sql}: has rows", isinstance(found[0], list) and any(found[0]))
    checks.done("statements of every shape give the same, evaluated once or for each row")


main()
