-- What a role that only reads through policies may do: the readers and jwt_session_init, nothing else.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
GRANT CREATE ON SCHEMA public TO authenticated;
\c - authenticated
\i fixtures/jose.sql

-- May.
SELECT auth.jwt_session_init(:'alice');
SELECT auth.user_id(), auth.uid(), auth.role(), auth.email(), auth.session() = auth.jwt() AS same,
       auth.organization(), auth.organization_id();

-- May not: the tables.
SELECT * FROM auth.issuers;
SELECT * FROM auth.jwks;
INSERT INTO auth.jwks (issuer, jwk) VALUES ('*', '{}');
UPDATE auth.jwks SET expires_at = NULL;
DELETE FROM auth.jwks;
TRUNCATE auth.jwks;
INSERT INTO auth.issuers (issuer) VALUES ('*');
UPDATE auth.issuers SET enabled = true;
DELETE FROM auth.issuers;
TRUNCATE auth.issuers CASCADE;
BEGIN;
LOCK TABLE auth.jwks IN ACCESS SHARE MODE;
ROLLBACK;
ALTER TABLE auth.jwks DISABLE TRIGGER ALL;
CREATE TRIGGER t BEFORE INSERT ON auth.jwks EXECUTE FUNCTION auth.admit_key();
COPY auth.jwks TO stdout;
-- The functions of the owner.
SELECT auth.init(:'jwks');
SELECT auth.verify(:'alice');
SELECT * FROM auth.inspect(:'alice');
-- The trigger functions, by hand or on a table of one's own.
SELECT auth.admit_key();
SELECT auth.keys_changed();
CREATE TABLE mine (issuer text, kid text, jwk jsonb, alg text, thumbprint text);
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION auth.admit_key();
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION auth.keys_changed();
-- The schema.
CREATE TABLE auth.t ();
CREATE FUNCTION auth.user_id(int) RETURNS text LANGUAGE sql RETURN 'x';
CREATE OR REPLACE FUNCTION auth.user_id() RETURNS text LANGUAGE sql RETURN 'x';
ALTER FUNCTION auth.user_id() RENAME TO no;
DROP FUNCTION auth.user_id();
DROP EXTENSION pg_auth_jwt;
-- The settings. (Postgres words the refusal by its version.)
\set VERBOSITY sqlstate
SHOW pg_auth_jwt.token;
SELECT current_setting('pg_auth_jwt.token');
\set VERBOSITY default
SELECT name FROM pg_settings WHERE name = 'pg_auth_jwt.token';
SET pg_auth_jwt.scope = 'session';
SET pg_auth_jwt.cache_size = 0;
SET pg_auth_jwt.audit_log = 'off';
SET pg_auth_jwt.anything = 'x';
-- Other names of a token change nothing.
SET request.jwt.claims = '{"sub":"7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22"}';
SELECT auth.email();

-- The owner can grant the two that are grantable, and only those are enough by themselves.
\c - owner_role
\i fixtures/jose.sql
GRANT EXECUTE ON FUNCTION auth.verify(text), auth.inspect(text), auth.init(jsonb, text, text[]) TO authenticated;
SET ROLE authenticated;
SELECT auth.verify(:'alice') ->> 'email';
SELECT bool_and(ok) FROM auth.inspect(:'alice');
SELECT auth.init(:'jwks');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION auth.verify(text), auth.inspect(text), auth.init(jsonb, text, text[]) FROM authenticated;

-- The trigger functions are of no use to the owner either, but as triggers.
SELECT auth.keys_changed();
