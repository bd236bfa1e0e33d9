-- The privileges of a role that reads through policies: claim functions and jwt_session_init only.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
GRANT CREATE ON SCHEMA public TO authenticated;
\c - authenticated
\i fixtures/jose.sql

-- Allowed.
SELECT auth.jwt_session_init(:'alice');
SELECT auth.user_id(), auth.uid(), auth.role(), auth.email(), auth.session() = auth.jwt() AS same,
       auth.organization(), auth.organization_id();

-- Refused: the tables.
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
-- The functions that manage keys.
SELECT auth.init(:'jwks');
SELECT auth.verify(:'alice');
SELECT * FROM auth.inspect(:'alice');
-- The trigger functions, called directly or on another table.
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
-- The settings. (The wording of the refusal depends on Postgres's version.)
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

-- The owner of the extension owns none of its objects, but may do everything that manages keys:
\c - owner_role
\i fixtures/jose.sql
BEGIN;
LOCK TABLE auth.issuers, auth.jwks;
UPDATE auth.issuers SET issuer = 'https://renamed.example.com';
SELECT DISTINCT issuer FROM auth.jwks;
DELETE FROM auth.jwks WHERE kid = 'es-1';
DELETE FROM auth.issuers;
SELECT count(*) FROM auth.jwks;
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
TRUNCATE auth.issuers CASCADE;
INSERT INTO auth.issuers (issuer) VALUES ('*');
INSERT INTO auth.jwks (issuer, jwk) SELECT '*', jwk FROM jsonb_array_elements(:'jwks'::jsonb -> 'keys') AS jwk;
SELECT auth.verify(:'alice') ->> 'email', bool_and(ok) FROM auth.inspect(:'alice');
ROLLBACK;
VACUUM (ANALYZE) auth.issuers, auth.jwks;
-- Refused to the owner: changes of the tables, their triggers or the schema, as a migration tool
-- would make that takes them for its own.
ALTER TABLE auth.jwks ADD COLUMN "publicKey" text;
ALTER TABLE auth.jwks ALTER COLUMN thumbprint DROP NOT NULL;
ALTER TABLE auth.jwks DISABLE TRIGGER admit_key;
ALTER TABLE auth.jwks DISABLE TRIGGER ALL;
ALTER TABLE auth.jwks ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.jwks OWNER TO owner_role;
DROP TRIGGER keys_changed ON auth.jwks;
DROP TABLE auth.jwks;
CREATE TRIGGER t BEFORE INSERT ON auth.jwks FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE RULE r AS ON INSERT TO auth.jwks DO INSTEAD NOTHING;
CREATE POLICY p ON auth.jwks USING (true);
CREATE INDEX ON auth.jwks (created_at);
CREATE TABLE pointer (issuer text REFERENCES auth.issuers);
CREATE TABLE child () INHERITS (auth.jwks);
CREATE TABLE IF NOT EXISTS auth."user" (id text PRIMARY KEY);
CREATE FUNCTION auth.uid(int) RETURNS uuid LANGUAGE sql RETURN NULL;
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql RETURN NULL;
ALTER FUNCTION auth.uid() OWNER TO owner_role;
ALTER FUNCTION auth.init(jsonb, text, text[]) SECURITY DEFINER;
ALTER SCHEMA auth RENAME TO other;
DROP SCHEMA auth CASCADE;
ALTER EXTENSION pg_auth_jwt DROP TABLE auth.jwks;
CREATE PUBLICATION keys FOR TABLE auth.jwks;
-- The owner cannot use the trigger functions either, except as triggers.
SELECT auth.keys_changed();

-- The owner can grant their privileges and revoke them. EXECUTE on auth.init is not enough by
-- itself.
GRANT USAGE ON SCHEMA auth TO authenticated;
GRANT EXECUTE ON FUNCTION auth.verify(text), auth.inspect(text), auth.init(jsonb, text, text[]) TO authenticated;
SET ROLE authenticated;
SELECT auth.verify(:'alice') ->> 'email';
SELECT bool_and(ok) FROM auth.inspect(:'alice');
SELECT auth.init(:'jwks');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION auth.verify(text), auth.inspect(text), auth.init(jsonb, text, text[]) FROM authenticated;
REVOKE USAGE ON SCHEMA auth FROM authenticated;
-- "ALL" means the owner's privileges.
GRANT ALL ON ALL TABLES IN SCHEMA auth TO authenticated;
SELECT table_name, string_agg(privilege_type, ', ' ORDER BY privilege_type) FROM information_schema.table_privileges
 WHERE table_schema = 'auth' AND grantee = 'authenticated' GROUP BY 1 ORDER BY 1;
REVOKE ALL ON ALL TABLES IN SCHEMA auth FROM authenticated;

-- A key manager: the grants are those of docs/security.md.
\c - postgres
CREATE ROLE key_manager LOGIN;
\c - owner_role
\i fixtures/jose.sql
\set grants `./doc_sql docs/security.md key_manager`
:grants
\c - key_manager
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => 'https://second.example.com', audience => '{my-app}');
SELECT auth.init(:'jwks', issuer => 'https://second.example.com', audience => '{other}');
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'jwks'::jsonb -> 'keys' -> 0)), issuer => 'https://second.example.com');
DELETE FROM auth.issuers;
TRUNCATE auth.jwks;
GRANT SELECT ON auth.jwks TO authenticated;
\c - owner_role
DELETE FROM auth.issuers WHERE issuer = 'https://second.example.com';
REVOKE ALL ON auth.issuers, auth.jwks FROM key_manager;
REVOKE ALL ON FUNCTION auth.init(jsonb, text, text[]) FROM key_manager;
-- A key manager for a single issuer, by a function of the owner.
\set definer `./doc_sql docs/security.md rotate_keys`
:definer
\c - key_manager
\i fixtures/jose.sql
SELECT rotate_keys(:'jwks');
SELECT auth.init(:'jwks');
SELECT * FROM auth.jwks;
\c - authenticated
SELECT rotate_keys('{}');
\c - owner_role
DROP FUNCTION rotate_keys(jsonb);
\c - postgres
DROP ROLE key_manager;

-- The owner may drop the extension.
\c - owner_role
BEGIN;
DROP EXTENSION pg_auth_jwt;
ROLLBACK;
