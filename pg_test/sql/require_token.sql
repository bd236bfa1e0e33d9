-- pg_auth_jwt.require_token: without a session token a claim function raises an error.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
CREATE TABLE posts (id int PRIMARY KEY, owner text DEFAULT auth.user_id(), title text);
INSERT INTO posts SELECT n, 'somebody', 'x' FROM generate_series(1, 20000) n;
CREATE TABLE drafts (owner text);
CREATE INDEX ON posts (owner);
ANALYZE posts;
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
ALTER TABLE drafts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
CREATE POLICY own ON drafts TO authenticated USING (owner = auth.user_id());
GRANT SELECT, INSERT ON posts, drafts TO authenticated;
CREATE FUNCTION in_between() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('pg_auth_jwt.require_token', 'on', true);
    RETURN auth.user_id();
END $$;
CREATE FUNCTION by_function() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN auth.user_id(); END $$;
CREATE FUNCTION by_query() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT auth.user_id() $$;
\c - authenticated
\i fixtures/jose.sql

-- Off, which is the default.
SELECT count(*) FROM posts;
SHOW pg_auth_jwt.require_token;

-- On.
SET pg_auth_jwt.require_token = on;
SELECT count(*) FROM posts;
\set VERBOSITY sqlstate
SELECT auth.session();
SELECT auth.jwt();
SELECT auth.user_id();
SELECT auth.uid();
SELECT auth.role();
SELECT auth.email();
SELECT auth.organization();
SELECT auth.organization_id();
INSERT INTO posts (id) VALUES (0);
-- A claim that the token lacks is still NULL, and a bad token raises the same error as before.
BEGIN;
SELECT auth.jwt_session_init(:'alice');
SELECT auth.user_id(), auth.organization() IS NULL AS has_none;
SELECT count(*) FROM posts;
COMMIT;
SELECT count(*) FROM posts;
BEGIN;
SET LOCAL pg_auth_jwt.token = :'expired';
SELECT count(*) FROM posts;
ROLLBACK;
-- Signing out is no error; what is read then is.
SELECT auth.jwt_session_init(NULL);
SELECT auth.jwt_session_init('');
SELECT count(*) FROM posts;
-- A statement without claims needs no token.
SELECT 1;
RESET pg_auth_jwt.require_token;
SELECT count(*) FROM posts;

-- Only a claim function that is evaluated raises, and so not the planner, whatever it estimates by.
SET pg_auth_jwt.require_token = on;
EXPLAIN (COSTS OFF) SELECT * FROM posts WHERE id = 0;
SELECT count(*) FROM drafts;
SELECT count(*) FROM posts WHERE id = 0;
SELECT CASE WHEN now() IS NULL THEN auth.user_id() ELSE 'not asked' END;
SET pg_auth_jwt.evaluate_once = off;
EXPLAIN (COSTS OFF) SELECT * FROM posts WHERE id = 0;
SELECT count(*) FROM drafts;
SELECT count(*) FROM posts WHERE id = 0;
SELECT count(*) FROM posts;
RESET pg_auth_jwt.evaluate_once;

-- A function that calls a claim function raises for the planner, too: declared IMMUTABLE, its result
-- would become part of the plan.
SELECT by_function();
SELECT count(*) FROM posts WHERE title IS DISTINCT FROM by_function();
PREPARE kept AS SELECT count(*) FROM posts WHERE title IS DISTINCT FROM by_function();
EXECUTE kept;
SELECT by_query();

-- The setting counts at the time of the call: in a plan that is kept, and in the middle of a
-- statement.
SET plan_cache_mode = force_generic_plan;
RESET pg_auth_jwt.require_token;
PREPARE counted AS SELECT count(*) FROM posts;
EXECUTE counted;
SET pg_auth_jwt.require_token = on;
EXECUTE counted;
RESET pg_auth_jwt.require_token;
EXECUTE counted;
SELECT auth.user_id() IS NULL AS off, in_between() IS NULL AS on;
BEGIN;
SET LOCAL pg_auth_jwt.require_token = on;
SAVEPOINT a;
SELECT auth.user_id();
ROLLBACK TO a;
ROLLBACK;
SELECT auth.user_id();

-- Parallel workers have the setting of their leader.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_indexonlyscan = off;
SET pg_auth_jwt.evaluate_once = off;
SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM posts WHERE title <> 'y';
SELECT count(*) FROM posts WHERE title <> 'y';
SET pg_auth_jwt.require_token = on;
SELECT count(*) FROM posts WHERE title <> 'y';
SELECT auth.jwt_session_init(:'alice', false);
SELECT count(*) FROM posts WHERE title <> 'y';
