-- Shown by `make demo`: an issuer's key set and its users' tokens in use. See run. The tokens are
-- in psql variables here; an application binds them as parameters.
\ir ../../pg_test/fixtures/jose.sql
\set ECHO all
-- 1. The database's owner, who is no superuser, installs the extension and tells it whom to trust.
CREATE EXTENSION pg_auth_jwt;
SELECT auth.init(:'jwks', issuer => 'https://auth.example.com', audience => '{my-app}');
SELECT issuer, kid, alg FROM auth.jwks ORDER BY kid;

-- 2. A table whose rows have an owner and a tenant, and policies that go by the token.
CREATE TABLE posts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL DEFAULT auth.uid(),
    tenant_id text NOT NULL DEFAULT (auth.session() ->> 'tenant_id'),
    title text NOT NULL
);
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON posts TO authenticated USING (user_id = auth.uid());
CREATE POLICY own_tenant ON posts AS RESTRICTIVE TO authenticated
    USING (tenant_id = auth.session() ->> 'tenant_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON posts TO authenticated;

-- 3. The application connects as a role that may do nothing else. Without a token it sees nothing.
\connect - authenticated
SELECT * FROM posts;

-- 4. Alice's request. Her token counts until the transaction ends.
BEGIN;
SELECT auth.jwt_session_init(:'alice');
INSERT INTO posts (title) VALUES ('Hello from Alice'), ('Another one');
SELECT * FROM posts;
COMMIT;
SELECT auth.uid() IS NULL AS signed_out, count(*) FROM posts;

-- 5. Bob's request. He sees his rows, changes none of Alice's, and cannot write in her name.
BEGIN;
SELECT auth.jwt_session_init(:'bob');
INSERT INTO posts (title) VALUES ('Hello from Bob');
SELECT * FROM posts;
UPDATE posts SET title = 'Bob was here' WHERE id = 1;
INSERT INTO posts (user_id, title) VALUES ('0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', 'As Alice');
\echo SQLSTATE :LAST_ERROR_SQLSTATE
ROLLBACK;

-- 6. Alice's token with Bob's id written into it.
SELECT auth.jwt_session_init(:'forged');
\echo SQLSTATE :LAST_ERROR_SQLSTATE

-- 7. A token that has run out.
SELECT auth.jwt_session_init(:'expired');
\echo SQLSTATE :LAST_ERROR_SQLSTATE

-- 8. While Bob is signed in, here for the session, the owner withdraws the key that signed his token.
SELECT auth.jwt_session_init(:'bob', is_local => false);
SELECT auth.email();
\! psql -X -U app_owner -c "DELETE FROM auth.jwks WHERE kid = 'ed-1'" demo
SELECT auth.email();
\echo SQLSTATE :LAST_ERROR_SQLSTATE

-- 9. An issuer that keeps its keys in this database, as Better Auth does: its table is followed.
\connect - app_owner
CREATE TABLE issuer_keys (id text PRIMARY KEY, public_key jsonb NOT NULL, expires_at timestamptz);
SELECT auth.follow('issuer_keys', issuer => 'https://auth.example.com', audience => '{my-app}');
CREATE TABLE next_keys AS SELECT key ->> 'kid' AS id, key AS public_key
  FROM jsonb_array_elements(:'jwks'::jsonb -> 'keys') AS key;

-- 10. A rotation: the issuer's new key counts as soon as its row is there, and no longer.
\connect - authenticated
SELECT auth.jwt_session_init(:'alice', is_local => false);
\echo SQLSTATE :LAST_ERROR_SQLSTATE
\! psql -X -U app_owner -c "INSERT INTO issuer_keys SELECT * FROM next_keys" demo
SELECT auth.jwt_session_init(:'alice', is_local => false);
SELECT auth.email();
\! psql -X -U app_owner -c "DELETE FROM issuer_keys WHERE id = 'es-1'" demo
SELECT auth.email();
\echo SQLSTATE :LAST_ERROR_SQLSTATE

-- 11. An issuer that publishes its keys at a URL, whose host the server's configuration lists.
\connect - app_owner
SELECT auth.follow_url('https://auth.example.com', :'jwks_url', '{my-app}');
SELECT outcome FROM auth.refresh();
SELECT kid, alg, state FROM auth.key_status;

-- 12. A rotation there: the first token of the new key has it fetched.
\connect - authenticated
\! mv "$ENDPOINT/next.json" "$ENDPOINT/jwks.json"
SELECT auth.jwt_session_init(:'alice', is_local => false);
SELECT auth.email();
