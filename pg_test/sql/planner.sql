-- Claim functions, and expressions of claims and constants, become InitPlans in the finished plan. Each shape of query gives the
-- same with pg_auth_jwt.evaluate_once on and off.
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

-- A statement's result and its effects; everything is rolled back.
CREATE FUNCTION outcome(statement text, once boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE given jsonb; state jsonb;
BEGIN
    PERFORM set_config('pg_auth_jwt.evaluate_once', once::text, true);
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
CREATE FUNCTION has_init_plan(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || statement INTO plan;
    RETURN plan::text LIKE '%InitPlan%';
EXCEPTION WHEN OTHERS THEN RETURN NULL;
END $$;

-- Mere calls for a few rows stay calls, which cost less than an InitPlan. To avoid that with the
-- few rows here:
SET cpu_tuple_cost = 1;
SET enable_bitmapscan = off;
SET enable_indexscan = off;

CREATE TABLE shapes (n int GENERATED ALWAYS AS IDENTITY, shape text, statement text);
COPY shapes (shape, statement) FROM stdin;
seq scan	SELECT * FROM t WHERE n = 3 AND owner = auth.uid() ORDER BY id
index condition	SELECT * FROM t WHERE owner = auth.uid() ORDER BY id
target list	SELECT id, auth.user_id(), auth.session() ->> 'tenant_id' FROM t ORDER BY id
jsonb operator	SELECT * FROM t WHERE tenant = auth.session() ->> 'tenant_id' ORDER BY id
expression of claims	SELECT * FROM t WHERE upper(owner::text) = upper(auth.uid()::text) || coalesce(auth.session() ->> 'none', '') ORDER BY id
array of claims	SELECT * FROM t WHERE owner::text = ANY (string_to_array(auth.session() ->> 'sub', ',')::varchar[]) ORDER BY id
CASE of claims	SELECT * FROM t WHERE tenant = CASE auth.role() WHEN 'none' THEN 'x' ELSE auth.session() ->> 'tenant_id' END ORDER BY id
CASE with a claim	SELECT * FROM t WHERE CASE n WHEN length(auth.email()) - 14 THEN owner = auth.uid() ELSE n = 2 END ORDER BY id
sub-select by hand	SELECT * FROM t WHERE owner = (SELECT auth.uid()) ORDER BY id
mine or shared	SELECT * FROM t WHERE owner = auth.uid() OR EXISTS (SELECT FROM p WHERE p.id = t.id AND p.owner = auth.user_id()) ORDER BY id
correlated sub-select	SELECT * FROM t WHERE (SELECT auth.uid() = t.owner) ORDER BY id
sub-select that may raise	SELECT * FROM t WHERE (SELECT (auth.session() ->> 'sub')::uuid = t.owner) ORDER BY id
sub-select with more	SELECT * FROM t WHERE (SELECT auth.uid() = t.owner WHERE t.n > 2) ORDER BY id
sub-select of an aggregate	SELECT n, (SELECT max(t.id) + length(auth.email())) FROM t GROUP BY n ORDER BY n
sub-select beside a key	SELECT (SELECT auth.email()) AS u, auth.email(), count(*) FROM t GROUP BY ROLLUP (auth.email()) ORDER BY 1, 2, 3
volatile	SELECT count(*) FROM t WHERE auth.email() || random()::text <> 'x' AND (SELECT auth.uid()::text || random()) <> t.tenant
never reached	SELECT count(*) FROM t WHERE n > 100 AND id::text = (auth.session() ->> 'sub')::int::text
not reached by CASE	SELECT sum(CASE WHEN n > 100 THEN (auth.session() ->> 'sub')::int ELSE 1 END) FROM t
not reached by CASE in a sub-select	SELECT count(*) FROM t WHERE CASE WHEN n > 100 THEN (SELECT (auth.session() ->> 'sub')::int = t.id) ELSE n = 1 END
not reached by AND in a sub-select	SELECT count(*) FROM t WHERE n > 100 AND (SELECT (auth.session() ->> 'sub')::int = t.id)
reached and raised	SELECT count(*) FROM t WHERE id = (auth.session() ->> 'sub')::int
sub-select in a sub-select	SELECT * FROM t WHERE owner = (SELECT (SELECT auth.uid())) ORDER BY id
no FROM	SELECT auth.uid(), auth.email() || auth.user_id()
no FROM, with WHERE	SELECT 1 WHERE auth.uid() IS NOT NULL
VALUES	VALUES (auth.uid()), (NULL), (auth.uid())
one-row VALUES	VALUES (auth.email())
function in FROM	SELECT * FROM auth.user_id() u
function in FROM and join	SELECT t.id FROM t JOIN auth.uid() u ON t.owner = u ORDER BY 1
set-returning with a claim	SELECT * FROM generate_series(1, length(auth.email())) ORDER BY 1
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
       outcome(statement, true) !~ '^[0-9A-Z]{5} ' AS ran, has_init_plan(statement) AS init_plan
  FROM shapes ORDER BY n;

-- Every claim function is recognised.
SELECT p.oid::regprocedure AS claim_function, has_init_plan(format('SELECT %s FROM t', p.oid::regprocedure)) AS init_plan
  FROM pg_proc p WHERE pronamespace = 'auth'::regnamespace AND pronargs = 0 AND NOT proretset AND prorettype <> ALL ('{trigger,void}'::regtype[]) ORDER BY proname;

-- Without a token, and with a bad one, the answer is the same too.
SELECT auth.jwt_session_init(NULL);
SELECT shape FROM shapes WHERE outcome(statement, true) <> outcome(statement, false);
SET pg_auth_jwt.token = :'expired';
SELECT shape, outcome(statement, true), outcome(statement, false) FROM shapes WHERE outcome(statement, true) <> outcome(statement, false);

-- Never a constant: a generic plan serves every user.
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

-- The plans, as later versions of Postgres print them.
CREATE FUNCTION plan(statement text, options text DEFAULT '') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; lines text[]; found text[]; names text[];
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (COSTS OFF %s) %s', options, statement) LOOP
        CONTINUE WHEN line ~ 'Params Evaluated: |Replaces: ';             -- until 16, and since 19
        lines := lines || regexp_replace(line, '(rows=\d+)\.00', '\1');   -- since 18
    END LOOP;
    FOREACH line IN ARRAY lines LOOP                                      -- until 16
        found := regexp_match(line, 'InitPlan (\d+) \(returns \$(\d+)\)');
        IF found IS NOT NULL THEN
            SELECT array_agg(regexp_replace(replace(l, format(' (returns $%s)', found[2]), ''), '\$' || found[2] || '\M', format('(InitPlan %s).col1', found[1])))
              INTO lines FROM unnest(lines) l;
        END IF;
    END LOOP;
    -- Since 19 by what they are for, as expr_1. Here they have numbers, in the order in which they are first seen.
    names := ARRAY(SELECT m[1] FROM unnest(lines) WITH ORDINALITY AS l (l, n), regexp_matches(l, '(?:Init|Sub)Plan (\w+)', 'g') WITH ORDINALITY AS m (m, k)
                    GROUP BY m[1] ORDER BY min(n * 100 + k));
    FOR i IN 1 .. cardinality(names) LOOP
        lines := ARRAY(SELECT regexp_replace(l, '(Init|Sub)Plan ' || names[i] || '\M', '\1Plan #' || i, 'g') FROM unnest(lines) l);
    END LOOP;
    RETURN QUERY SELECT replace(l, 'Plan #', 'Plan ') FROM unnest(lines) l;
END $$;
SELECT auth.jwt_session_init(:'alice');
-- Postgres itself prunes partitions before the statement runs.
SELECT plan('SELECT * FROM p WHERE owner = auth.user_id()', ', ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
-- Evaluated at most once, and only if needed.
SELECT plan('SELECT * FROM t WHERE tenant = auth.session() ->> ''tenant_id''', ', ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
SELECT plan('SELECT * FROM t WHERE n > 100 AND tenant = auth.session() ->> ''tenant_id''', ', ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
-- A parallel plan: the leader and each worker evaluate their own.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT plan('SELECT count(*) FROM t WHERE owner = auth.uid()');
-- An expression that may raise is evaluated at its first need there too, and not before the workers
-- start.
SELECT plan('SELECT count(*) FROM t WHERE CASE WHEN n > 100 THEN (SELECT (auth.session() ->> ''sub'')::int) = t.id ELSE n = 1 END');
SELECT count(*) FROM t WHERE CASE WHEN n > 100 THEN (SELECT (auth.session() ->> 'sub')::int) = t.id ELSE n = 1 END;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- One row gains nothing: left unchanged.
SELECT plan('SELECT auth.uid(), auth.email() IS NULL', ', VERBOSE');
SELECT plan('INSERT INTO t VALUES (-1, auth.uid(), auth.email(), 1) RETURNING auth.uid()', ', VERBOSE');
-- An index condition is evaluated once per scan anyway; in the inner side of a nested loop that is once for each outer row.
SET enable_seqscan = off;
RESET enable_indexscan;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT plan('SELECT * FROM t WHERE owner = auth.uid()');
SELECT plan('SELECT * FROM generate_series(1, 3) g JOIN t ON t.owner = auth.uid() AND t.n = g');
RESET enable_seqscan;
RESET enable_hashjoin;
RESET enable_mergejoin;
-- For a few rows an InitPlan gains nothing over mere calls either, but it does over an expression
-- that takes longer.
RESET cpu_tuple_cost;
SELECT plan('SELECT * FROM t WHERE id = 7 AND owner = auth.uid()');
SELECT plan('SELECT * FROM t WHERE id = 7 AND tenant = auth.session() ->> ''tenant_id''');
SET cpu_tuple_cost = 1;
-- In subplans too; the plans that they use come first.
SELECT plan('WITH m AS MATERIALIZED (SELECT * FROM t WHERE tenant = auth.session() ->> ''tenant_id'') SELECT * FROM m WHERE tenant = auth.email()');
SELECT plan('SELECT id, (SELECT max(v) FROM p_bob b WHERE b.id = t.id AND b.v = length(auth.email())) FROM t', ', ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF');

-- Policies as Drizzle and Neon write them, served by an index.
RESET cpu_tuple_cost;
RESET enable_bitmapscan;
RESET enable_indexscan;
CREATE TABLE notes (id int PRIMARY KEY, owner text, tenant_id text, u uuid);
INSERT INTO notes SELECT i, md5((i % 5000)::text), 't' || i % 1000, md5((i % 5000)::text)::uuid FROM generate_series(1, 20000) i;
CREATE INDEX ON notes (owner);
CREATE INDEX ON notes (tenant_id);
CREATE INDEX ON notes ((u::text));
CREATE INDEX ON notes (u);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
VACUUM ANALYZE notes;
CREATE FUNCTION plan_under(policy text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE POLICY tried ON notes USING (%s) WITH CHECK (%s)', policy, policy);
    RETURN QUERY SELECT plan('SELECT * FROM notes');
    DROP POLICY tried ON notes;
END $$;
SET enable_bitmapscan = off;
SELECT plan_under($$(select auth.user_id() = owner)$$);
SELECT plan_under($$(select auth.session() ->> 'tenant_id' = tenant_id)$$);
SELECT plan_under($$(select auth.user_id() = u::text)$$);
SELECT plan_under($$auth.uid() = u$$);
SELECT plan_under($$(select auth.uid()) = u$$);
-- An expression that may raise stays in its sub-select, unless the sub-select depends on no row.
SELECT plan_under($$(select (auth.session() ->> 'sub')::uuid = u)$$);
SELECT plan_under($$(select (auth.session() ->> 'sub')::uuid) = u$$);
RESET enable_bitmapscan;
ALTER TABLE notes DISABLE ROW LEVEL SECURITY;
-- A sub-select with more than an expression stays.
SELECT plan('SELECT * FROM notes WHERE (SELECT auth.user_id() = owner LIMIT 1)');
-- The planner knows the user of the statement, as it would know a constant.
UPDATE notes SET owner = auth.user_id() WHERE id % 2 = 0;
ANALYZE notes;
CREATE FUNCTION expected_rows(statement text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE found json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || statement INTO found;
    RETURN (found -> 0 -> 'Plan' ->> 'Plan Rows')::int;
END $$;
SELECT expected_rows('SELECT FROM notes WHERE owner = auth.user_id()') BETWEEN 9000 AND 11000 AS bare,
       expected_rows('SELECT FROM notes WHERE owner = (SELECT auth.user_id())') BETWEEN 9000 AND 11000 AS sub_select;
SELECT auth.jwt_session_init(:'bob');
SELECT expected_rows('SELECT FROM notes WHERE owner = auth.user_id()') < 20 AS bare,
       expected_rows('SELECT FROM notes WHERE owner = (SELECT auth.user_id())') < 20 AS sub_select;

-- Other functions of the extension are called as often as without it.
\c - postgres
CREATE SEQUENCE calls;
CREATE FUNCTION auth.volatile() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('calls') $$;
CREATE FUNCTION auth.two() RETURNS SETOF int LANGUAGE sql STABLE AS $$ VALUES (1), (2) $$;
ALTER EXTENSION pg_auth_jwt ADD FUNCTION auth.volatile();
ALTER EXTENSION pg_auth_jwt ADD FUNCTION auth.two();
SELECT auth.volatile(), n FROM generate_series(1, 3) n;
SELECT auth.two(), n FROM generate_series(1, 2) n;
