-- A schema "auth" existed before, and its functions trust a setting that everyone can set. It is
-- renamed to make room for the extension. Objects that call its functions still do, by oid: the
-- message says so, and the README's query lists them.
\set alice_id '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11'
DROP EXTENSION pg_auth_jwt;
CREATE SCHEMA auth;
GRANT USAGE ON SCHEMA auth TO PUBLIC;
CREATE TABLE auth.users AS SELECT :'alice_id'::uuid AS id;
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE 
    AS $$ SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
CREATE FUNCTION auth.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;

CREATE TABLE posts (user_id uuid DEFAULT auth.uid(), title text,
                    CONSTRAINT not_nobody CHECK (auth.jwt() ->> 'sub' IS DISTINCT FROM 'nobody'));
INSERT INTO posts VALUES (:'alice_id', 'of alice');
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE TRIGGER stamp BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION auth.stamp();
CREATE VIEW my_claims AS SELECT auth.jwt() AS claims;
CREATE FUNCTION at_creation() RETURNS uuid LANGUAGE sql STABLE BEGIN ATOMIC SELECT auth.uid(); END;
CREATE FUNCTION at_run_time() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT auth.uid()';
GRANT SELECT, INSERT ON posts TO authenticated;

-- The message, and the statement that it proposes.
\set SHOW_CONTEXT never
CREATE EXTENSION pg_auth_jwt;
ALTER SCHEMA auth RENAME TO old_auth;
CREATE EXTENSION pg_auth_jwt;

-- More is needed: a role that sets the setting can still be any user.
SET ROLE authenticated;
SET request.jwt.claims = '{"sub": "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"}';
SELECT title FROM posts;
SELECT auth.uid() IS NULL AS nobody, at_creation(), at_run_time();
RESET ROLE;

-- The README's query.
\set query `./doc_sql docs/troubleshooting.md renamed_schema`
:query

-- After a change of the listed objects, it lists nothing.
ALTER POLICY own ON posts USING (user_id = auth.uid()) WITH CHECK (user_id = (SELECT auth.uid()));
ALTER TABLE posts ALTER COLUMN user_id SET DEFAULT auth.uid(), DROP CONSTRAINT not_nobody;
DROP TRIGGER stamp ON posts;
CREATE OR REPLACE VIEW my_claims AS SELECT auth.jwt() AS claims;
CREATE OR REPLACE FUNCTION at_creation() RETURNS uuid LANGUAGE sql STABLE BEGIN ATOMIC SELECT auth.uid(); END;
:query
DROP FUNCTION old_auth.uid(), old_auth.jwt(), old_auth.stamp();
SELECT count(*) FROM old_auth.users;

-- Now the setting has no effect, and only a token has.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
SET ROLE authenticated;
SELECT title FROM posts;
SELECT auth.jwt_session_init(:'alice');
SELECT title FROM posts;
INSERT INTO posts (title) VALUES ('also of alice') RETURNING user_id;
