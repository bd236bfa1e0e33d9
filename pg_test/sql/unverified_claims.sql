-- pg_auth_jwt.unverified_claims: where there is no token, and a setting that another extension or
-- PostgREST would read the user from, a claim function raises an error. It never reads one of them.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
CREATE TABLE posts (owner text);
INSERT INTO posts SELECT 'somebody' FROM generate_series(1, 20000);
ANALYZE posts;
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON posts TO authenticated;
\c - authenticated
\i fixtures/jose.sql
\set claims '{"sub": "somebody", "role": "authenticated"}'

-- Ignored, which is the default: no user, and no row.
SELECT set_config('request.jwt.claims', :'claims', false) <> '' AS set;
SELECT auth.user_id() IS NULL AS nobody, (SELECT count(*) FROM posts) AS rows;
SHOW pg_auth_jwt.unverified_claims;

-- An error, for each of the names, in any case.
SET pg_auth_jwt.unverified_claims = error;
SELECT count(*) FROM posts;
SELECT set_config('request.jwt.claims', '', false);
SET "Request.JWT.claim.sub" = 'somebody';
SELECT auth.uid();
RESET "request.jwt.claim.sub";
SET pg_session_jwt.jwk = '{"kty": "OKP"}';
SELECT auth.session();
RESET pg_session_jwt.jwk;
SET pg_session_jwt.jwt = 'a.b.c';
SELECT auth.role();
\set VERBOSITY sqlstate
SELECT auth.jwt();
SELECT auth.user_id();
SELECT auth.email();
SELECT auth.organization();
SELECT auth.organization_id();
SELECT count(*) FROM posts;

-- Not where there is a token; a token that is not good raises what it did.
BEGIN;
SELECT auth.jwt_session_init(:'alice');
SELECT auth.user_id() IS NULL AS nobody, auth.organization() IS NULL AS has_none;
COMMIT;
SELECT auth.user_id();
BEGIN;
SET LOCAL pg_auth_jwt.token = :'expired';
SELECT auth.user_id();
ROLLBACK;

-- Not where none of them has a value, as after SET LOCAL, and not for other names.
RESET pg_session_jwt.jwt;
SELECT auth.user_id() IS NULL AS nobody;
BEGIN;
SET LOCAL request.jwt.claims = '{}';
SELECT auth.user_id();
ROLLBACK;
SELECT auth.user_id() IS NULL AS nobody;
SET request.headers = '{}';
SET request.jwt.claim.role = 'authenticated';
SELECT auth.user_id() IS NULL AS nobody;

-- The setting that says more, of the two.
\set VERBOSITY default
SET pg_auth_jwt.require_token = on;
SELECT auth.user_id();
SET request.jwt.claims = '{}';
SELECT auth.user_id();
RESET pg_auth_jwt.require_token;

-- Only a claim function that is evaluated raises, and so not the planner.
\set VERBOSITY sqlstate
EXPLAIN (COSTS OFF) SELECT * FROM posts WHERE owner = 'x';
SELECT CASE WHEN now() IS NULL THEN auth.user_id() ELSE 'not asked' END;

-- Parallel workers have the settings of their leader.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET pg_auth_jwt.evaluate_once = off;
SET parallel_leader_participation = off;
SELECT count(*) FROM posts WHERE owner <> 'y';
RESET pg_auth_jwt.unverified_claims;
SELECT count(*) FROM posts WHERE owner <> 'y';
RESET pg_auth_jwt.evaluate_once;

-- auth.explain_access asks with the caller's settings.
\c - owner_role
\pset format unaligned
SET request.jwt.claims = '{}';
SELECT applies, detail FROM auth.explain_access('posts', NULL) WHERE subject = 'token';
SET pg_auth_jwt.unverified_claims = 'error';
SELECT applies, detail FROM auth.explain_access('posts', NULL) WHERE subject = 'token';

-- A value that cannot be read.
\set VERBOSITY default
SET pg_auth_jwt.unverified_claims = 'warn';
