-- The readers become InitPlans, but in the bodies of SQL functions: each shape of query gives the same with hoisting on and off.
\i fixtures/jose.sql
\set ECHO none
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}') AS keys;
CREATE TABLE t (id int PRIMARY KEY, owner uuid, tenant text, n int);
INSERT INTO t SELECT i, CASE i % 3 WHEN 0 THEN '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11'
                                   WHEN 1 THEN '7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22' END::uuid,
                     CASE i % 2 WHEN 0 THEN 'acme' ELSE 'globex' END, i % 7
  FROM generate_series(1, 300) i;
CREATE INDEX ON t (owner);
CREATE TABLE p (id int, owner text, v int) PARTITION BY LIST (owner);
CREATE TABLE p_alice PARTITION OF p FOR VALUES IN ('0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11');
CREATE TABLE p_bob PARTITION OF p FOR VALUES IN ('7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22');
CREATE TABLE p_rest PARTITION OF p DEFAULT;
INSERT INTO p SELECT id, coalesce(owner::text, 'nobody'), n FROM t;
CREATE VIEW v AS SELECT * FROM t WHERE owner = auth.uid();
CREATE VIEW vb WITH (security_barrier) AS SELECT * FROM t WHERE owner = auth.uid();
CREATE FUNCTION me() RETURNS uuid LANGUAGE sql STABLE RETURN auth.uid();
CREATE FUNCTION mine() RETURNS SETOF t LANGUAGE sql STABLE AS 'SELECT * FROM t WHERE owner = auth.uid()';
CREATE TABLE guarded (id int, owner uuid DEFAULT auth.uid(), note text CHECK (note IS NULL OR auth.email() IS NOT NULL));
INSERT INTO guarded VALUES (0, '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', NULL);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON guarded USING (owner = auth.uid()) WITH CHECK (owner = auth.uid());
ANALYZE t, p, guarded;

-- What a statement gives and leaves behind; nothing of it stays.
CREATE FUNCTION outcome(statement text, hoist boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE given jsonb; state jsonb;
BEGIN
    PERFORM set_config('pg_auth_jwt.hoist_readers', hoist::text, true);
    IF statement ~* '^(select|values|with (recursive r|m) )' THEN
        EXECUTE format('SELECT jsonb_agg(to_jsonb(q)) FROM (%s) q', statement) INTO given;
    ELSE
        EXECUTE statement;
    END IF;
    SELECT jsonb_build_array((SELECT jsonb_agg(t ORDER BY id) FROM t), (SELECT jsonb_agg(p ORDER BY id) FROM p),
                             (SELECT jsonb_agg(g ORDER BY id) FROM guarded g)) INTO state;
    RAISE EXCEPTION USING ERRCODE = 'OK000', MESSAGE = md5(coalesce(given::text, 'null') || state::text) || ' ' || coalesce(jsonb_array_length(given), 0);
EXCEPTION
    WHEN SQLSTATE 'OK000' THEN RETURN SQLERRM;
    WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION is_hoisted(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || statement INTO plan;
    RETURN plan::text LIKE '%InitPlan%';
EXCEPTION WHEN OTHERS THEN RETURN NULL;
END $$;

CREATE TABLE shapes (n int GENERATED ALWAYS AS IDENTITY, shape text, statement text);
COPY shapes (shape, statement) FROM stdin;
seq scan	SELECT * FROM t WHERE n = 3 AND owner = auth.uid() ORDER BY id
index condition	SELECT * FROM t WHERE owner = auth.uid() ORDER BY id
target list	SELECT id, auth.user_id(), auth.session() ->> 'tenant_id' FROM t ORDER BY id
jsonb operator	SELECT * FROM t WHERE tenant = auth.session() ->> 'tenant_id' ORDER BY id
sub-select by hand	SELECT * FROM t WHERE owner = (SELECT auth.uid()) ORDER BY id
mine or shared	SELECT * FROM t WHERE owner = auth.uid() OR EXISTS (SELECT FROM p WHERE p.id = t.id AND p.owner = auth.user_id()) ORDER BY id
correlated sub-select	SELECT * FROM t WHERE (SELECT auth.uid() = t.owner) ORDER BY id
sub-select in a sub-select	SELECT * FROM t WHERE owner = (SELECT (SELECT auth.uid())) ORDER BY id
no FROM	SELECT auth.uid(), auth.email() || auth.user_id()
no FROM, with WHERE	SELECT 1 WHERE auth.uid() IS NOT NULL
VALUES	VALUES (auth.uid()), (NULL), (auth.uid())
one-row VALUES	VALUES (auth.email())
function in FROM	SELECT * FROM auth.user_id() u
function in FROM and join	SELECT t.id FROM t JOIN auth.uid() u ON t.owner = u ORDER BY 1
set-returning with reader	SELECT * FROM generate_series(1, length(auth.email())) ORDER BY 1
runtime partition pruning	SELECT * FROM p WHERE owner = auth.user_id() ORDER BY id
inlined SQL function	SELECT * FROM t WHERE owner = me() ORDER BY id
inlined set-returning function	SELECT * FROM mine() ORDER BY id
view	SELECT * FROM v ORDER BY id
security barrier	SELECT * FROM vb WHERE n > 2 ORDER BY id
row-level security	SELECT * FROM guarded
window	SELECT id, count(*) OVER (PARTITION BY owner = auth.uid() ORDER BY id) FROM t ORDER BY id
aggregate	SELECT owner = auth.uid() AS mine, count(*), max(auth.email()) FROM t GROUP BY 1 ORDER BY 1, 2
grouping sets	SELECT owner = auth.uid() AS mine, n, count(*) FROM t WHERE owner = auth.uid() OR n < 5 GROUP BY GROUPING SETS ((1), (2), ()) ORDER BY 1, 2, 3
key of a grouping set	SELECT auth.email() || 'x' AS u, count(*), auth.uid() IS NULL FROM t WHERE owner = auth.uid() GROUP BY ROLLUP (auth.email(), auth.uid()) HAVING auth.email() IS NOT NULL OR count(*) > 0 ORDER BY 1, 2, 3
having	SELECT owner, count(*) FROM t GROUP BY owner HAVING owner = auth.uid()
filter	SELECT count(*) FILTER (WHERE owner = auth.uid()) FROM t
order by	SELECT id FROM t ORDER BY owner = auth.uid() DESC NULLS LAST, id
limit	SELECT id FROM t ORDER BY id LIMIT length(auth.email())
recursive CTE	WITH RECURSIVE r AS (SELECT id FROM t WHERE owner = auth.uid() AND id < 10 UNION ALL SELECT t.id FROM t JOIN r ON t.id = r.id + 30 WHERE t.owner = auth.uid()) SELECT * FROM r ORDER BY 1
CTE	WITH m AS MATERIALIZED (SELECT * FROM t WHERE owner = auth.uid()) SELECT * FROM m ORDER BY id
union	SELECT id FROM t WHERE owner = auth.uid() UNION ALL SELECT id FROM p WHERE owner = auth.user_id() ORDER BY 1
except	SELECT id FROM t EXCEPT SELECT id FROM t WHERE owner = auth.uid() ORDER BY 1
exists	SELECT id FROM t WHERE EXISTS (SELECT FROM p WHERE p.id = t.id AND p.owner = auth.user_id()) ORDER BY 1
not in	SELECT id FROM t WHERE id NOT IN (SELECT id FROM p WHERE owner = auth.user_id()) ORDER BY 1
outer join	SELECT t.id, p.v FROM t LEFT JOIN p ON p.id = t.id AND p.owner = auth.user_id() ORDER BY 1
full join	SELECT a.id, b.id FROM (SELECT * FROM t WHERE owner = auth.uid()) a FULL JOIN (SELECT * FROM t WHERE n = 1) b USING (id) ORDER BY 1, 2
lateral	SELECT a.id, l.c FROM t a, LATERAL (SELECT count(*) AS c FROM t b WHERE b.owner = auth.uid() AND b.id < a.id) l ORDER BY 1
distinct on	SELECT DISTINCT ON (owner = auth.uid()) id FROM t ORDER BY owner = auth.uid(), id
case	SELECT CASE WHEN auth.uid() IS NULL THEN 1 ELSE id END FROM t ORDER BY 1
coalesce	SELECT * FROM t WHERE coalesce(owner, auth.uid()) = auth.uid() ORDER BY id
array	SELECT * FROM t WHERE owner = ANY (ARRAY[auth.uid()]) ORDER BY id
tablesample	SELECT count(*) FROM t TABLESAMPLE bernoulli (100) WHERE owner = auth.uid()
for update	SELECT id FROM t WHERE owner = auth.uid() ORDER BY id FOR UPDATE
insert select	INSERT INTO t SELECT id + 1000, auth.uid(), auth.session() ->> 'tenant_id', n FROM t
insert values	INSERT INTO t VALUES (2000, auth.uid(), 'x', 1), (2001, auth.uid(), 'x', 1)
insert default	INSERT INTO guarded (id, note) VALUES (1, 'a'), (2, 'b')
insert default, one row	INSERT INTO guarded (id, note) VALUES (1, auth.email())
insert against policy	INSERT INTO guarded (id, owner) VALUES (1, '7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22')
update	UPDATE t SET n = n + 1, owner = auth.uid() WHERE owner = auth.uid() OR n = 2
update of a partition key	UPDATE p SET owner = auth.user_id() WHERE owner <> auth.user_id()
update from	UPDATE t SET n = -1 FROM p WHERE p.id = t.id AND p.owner = auth.user_id()
delete	DELETE FROM t WHERE owner = auth.uid()
delete of partitions	DELETE FROM p WHERE owner = auth.user_id()
delete using	DELETE FROM t USING p WHERE p.id = t.id AND p.owner = auth.user_id()
returning	WITH d AS (DELETE FROM t WHERE owner = auth.uid() RETURNING id, auth.email()) INSERT INTO p SELECT id + 9000, email, 0 FROM d
on conflict	INSERT INTO t SELECT id, auth.uid(), 'c', 0 FROM t ON CONFLICT (id) DO UPDATE SET tenant = auth.email() WHERE t.owner = auth.uid()
on conflict, one row	INSERT INTO t VALUES (3, auth.uid(), 'c', 0) ON CONFLICT (id) DO UPDATE SET tenant = auth.email() WHERE t.owner = auth.uid()
merge	MERGE INTO t USING p ON p.id = t.id AND p.owner = auth.user_id() WHEN MATCHED AND t.owner = auth.uid() THEN UPDATE SET tenant = auth.email() WHEN NOT MATCHED THEN INSERT VALUES (p.id + 5000, auth.uid(), 'm', 1)
create table as	CREATE TABLE made AS SELECT * FROM t WHERE owner = auth.uid()
cursor	DO 'DECLARE c CURSOR FOR SELECT * FROM t WHERE owner = auth.uid(); BEGIN FOR r IN c LOOP UPDATE t SET n = -2 WHERE CURRENT OF c; END LOOP; END'
plpgsql expression	DO 'BEGIN FOR i IN 1..10 LOOP IF auth.uid() IS NOT NULL THEN UPDATE t SET n = i WHERE id = i; END IF; END LOOP; END'
\.

\set ECHO all
SELECT auth.jwt_session_init(:'alice');
SELECT shape, outcome(statement, true) = outcome(statement, false) AS same,
       outcome(statement, true) !~ '^[0-9A-Z]{5} ' AS ran, is_hoisted(statement) AS hoisted
  FROM shapes ORDER BY n;

-- Every reader is known for one.
SELECT p.oid::regprocedure AS reader, is_hoisted(format('SELECT count(*) FROM t WHERE %s IS NULL', p.oid::regprocedure)) AS hoisted
  FROM pg_proc p WHERE pronamespace = 'auth'::regnamespace AND pronargs = 0 AND prorettype <> 'trigger'::regtype ORDER BY proname;

-- Without a token, and with one that is not good, the answer is the same as well.
SELECT auth.jwt_session_init(NULL);
SELECT shape FROM shapes WHERE outcome(statement, true) <> outcome(statement, false);
SET pg_auth_jwt.token = :'expired';
SELECT shape, outcome(statement, true), outcome(statement, false) FROM shapes WHERE outcome(statement, true) <> outcome(statement, false);

-- Never a constant: a generic plan serves whoever is signed in.
SET plan_cache_mode = force_generic_plan;
PREPARE mine AS SELECT count(*), min(id) FROM t WHERE owner = auth.uid();
SELECT auth.jwt_session_init(:'alice');
EXECUTE mine;
SELECT auth.jwt_session_init(:'bob');
EXECUTE mine;
SELECT auth.jwt_session_init(NULL);
EXECUTE mine;
SET pg_auth_jwt.token = :'expired';
EXECUTE mine;

-- The plans, with what versions of Postgres print differently taken out.
CREATE FUNCTION plan(statement text, options text DEFAULT '') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (COSTS OFF %s) %s', options, statement) LOOP
        CONTINUE WHEN line ~ 'Params Evaluated: ';                        -- until 16
        line := regexp_replace(line, '\(InitPlan \d+\)\.col1', '$0');     -- since 17
        line := regexp_replace(line, 'InitPlan 1 \(returns \$0\)', 'InitPlan 1');
        RETURN NEXT regexp_replace(line, '(rows=\d+)\.00', '\1');         -- since 18
    END LOOP;
END $$;
SELECT auth.jwt_session_init(:'alice');
SELECT plan('SELECT * FROM p WHERE owner = auth.user_id()', ', ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
-- A parallel plan: the InitPlan is the leader's, who gives its workers what came out.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT plan('SELECT count(*) FROM t WHERE owner = auth.uid()');
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- Drizzle's way of writing a policy: a sub-select of the row, whose reader is evaluated once.
SELECT plan('SELECT * FROM t WHERE (SELECT auth.uid() = t.owner)');
SET enable_seqscan = off;
SELECT plan('SELECT * FROM t WHERE owner = auth.uid()');
SET enable_seqscan = on;
-- One row and nothing to gain: left as it is.
SELECT plan('SELECT auth.uid(), auth.email() IS NULL', ', VERBOSE');

-- Other functions of the extension's are called as often as ever.
\c - postgres
CREATE SEQUENCE calls;
CREATE FUNCTION auth.volatile() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('calls') $$;
CREATE FUNCTION auth.two() RETURNS SETOF int LANGUAGE sql STABLE AS $$ VALUES (1), (2) $$;
ALTER EXTENSION pg_auth_jwt ADD FUNCTION auth.volatile();
ALTER EXTENSION pg_auth_jwt ADD FUNCTION auth.two();
SELECT auth.volatile(), n FROM generate_series(1, 3) n;
SELECT auth.two(), n FROM generate_series(1, 2) n;
