-- auth.lint: each check with what is wrong, the statement that corrects it, and nothing left after
-- that.
\i fixtures/jose.sql
\pset format unaligned
\pset tuples_only
\pset fieldsep ' | '
\set lint `./doc_sql docs/troubleshooting.md lint`
\set fix 'SELECT DISTINCT fix FROM auth.lint() ORDER BY 1 \\gexec'

-- The server may lack fixes.
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'pg_auth_jwt: ignore server_outdated'); END $$;

-- Nothing is wrong with the README's set-up: neither with keys alone, nor with tables, roles and
-- FORCE.
\set load_keys `./doc_sql docs/fetching.md load_keys`
\set guard_text `./doc_sql README.md guard_text`
\set guard_uuid `./doc_sql docs/concepts.md guard_uuid`
:lint
:load_keys
:lint
:guard_text
:guard_uuid
-- But for scope_not_stored, until it is.
:lint
:fix
:lint
ALTER TABLE posts FORCE ROW LEVEL SECURITY;
:lint
DROP TABLE posts, notes;

-- table_without_rls, rls_disabled, no_policy.
CREATE TABLE posts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text);
CREATE TABLE countries (name text);
GRANT SELECT, INSERT, UPDATE, DELETE ON posts TO authenticated;
GRANT SELECT (name) ON countries TO PUBLIC;
:lint
COMMENT ON TABLE countries IS 'The same for everyone. pg_auth_jwt: ignore table_without_rls';
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
:lint
CREATE POLICY own ON posts AS RESTRICTIVE TO authenticated USING (owner = auth.user_id());
SELECT code FROM auth.lint();
DROP POLICY own ON posts;
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
:lint
ALTER TABLE posts DISABLE ROW LEVEL SECURITY;
:lint
:fix
:lint
-- A table that no application role may reach is not reported, nor one that no role may reach.
CREATE TABLE internal (x int);
CREATE SCHEMA internal;
CREATE TABLE internal.reachable_only_with_usage (x int);
GRANT ALL ON internal.reachable_only_with_usage TO authenticated;
CREATE TABLE locked (x int);
ALTER TABLE locked ENABLE ROW LEVEL SECURITY;
:lint
GRANT USAGE ON SCHEMA internal TO authenticated;
SELECT code, object FROM auth.lint();
DROP SCHEMA internal CASCADE;
-- A partition that is reached past its parent.
CREATE TABLE events (owner text, at date) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON events TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON events TO authenticated;
:lint
GRANT SELECT ON events_2026 TO authenticated;
:lint
REVOKE SELECT ON events_2026 FROM authenticated;

-- privilege_beyond_rls.
GRANT ALL ON posts TO authenticated;
:lint
:fix
:lint

-- policy_reads_setting: directly, in a sub-select, through a function; not what a string says, nor
-- the server's own.
CREATE POLICY a ON posts TO authenticated USING (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
CREATE POLICY b ON posts TO authenticated USING (EXISTS (SELECT FROM countries WHERE name = current_setting('app.country')));
CREATE FUNCTION app_user() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('app.user', true) $$;
CREATE FUNCTION app_user_parsed() RETURNS text LANGUAGE sql STABLE RETURN current_setting('app.user', true);
CREATE POLICY c ON posts TO authenticated USING (owner = app_user() OR owner = app_user_parsed());
CREATE POLICY d ON posts TO authenticated USING (owner = current_setting(auth.user_id()));
CREATE POLICY fine_1 ON posts TO authenticated USING (owner = 'current_setting(''app.user'')' || auth.user_id());
CREATE POLICY fine_2 ON posts TO authenticated USING (current_setting('role') <> 'x' AND owner = auth.user_id());
:lint
DROP POLICY a ON posts; DROP POLICY b ON posts; DROP POLICY c ON posts; DROP POLICY d ON posts;
:lint

-- old_claim_functions: of a schema that was renamed. A helper that asks auth.user_id() is something
-- else.
CREATE SCHEMA old_auth;
CREATE FUNCTION old_auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT (current_setting('request.jwt.claim.sub', true))::uuid $$;
CREATE FUNCTION old_auth.user_id() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'u' $$;
CREATE SCHEMA helpers;
CREATE FUNCTION helpers.role() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN auth.session() ->> 'r'; END $$;
CREATE FUNCTION helpers.email() RETURNS text LANGUAGE sql STABLE RETURN lower(auth.email());
CREATE POLICY old ON posts TO authenticated USING (owner = old_auth.uid()::text);
CREATE POLICY helped ON posts TO authenticated USING (owner = helpers.role() OR owner = helpers.email());
ALTER TABLE posts ALTER COLUMN owner SET DEFAULT old_auth.user_id();
CREATE VIEW mine WITH (security_invoker) AS SELECT id FROM posts WHERE owner = old_auth.user_id();
:lint
DROP VIEW mine;
DROP POLICY old ON posts;
:fix
:lint
DROP POLICY helped ON posts;

-- immutable_claims: a plan that is kept would have one user's claims for all.
CREATE FUNCTION me() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN auth.user_id(); END $$;
CREATE FUNCTION me_in_sql(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN auth.email() || $1;
CREATE FUNCTION normal(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN lower($1);
CREATE POLICY kept ON posts TO authenticated USING (owner = normal(me()) OR owner = me_in_sql('x'));
CREATE VIEW my_posts WITH (security_invoker) AS SELECT id FROM posts WHERE owner = me();
:lint
:fix
:lint
DROP VIEW my_posts; DROP POLICY kept ON posts;

-- policy_always_true.
CREATE POLICY everything ON posts TO authenticated USING (true);
CREATE POLICY everything_new ON posts FOR INSERT WITH CHECK (true);
CREATE POLICY everything_read ON posts FOR SELECT USING (true);
:lint
CREATE POLICY tenant ON posts AS RESTRICTIVE USING (auth.session() ->> 'tenant' IS NOT NULL);
:lint
DROP POLICY tenant ON posts; DROP POLICY everything ON posts; DROP POLICY everything_new ON posts; DROP POLICY everything_read ON posts;

-- view_bypasses_rls, materialized_view: also through views between.
CREATE VIEW all_posts AS SELECT * FROM posts;
CREATE VIEW asked WITH (security_invoker) AS SELECT * FROM posts;
CREATE VIEW through_asked AS SELECT * FROM asked;
CREATE VIEW through_all WITH (security_invoker) AS SELECT * FROM all_posts;
CREATE VIEW filtered AS SELECT * FROM posts WHERE owner = auth.user_id();
CREATE VIEW nobody_reads AS SELECT * FROM posts;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM asked;
CREATE VIEW of_kept WITH (security_invoker) AS SELECT * FROM kept;
GRANT SELECT ON asked TO authenticated;
:lint
GRANT SELECT ON through_asked, through_all, filtered, kept, of_kept TO authenticated;
:lint
:fix
:lint
GRANT SELECT ON kept, of_kept TO authenticated;
COMMENT ON MATERIALIZED VIEW kept IS 'pg_auth_jwt: ignore materialized_view';
:lint
DROP MATERIALIZED VIEW kept CASCADE;
DROP VIEW asked, all_posts, filtered, nobody_reads CASCADE;
-- A view whose owner the policies apply to, too.
ALTER TABLE posts FORCE ROW LEVEL SECURITY;
CREATE VIEW all_posts AS SELECT * FROM posts;
GRANT SELECT ON all_posts TO authenticated;
:lint
ALTER TABLE posts NO FORCE ROW LEVEL SECURITY;
SELECT code FROM auth.lint();
DROP VIEW all_posts;

-- definer_search_path.
CREATE FUNCTION as_owner() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN (SELECT count(*) FROM posts); END $$;
CREATE FUNCTION as_owner_bound() RETURNS bigint LANGUAGE sql SECURITY DEFINER RETURN (SELECT count(*) FROM posts);
CREATE FUNCTION as_owner_private() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN 1; END $$;
REVOKE EXECUTE ON FUNCTION as_owner_private() FROM PUBLIC;
:lint
:fix
:lint
DROP FUNCTION as_owner(), as_owner_bound(), as_owner_private();

-- missing_index: of a table that is large enough, for what an index would serve.
CREATE TABLE big (a text, b text, "C d" text, e text, f text, g text, h uuid);
INSERT INTO big SELECT 'x' FROM generate_series(1, 12000);
ANALYZE big;
ALTER TABLE big ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON big TO authenticated;
CREATE POLICY a ON big TO authenticated USING (a = auth.user_id());
CREATE POLICY b ON big TO authenticated USING ((SELECT auth.session() ->> 'tenant' = b));
CREATE POLICY c ON big TO authenticated USING ((auth.session() -> 'o' ->> 'id') = "C d" OR "C d" = (SELECT auth.user_id()));
CREATE POLICY h ON big TO authenticated USING (h = auth.uid() AND lower(e) = auth.user_id() AND f <> auth.user_id() AND g = 'auth.user_id()');
:lint
-- However the session has names quoted.
SET quote_all_identifiers = on;
SELECT code, count(*) FROM auth.lint() GROUP BY code ORDER BY code;
RESET quote_all_identifiers;
SELECT regexp_replace(fix, 'CONCURRENTLY ', '') FROM auth.lint() \gexec
:lint
DROP TABLE big;

-- policy_for_no_login, role_can_switch, role_owns_table, role_bypasses_rls, key_privilege: with
-- roles of their own.
\c - postgres
CREATE ROLE lint_group;
CREATE ROLE lint_login LOGIN;
CREATE ROLE lint_powerful BYPASSRLS;
\c - owner_role
CREATE POLICY grouped ON posts TO lint_group USING (owner = auth.user_id());
:lint
\c - postgres
GRANT lint_group TO lint_login;
:lint
GRANT lint_powerful TO lint_group;
GRANT pg_write_all_data TO lint_group;
\c - owner_role
:lint
\c - postgres
REVOKE lint_powerful, pg_write_all_data FROM lint_group;
ALTER ROLE lint_group BYPASSRLS;
:lint
:fix
:lint
GRANT owner_role TO lint_group;
\c - owner_role
:lint
\c - postgres
:fix
:lint
ALTER ROLE lint_group NOINHERIT;
ALTER TABLE countries OWNER TO lint_group;
ALTER TABLE countries ENABLE ROW LEVEL SECURITY;
:lint
:fix
:lint
ALTER TABLE countries OWNER TO owner_role;
ALTER TABLE countries NO FORCE ROW LEVEL SECURITY;
-- An application that connects as a role which PUBLIC's policies apply to.
CREATE TABLE shared (owner text);
ALTER TABLE shared OWNER TO owner_role;
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shared USING (owner = auth.user_id());
GRANT SELECT ON shared TO lint_login;
CREATE TABLE beside (x int);
GRANT SELECT ON beside TO lint_login;
:lint
REVOKE SELECT ON beside FROM lint_login;
GRANT INSERT ON beside TO PUBLIC;
GRANT SELECT ON shared TO PUBLIC;
:lint
DROP TABLE shared, beside;
-- A role that can write keys can be every user.
GRANT INSERT ON auth.jwks TO lint_group, lint_login, authenticated;
GRANT CREATE ON SCHEMA auth TO lint_group;
\c - owner_role
:lint
\c - postgres
:fix
:lint
DROP POLICY grouped ON posts;
DROP OWNED BY lint_group, lint_login, lint_powerful;
DROP ROLE lint_group, lint_login, lint_powerful;

-- claim_function_replaced, trigger_not_always: what a superuser's migration or restore leaves.
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claim.sub')::uuid $$;
ALTER FUNCTION auth.email() OWNER TO owner_role;
ALTER EXTENSION pg_auth_jwt DROP FUNCTION auth.role();
ALTER FUNCTION auth.user_id() IMMUTABLE;
ALTER TABLE auth.jwks ENABLE TRIGGER keys_changed;
ALTER TABLE auth.issuers DISABLE TRIGGER issuers_changed;
ALTER TABLE auth.issuers ENABLE REPLICA TRIGGER issuers_truncated;
DROP TRIGGER admit_key ON auth.jwks;
\c - owner_role
:lint
\c - postgres
:fix
\c - owner_role
:lint
SELECT auth.uid() IS NULL AS ours;

-- Issuers for development: beside others, alone.
INSERT INTO auth.issuers (issuer, audience) VALUES ('https://dev.invalid', '{a}'), ('https://A.Invalid:8443/x', '{a}'),
    ('https://invalid.example', '{a}'), ('https://notinvalid', '{a}');
SELECT level, object, detail, fix FROM auth.lint() WHERE code = 'development_issuer';
BEGIN;
UPDATE auth.issuers SET enabled = issuer ~* '[.]invalid';
SELECT level, object, detail, fix FROM auth.lint() WHERE code = 'development_issuer';
ROLLBACK;
DELETE FROM auth.issuers WHERE issuer ~* 'invalid';

-- Issuers and keys.
UPDATE auth.issuers SET audience = NULL, required_claims = '{}';
INSERT INTO auth.issuers (issuer, algorithms, audience) VALUES ('*', '{HS256}', '{a}'), ('https://keyless', NULL, '{a}');
SELECT auth.init('{"keys": [{"kty": "oct", "kid": "s", "alg": "HS256", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}');
GRANT SELECT ON auth.jwks TO authenticated;
:lint
REVOKE SELECT ON auth.jwks FROM authenticated;
UPDATE auth.issuers SET enabled = false WHERE issuer = '*';
DELETE FROM auth.issuers WHERE issuer = 'https://keyless';
UPDATE auth.issuers SET audience = '{a}', required_claims = '{exp}';
:lint
UPDATE auth.jwks SET expires_at = now() + interval '3 days' WHERE issuer <> '*';
SELECT level, code, object FROM auth.lint();
UPDATE auth.jwks SET expires_at = '2020-01-01' WHERE issuer <> '*';
SELECT level, code, object FROM auth.lint();
UPDATE auth.jwks SET expires_at = now() + interval '1 year' WHERE issuer <> '*';
:lint
-- The roles of auth.login(): lists without a claim, claims without a list, roles that are missing or too strong.
\set logins 'SELECT level, code, object, detail, fix FROM auth.lint() WHERE code ~ ''^login'';'
UPDATE auth.issuers SET role_claim = 'role' WHERE issuer <> '*';
:logins
UPDATE auth.issuers SET allowed_roles = '{}' WHERE issuer <> '*';
:logins
UPDATE auth.issuers SET role_claim = NULL, allowed_roles = '{authenticated}' WHERE issuer <> '*';
:logins
UPDATE auth.issuers SET role_claim = '{a,b}', allowed_roles = '{authenticated,missing,"od''d",postgres}' WHERE issuer <> '*';
:logins
UPDATE auth.issuers SET allowed_roles = '{authenticated}' WHERE issuer <> '*';
:logins
UPDATE auth.issuers SET role_claim = NULL, allowed_roles = NULL WHERE issuer <> '*';
:logins
-- Keys that are followed: live is fine; polled, missing and writable are not.
CREATE TABLE jwks (id text PRIMARY KEY, "publicKey" text NOT NULL, "expiresAt" timestamptz);
SELECT auth.follow('public.jwks', issuer => 'https://followed', audience => '{a}');
:lint
INSERT INTO jwks SELECT 'a', (jwk - 'kid' - 'alg' - 'use')::text FROM auth.jwks WHERE jwk ->> 'kty' = 'OKP' LIMIT 1;
:lint
UPDATE jwks SET "expiresAt" = '2020-01-01';
SELECT level, code, object FROM auth.lint();
UPDATE jwks SET "expiresAt" = NULL;
GRANT INSERT ON jwks TO authenticated;
COMMENT ON TABLE jwks IS 'pg_auth_jwt: ignore table_without_rls';
:lint
REVOKE INSERT ON jwks FROM authenticated;
ALTER TABLE jwks DISABLE TRIGGER ALL;
:lint
:fix
:lint
DROP TABLE jwks;
:lint
SELECT auth.unfollow('https://followed');
DELETE FROM auth.issuers WHERE issuer = 'https://followed';
:lint
-- Keys behind a URL, with what the refreshing process would have written.
SELECT auth.follow_url('https://fetched', 'https://keys.test.example/jwks', '{a}');
:lint
INSERT INTO auth.jwks (issuer, jwk, thumbprint) SELECT 'https://fetched', jwk, thumbprint FROM auth.jwks WHERE issuer = 'https://auth.example.com' LIMIT 1;
UPDATE auth.endpoints SET last_success = now();
:lint
UPDATE auth.endpoints SET last_success = now() - interval '8 days';
:lint
DELETE FROM auth.issuers WHERE issuer = 'https://fetched';
:lint
-- Objects without a COMMENT of their own are ignored in that of the database, all of them or one.
UPDATE auth.issuers SET audience = NULL, required_claims = '{}';
SELECT level, code, object FROM auth.lint();
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(),
    E'The application.\npg_auth_jwt: ignore server_outdated\npg_auth_jwt: ignore audience_not_checked\npg_auth_jwt: ignore tokens_never_expire of issuer https://elsewhere'); END $$;
SELECT level, code, object FROM auth.lint();
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(),
    E'pg_auth_jwt: ignore server_outdated\npg_auth_jwt: ignore tokens_never_expire of issuer https://auth.example.com\npg_auth_jwt: ignore audience'); END $$;
SELECT level, code, object FROM auth.lint();
UPDATE auth.issuers SET audience = '{a}', required_claims = '{exp}';

-- library_loaded_late: where statements are logged, for roles that can log in. Only superusers see
-- the server's list.
\c - postgres
SET log_statement = 'all';
:lint
SET session_preload_libraries = 'auto_explain, pg_auth_jwt';
:lint
RESET session_preload_libraries;
:fix
:lint
DO $$ BEGIN EXECUTE format('ALTER ROLE authenticated IN DATABASE %I RESET ALL', current_database());
            EXECUTE format('ALTER ROLE owner_role IN DATABASE %I RESET ALL', current_database()); END $$;
RESET log_statement;

-- Roles that may call it; a search_path of the caller's changes nothing.
\c - authenticated
SELECT * FROM auth.lint();
\c - owner_role
ALTER TABLE posts DISABLE ROW LEVEL SECURITY;
CREATE TEMP TABLE pg_policy AS SELECT * FROM pg_catalog.pg_policy WHERE false;
CREATE TEMP TABLE pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
CREATE SCHEMA evil;
CREATE FUNCTION evil.always_false(oid, oid) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN false;
CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.always_false);
CREATE FUNCTION evil.obj_description(oid, name) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'pg_auth_jwt: ignore rls_disabled';
SET search_path = pg_temp, evil, pg_catalog, public;
SELECT code, object FROM auth.lint();
