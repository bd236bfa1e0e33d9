-- auth.lint on tables and policies: expressions that are missing or true, commands and roles without a policy,
-- restrictive policies, partitions, indexes; that one row says what is wrong with many tables; and names that
-- are SQL.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
\pset format unaligned
\pset tuples_only
\pset fieldsep ' | '
\set lint 'SELECT level, code, object, detail, fix FROM auth.lint() WHERE code NOT IN (''scope_not_stored'', ''server_outdated'');'
CREATE TABLE posts (id int, owner text, tenant text);
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON posts TO authenticated;

-- policy_without_expression, and no_policy for what has none.
CREATE POLICY a ON posts TO authenticated;
CREATE POLICY b ON posts FOR INSERT TO authenticated;
:lint
CREATE POLICY c ON posts TO authenticated WITH CHECK (owner = auth.user_id());
CREATE POLICY d ON posts AS RESTRICTIVE;
CREATE POLICY e ON posts AS RESTRICTIVE WITH CHECK (tenant <> '');
:lint
DROP POLICY a ON posts; DROP POLICY b ON posts; DROP POLICY c ON posts; DROP POLICY d ON posts; DROP POLICY e ON posts;

-- no_policy_for_command: of a role that other policies are for, and of one that none is for.
CREATE POLICY a ON posts FOR INSERT TO authenticated WITH CHECK (owner = auth.user_id());
:lint
CREATE POLICY b ON posts FOR SELECT USING (owner = auth.user_id());
:lint
CREATE POLICY c ON posts FOR UPDATE TO owner_role USING (owner = auth.user_id());
CREATE POLICY d ON posts FOR DELETE TO authenticated;
SELECT level, code, object, detail FROM auth.lint() WHERE code ~ 'no_policy';
DROP POLICY c ON posts; DROP POLICY d ON posts;
REVOKE UPDATE, DELETE ON posts FROM authenticated;
:lint
DROP POLICY a ON posts; DROP POLICY b ON posts;
GRANT UPDATE, DELETE ON posts TO authenticated;
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
\c - postgres
CREATE ROLE anon;
CREATE ROLE "no ""one""";
\c - owner_role
CREATE TABLE "other "" posts" (owner text);
ALTER TABLE "other "" posts" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON "other "" posts" TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON posts, "other "" posts" TO anon;
:lint
SELECT fix FROM auth.lint() WHERE code = 'no_policy_for_command' \gexec
:lint

-- policy_always_true: WITH CHECK (true) beside a USING; restrictive policies, for their commands, roles and
-- expressions.
CREATE POLICY a ON posts FOR UPDATE TO authenticated USING (owner = auth.user_id()) WITH CHECK (true);
:lint
CREATE POLICY r ON posts AS RESTRICTIVE FOR DELETE USING (tenant = auth.session() ->> 'tenant_id');
:lint
ALTER POLICY a ON posts USING (true);
CREATE POLICY s ON posts AS RESTRICTIVE FOR UPDATE TO anon USING (false);
CREATE POLICY t ON posts AS RESTRICTIVE FOR UPDATE USING (true);
CREATE POLICY u ON posts AS RESTRICTIVE WITH CHECK (tenant = auth.session() ->> 'tenant_id');
:lint
CREATE POLICY v ON posts AS RESTRICTIVE FOR UPDATE USING (tenant = auth.session() ->> 'tenant_id');
:lint
DROP POLICY a ON posts; DROP POLICY r ON posts; DROP POLICY s ON posts; DROP POLICY t ON posts; DROP POLICY u ON posts; DROP POLICY v ON posts;

-- table_without_rls: each role with its privileges.
CREATE TABLE handles (name text);
GRANT SELECT ON handles TO anon;
GRANT SELECT, INSERT ON handles TO authenticated;
:lint
DROP TABLE handles;

-- privilege_beyond_rls: a row per role and privilege, and a statement that takes it, whoever it was granted to.
GRANT TRUNCATE, TRIGGER ON posts, "other "" posts" TO anon, authenticated;
GRANT TRUNCATE ON posts TO PUBLIC;
:lint
SELECT fix FROM auth.lint() WHERE code = 'privilege_beyond_rls' \gexec
:lint
GRANT TRIGGER ON posts, "other "" posts" TO anon;
COMMENT ON TABLE posts IS 'pg_auth_jwt: ignore privilege_beyond_rls';
:lint
REVOKE TRIGGER ON posts, "other "" posts" FROM anon;

-- partition_without_rls: all partitions of a table in one row, of any depth; today's by REVOKE, tomorrow's by the default
-- privileges.
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO authenticated;
CREATE TABLE events (owner text, at date) PARTITION BY RANGE (at);
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON events TO authenticated USING (owner = auth.user_id());
CREATE TABLE "events 2026" PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY RANGE (at);
CREATE TABLE "events "" 2026 1" PARTITION OF "events 2026" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE child () INHERITS (posts);
:lint
SELECT fix FROM auth.lint() WHERE code = 'partition_without_rls' \gexec
:lint
CREATE TABLE tomorrow PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
:lint
-- One that has row-level security of its own, and one that is meant so.
GRANT SELECT ON tomorrow, child TO authenticated;
ALTER TABLE tomorrow ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE child IS 'pg_auth_jwt: ignore partition_without_rls';
SELECT level, code, object FROM auth.lint() WHERE code <> 'server_outdated';
DROP TABLE events, child;

-- policy_for_no_login: a role whose views are queried, or whose functions are called, is used without a login.
\c - postgres
CREATE ROLE api;
GRANT CREATE ON SCHEMA public TO api;
GRANT SELECT ON posts TO api;
CREATE POLICY api ON posts FOR SELECT TO api USING (owner = auth.user_id());
SELECT level, code, object FROM auth.lint() WHERE code = 'policy_for_no_login';
CREATE VIEW of_a_superuser AS SELECT * FROM posts;
SELECT level, code, object FROM auth.lint() WHERE code = 'policy_for_no_login';
DROP VIEW of_a_superuser;
SET ROLE api;
CREATE VIEW api_posts WITH (security_invoker) AS SELECT * FROM posts;
RESET ROLE;
SELECT level, code, object FROM auth.lint() WHERE code = 'policy_for_no_login';
ALTER VIEW api_posts RESET (security_invoker);
SELECT level, code, object FROM auth.lint() WHERE code = 'policy_for_no_login';
DROP POLICY api ON posts;
DROP OWNED BY api;
DROP ROLE api;
\c - owner_role

-- index_not_leakproof: expressions and operators, not those of the policies.
ALTER TABLE posts ADD details jsonb, ADD price numeric, ADD at timestamptz, ADD tags tsvector;
CREATE INDEX by_device ON posts (tenant, (details ->> 'deviceId'));
CREATE INDEX by_details ON posts USING gin (details jsonb_path_ops);
CREATE INDEX by_price ON posts (price);
CREATE INDEX by_time ON posts (at DESC, tenant text_pattern_ops, id);
CREATE INDEX by_lower_owner ON posts (lower(owner));
CREATE POLICY address ON posts TO authenticated USING (lower(owner) = auth.email() AND price > 0);
SELECT level, object, detail, fix FROM auth.lint() WHERE code = 'index_not_leakproof';
DROP POLICY address ON posts;
SELECT object FROM auth.lint() WHERE code = 'index_not_leakproof';
SELECT fix FROM auth.lint() WHERE code = 'index_not_leakproof' AND fix !~ '[.][.][.]' \gexec
DROP INDEX by_device, by_details, by_price, by_lower_owner;
:lint

-- scope_not_stored, until it is, for the database or the role.
SELECT level, object, detail, replace(fix, current_database(), 'app') FROM auth.lint() WHERE code = 'scope_not_stored';
BEGIN;
SELECT fix FROM auth.lint() WHERE code = 'scope_not_stored' \gexec
SELECT count(*) FROM auth.lint() WHERE code = 'scope_not_stored';
ROLLBACK;
\c - postgres
LOAD 'pg_auth_jwt';
BEGIN;
ALTER ROLE authenticated SET pg_auth_jwt.require_token = on;
SELECT count(*) FROM auth.lint() WHERE code = 'scope_not_stored';
ROLLBACK;
\c - owner_role

-- server_outdated: of each version, as that version's function would say.
CREATE FUNCTION findings_of(version int, name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE definition text := pg_get_functiondef('auth.lint()'::regprocedure);
BEGIN
    definition := replace(replace(replace(definition, 'FUNCTION auth.lint()', 'FUNCTION public.lint_of_version()'),
                                  'current_setting(''server_version_num'')', quote_literal(version)),
                          'current_setting(''server_version'')', quote_literal(name));
    EXECUTE definition;
    RETURN QUERY EXECUTE 'SELECT format(''%s | %s | %s'', level, detail, fix) FROM lint_of_version() WHERE code = ''server_outdated''';
END $$;
SELECT name, f
  FROM unnest('{14.20,15.18,15.19,15.20 (Debian 15.20-0),16.14,16.15,16.16,17.10,17.11,17.12,18.4,18.6 (Debian 18.6-3),18.7,19beta2,19rc1 (Debian 19~rc1-1),19.0,19.1}'::text[])
           WITH ORDINALITY AS v (name, n)
  LEFT JOIN LATERAL findings_of(substring(name, '^\d+')::int * 10000 + coalesce(substring(name, '^\d+\.(\d+)')::int, 0), name) AS f ON true ORDER BY n;

-- A hostile table and policy: each fix stays one statement about it.
CREATE SCHEMA "a;'b";
GRANT USAGE ON SCHEMA "a;'b" TO authenticated;
CREATE TABLE "a;'b"."t""; DROP TABLE posts; --" (id int, "c"";--" text);
ALTER TABLE "a;'b"."t""; DROP TABLE posts; --" ENABLE ROW LEVEL SECURITY;
GRANT ALL ON "a;'b"."t""; DROP TABLE posts; --" TO authenticated, "no ""one""";
CREATE POLICY "p""; DROP TABLE posts; --" ON "a;'b"."t""; DROP TABLE posts; --" FOR INSERT TO authenticated, "no ""one""";
CREATE INDEX "i""; DROP TABLE posts; --" ON "a;'b"."t""; DROP TABLE posts; --" (lower("c"";--"));
CREATE FUNCTION "a;'b"."f""; DROP TABLE posts; --"() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT min("c"";--") FROM "a;'b"."t""; DROP TABLE posts; --" $$;
:lint
SELECT fix FROM auth.lint() WHERE fix !~ '[.][.][.]' AND code NOT IN ('scope_not_stored', 'server_outdated') \gexec
SELECT count(*) FROM posts;
:lint
\c - postgres
DROP OWNED BY anon, "no ""one""";
DROP ROLE anon, "no ""one""";
