-- The main use: rows guarded by the user's own token.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
CREATE TABLE posts (
    id int GENERATED ALWAYS AS IDENTITY,
    user_id uuid DEFAULT auth.uid(),
    tenant_id text DEFAULT auth.session() ->> 'tenant_id',
    title text);
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (user_id = auth.uid());
CREATE POLICY tenant ON posts AS RESTRICTIVE TO authenticated
    USING (tenant_id = auth.session() ->> 'tenant_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON posts TO authenticated;
\c - authenticated
\i fixtures/jose.sql

BEGIN;
SELECT auth.jwt_session_init(:'alice', true);
INSERT INTO posts (title) VALUES ('alice 1'), ('alice 2') RETURNING *;
COMMIT;
BEGIN;
SELECT auth.jwt_session_init(:'bob', true);
INSERT INTO posts (title) VALUES ('bob 1') RETURNING *;
SELECT * FROM posts ORDER BY id;
UPDATE posts SET title = title || '!' RETURNING *;
UPDATE posts SET title = 'mine now' WHERE title LIKE 'alice%' RETURNING *;
DELETE FROM posts WHERE title LIKE 'alice%' RETURNING *;
SAVEPOINT a;
INSERT INTO posts (user_id, title) VALUES ('0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', 'as alice');
ROLLBACK TO a;
UPDATE posts SET user_id = '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11';
ROLLBACK TO a;
INSERT INTO posts (tenant_id, title) VALUES ('acme', 'in her tenant');
ROLLBACK TO a;
COMMIT;

-- Without a token: no rows are shown, and none can be written.
SELECT * FROM posts;
INSERT INTO posts (title) VALUES ('nobody');
UPDATE posts SET title = '' RETURNING *;
DELETE FROM posts RETURNING *;

-- A token that is not good is an error, never an anonymous user.
SET pg_auth_jwt.token = :'expired';
SELECT * FROM posts;
SET pg_auth_jwt.token = :'forged';
SELECT * FROM posts;
RESET pg_auth_jwt.token;

-- A view that checks as its caller, a function, a CTE, a join, a prepared statement.
SELECT auth.jwt_session_init(:'alice');
WITH w AS (SELECT * FROM posts) SELECT title FROM w ORDER BY 1;
SELECT count(*) FROM posts a JOIN posts b ON a.user_id = b.user_id;
PREPARE titles AS SELECT title FROM posts ORDER BY id;
EXECUTE titles;
SELECT auth.jwt_session_init(:'bob');
EXECUTE titles;
SELECT auth.jwt_session_init(NULL);
EXECUTE titles;

-- Parallel workers verify the token themselves, and agree with their leader; here with a call for
-- each row.
\c - owner_role
INSERT INTO posts (user_id, tenant_id, title)
    SELECT '7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22', 'globex', 'bob ' || i FROM generate_series(2, 20000) i;
ANALYZE posts;
\c - authenticated
\i fixtures/jose.sql
SET pg_auth_jwt.evaluate_once = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT auth.jwt_session_init(:'bob');
EXPLAIN (COSTS OFF) SELECT count(*) FROM posts;
SELECT count(*) FROM posts;
SELECT auth.jwt_session_init(:'alice');
SELECT count(*) FROM posts;
-- The leader or a worker raises, whichever is first.
\set SHOW_CONTEXT never
SET pg_auth_jwt.token = :'expired';
SELECT count(*) FROM posts;
