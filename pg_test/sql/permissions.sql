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
SELECT count(*) > 0 AS may_look FROM auth.key_status;
SELECT count(*) > 0 AS may_lint FROM auth.lint();
-- It manages keys, and lets nobody else do so.
GRANT SELECT ON auth.jwks TO authenticated;
SELECT auth.grant_to('authenticated');
\c - owner_role
DELETE FROM auth.issuers WHERE issuer = 'https://second.example.com';
\set revokes `./doc_sql docs/security.md no_key_manager`
:revokes
\c - key_manager
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => 'https://second.example.com', audience => '{my-app}');
SELECT count(*) FROM auth.key_status;
\c - owner_role
-- One list has the rights of the owner and those that auth.grant_to() gives: all functions that are not for everyone.
\c - postgres
\set SHOW_CONTEXT never
BEGIN;
CREATE ROLE "Key ""Manager"", it's";
SET ROLE owner_role;
SELECT auth.grant_to('"Key ""Manager"", it''s"', with_grant_option => true);
CREATE TEMPORARY VIEW granted AS
SELECT g.grantee, g.object, g.privilege_type, g.is_grantable
  FROM (SELECT n.oid::regnamespace::text, n.nspacl FROM pg_namespace AS n WHERE n.nspname = 'auth'
        UNION ALL SELECT c.oid::regclass::text, c.relacl FROM pg_class AS c WHERE c.relnamespace = 'auth'::regnamespace
        UNION ALL SELECT p.oid::regprocedure::text, p.proacl FROM pg_proc AS p WHERE p.pronamespace = 'auth'::regnamespace) AS o (object, acl),
       aclexplode(o.acl) AS a (grantor, grantee, privilege_type, is_grantable), LATERAL (SELECT a.grantee::regrole::text, o.object, a.privilege_type, a.is_grantable) AS g;
(SELECT object, privilege_type, is_grantable FROM granted WHERE grantee = 'owner_role'
 EXCEPT SELECT object, privilege_type, is_grantable FROM granted WHERE grantee ~ 'Key')
UNION ALL
(SELECT object, privilege_type, is_grantable FROM granted WHERE grantee ~ 'Key'
 EXCEPT SELECT object, privilege_type, is_grantable FROM granted WHERE grantee = 'owner_role');
SELECT p.oid::regprocedure AS for_nobody FROM pg_proc AS p
 WHERE p.pronamespace = 'auth'::regnamespace AND p.prorettype <> 'trigger'::regtype
   AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
   AND p.oid::regprocedure::text NOT IN (SELECT object FROM granted WHERE grantee ~ 'Key');
-- With a grant option it can let others.
RESET ROLE;
SET ROLE "Key ""Manager"", it's";
SELECT auth.grant_to('key_manager');
RESET ROLE;
SELECT has_table_privilege('key_manager', 'auth.jwks', 'INSERT') AS granted;
-- auth.revoke_from() undoes that, as the role that granted it: nothing is left of it, and of nobody else's taken.
SET ROLE owner_role;
CREATE TEMPORARY TABLE before AS TABLE granted;
GRANT SELECT ON granted TO PUBLIC;
SAVEPOINT before;
SELECT auth.revoke_from('"Key ""Manager"", it''s"');
ROLLBACK TO before;
SELECT auth.revoke_from('key_manager');
ROLLBACK TO before;
RESET ROLE;
SELECT auth.revoke_from('key_manager');
ROLLBACK TO before;
SET ROLE "Key ""Manager"", it's";
SELECT auth.revoke_from('owner_role');
ROLLBACK TO before;
SET ROLE "Key ""Manager"", it's";
SELECT auth.revoke_from('key_manager');
SELECT count(*) FROM granted WHERE grantee = 'key_manager';
-- Once more does no harm.
SELECT auth.revoke_from('key_manager');
RESET ROLE;
SET ROLE owner_role;
SELECT auth.revoke_from('"Key ""Manager"", it''s"');
RESET ROLE;
SELECT DISTINCT b.grantee AS of_whom FROM before AS b LEFT JOIN granted AS g USING (grantee, object, privilege_type, is_grantable) WHERE g.object IS NULL;
-- Two roles have given it: each takes its own part, and is told of the other's. A superuser takes what the script gave.
SET ROLE owner_role;
SELECT auth.grant_to('"Key ""Manager"", it''s"', with_grant_option => true);
SELECT auth.grant_to('key_manager');
SET ROLE "Key ""Manager"", it's";
SELECT auth.grant_to('key_manager');
SET ROLE owner_role;
SELECT auth.revoke_from('key_manager');
SELECT count(*) > 0 AS from_the_other FROM granted WHERE grantee = 'key_manager';
SET ROLE "Key ""Manager"", it's";
SELECT auth.revoke_from('key_manager');
SELECT count(*) FROM granted WHERE grantee = 'key_manager';
SET ROLE owner_role;
SELECT auth.revoke_from('"Key ""Manager"", it''s"');
RESET ROLE;
SELECT auth.revoke_from('owner_role');
SELECT count(*) FROM granted WHERE grantee = 'owner_role';
ROLLBACK;
-- Not to PUBLIC, to no role, or to one that is not there.
SELECT auth.grant_to('public');
SELECT auth.grant_to('-');
SELECT auth.grant_to(123456::regrole);
SELECT auth.grant_to(NULL);
SELECT auth.revoke_from('public');
SELECT auth.revoke_from('-');
SELECT auth.revoke_from(123456::regrole);
SELECT auth.revoke_from(NULL);
-- A role that may call it and has no grant options grants nothing, not even a part.
BEGIN;
GRANT EXECUTE ON FUNCTION auth.grant_to TO key_manager;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA auth TO key_manager WITH GRANT OPTION;
SET ROLE key_manager;
SAVEPOINT before;
SELECT auth.grant_to('authenticated');
ROLLBACK TO before;
RESET ROLE;
SELECT has_table_privilege('authenticated', 'auth.jwks', 'INSERT') AS granted;
ROLLBACK;
\c - authenticated
SELECT auth.grant_to('authenticated');
SELECT auth.revoke_from('owner_role');
\c - owner_role
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
-- It has no privilege left, which DROP ROLE would refuse.
\c - postgres
DROP ROLE key_manager;

-- The owner may drop the extension.
\c - owner_role
BEGIN;
DROP EXTENSION pg_auth_jwt;
ROLLBACK;
