-- Bob tries to remove the protection.
\i fixtures/hostile.sql

-- 1. the table's
ALTER TABLE posts DISABLE ROW LEVEL SECURITY;
ALTER TABLE posts OWNER TO authenticated;
CREATE POLICY mine ON posts USING (true);
ALTER POLICY own ON posts USING (true);
DROP POLICY own ON posts;
CREATE RULE r AS ON SELECT TO posts DO INSTEAD SELECT 1;
CREATE TRIGGER t BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE INDEX ON posts (title);
TRUNCATE posts;
-- 2. the session's
SET row_security = off;
:mine
RESET row_security;
SET session_replication_role = replica;
-- 3. the extension's
CREATE FUNCTION public.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
ALTER EXTENSION pg_auth_jwt ADD FUNCTION public.uid();
ALTER EXTENSION pg_auth_jwt DROP FUNCTION auth.uid();
ALTER EXTENSION pg_auth_jwt UPDATE;
DROP EXTENSION pg_auth_jwt CASCADE;
ALTER FUNCTION auth.uid() SECURITY DEFINER;
ALTER FUNCTION auth.uid() SET search_path = public;
ALTER SCHEMA auth RENAME TO other;
DROP OWNED BY owner_role;
REASSIGN OWNED BY owner_role TO authenticated;
-- 4. the privileges
GRANT ALL ON ALL TABLES IN SCHEMA auth TO authenticated;
GRANT EXECUTE ON FUNCTION auth.init(jsonb, text, text[]) TO authenticated;
\set VERBOSITY sqlstate
GRANT owner_role TO authenticated;
ALTER ROLE authenticated SUPERUSER;
ALTER ROLE authenticated BYPASSRLS;
\set VERBOSITY terse
-- All that this role may do with objects of ours:
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'auth'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'v', 'S')
   AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
UNION ALL
SELECT nspname FROM pg_namespace WHERE nspname = 'auth' AND has_schema_privilege(oid, 'CREATE')
ORDER BY 1;

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
