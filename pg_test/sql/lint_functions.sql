-- auth.lint on functions: settings that a policy reaches by way of any others, claims that users write
-- themselves, errors that are caught, and SECURITY DEFINER.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
\pset format unaligned
\pset tuples_only
\pset fieldsep ' | '
\set lint 'SELECT level, code, object, detail, fix FROM auth.lint() WHERE code NOT IN (''scope_not_stored'', ''server_outdated'');'
CREATE TABLE posts (owner text, team text);
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON posts TO authenticated;
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
:lint

-- policy_reads_setting: three calls deep, of all kinds of bodies, and in a circle; through an operator, a
-- view and a default; names with other letters.
CREATE FUNCTION env(name text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN current_setting(name, true); END $$;
CREATE FUNCTION claims() RETURNS jsonb LANGUAGE sql STABLE RETURN current_setting('request.groups', true)::jsonb;
CREATE FUNCTION sid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('jwt.claims.session_id', true) $$;
CREATE FUNCTION "Who's ""me"""() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN public . SID () ; END $$;
CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE BEGIN ATOMIC SELECT "Who's ""me"""(); END;
CREATE FUNCTION is_member(team text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN EXECUTE 'SELECT claims()'; RETURN has_role(team); END $$;
CREATE FUNCTION has_role(team text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN claims() ? team OR is_member(team); END $$;
CREATE FUNCTION user_of(name text DEFAULT current_setting('app.user', true)) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE FUNCTION same_user(text, text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT $1 = $2 AND $1 = env('app.id') $$;
CREATE OPERATOR =~= (FUNCTION = same_user, LEFTARG = text, RIGHTARG = text);
CREATE VIEW who WITH (security_invoker) AS SELECT current_setting('app.viewer') AS id;
CREATE VIEW who_else WITH (security_invoker) AS SELECT id FROM who;
GRANT SELECT ON who, who_else TO authenticated;
CREATE POLICY a ON posts TO authenticated USING (owner = me());
CREATE POLICY "B""b" ON posts TO authenticated USING (is_member(team));
CREATE POLICY c ON posts TO authenticated USING (owner = env('role'));
CREATE POLICY d ON posts TO authenticated USING (owner = user_of());
CREATE POLICY e ON posts TO authenticated USING (owner =~= team);
CREATE POLICY f ON posts TO authenticated USING (owner IN (SELECT id FROM who_else));
-- Those that the server itself sets, or that nothing reads.
CREATE FUNCTION fine() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('role') || 'current_setting' $$;
CREATE FUNCTION finer() RETURNS text LANGUAGE sql STABLE RETURN fine() || 'current_setting(''app.user'')';
CREATE POLICY g ON posts TO authenticated USING (owner = finer());
-- A setting that another function of that name reads is none that this one reads.
CREATE SCHEMA other;
CREATE FUNCTION other.fine() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('app.user') $$;
CREATE FUNCTION qualified() RETURNS text LANGUAGE sql STABLE AS $$ SELECT public.fine() $$;
CREATE POLICY h ON posts TO authenticated USING (owner = qualified());
:lint
-- A comparison of the user's id beside the setting may be enough; a setting in place of the id is not.
DROP POLICY a ON posts; DROP POLICY "B""b" ON posts; DROP POLICY c ON posts; DROP POLICY d ON posts; DROP POLICY e ON posts;
DROP POLICY f ON posts;
CREATE POLICY a ON posts TO authenticated USING (owner = (SELECT auth.user_id()) AND team = env('app.topic'));
CREATE POLICY b ON posts TO authenticated USING (owner = auth.user_id() OR team = env('app.topic'));
CREATE POLICY c ON posts TO authenticated USING (owner = sid() AND auth.user_id() IS NOT NULL);
CREATE POLICY d ON posts TO authenticated USING (owner = auth.user_id() AND team = current_setting('app.topic'));
SELECT level, code, object, detail FROM auth.lint() WHERE code = 'policy_reads_setting';
DROP POLICY a ON posts; DROP POLICY b ON posts; DROP POLICY c ON posts; DROP POLICY d ON posts;
DROP POLICY g ON posts; DROP POLICY h ON posts;
:lint

-- A chain of any length, and one that ends in itself.
DO $$ BEGIN
    SET LOCAL check_function_bodies = off;
    FOR n IN 1..400 LOOP
        EXECUTE format('CREATE FUNCTION other.link_%s() RETURNS text LANGUAGE sql STABLE AS $f$ SELECT coalesce(other.link_%s(), %s) $f$',
                       n, n % 400 + 1, CASE n WHEN 400 THEN 'current_setting(''app.end'')' ELSE 'NULL' END);
    END LOOP;
END $$;
CREATE POLICY a ON posts TO authenticated USING (owner = other.link_7());
SELECT level, code, object, detail FROM auth.lint() WHERE code = 'policy_reads_setting';
DROP POLICY a ON posts;
-- Helpers of helpers that ask the extension are no old claim functions, and immutable_claims sees them.
CREATE SCHEMA app;
CREATE FUNCTION app.all_claims() RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT auth.session() $$;
CREATE FUNCTION app.user_id() RETURNS text LANGUAGE sql STABLE AS $$ SELECT app.all_claims() ->> 'sub' $$;
CREATE FUNCTION app.kept() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT app.user_id() $$;
CREATE FUNCTION app.email() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN user_id(); END $$;
CREATE POLICY a ON posts TO authenticated USING (owner = app.user_id() OR owner = app.kept());
CREATE POLICY b ON posts TO authenticated USING (owner = app.email());
:lint
DROP POLICY a ON posts; DROP POLICY b ON posts;

-- policy_reads_user_metadata: in the policy, in a path, in a function of a function; not a column of that name.
CREATE FUNCTION app.tenant() RETURNS text LANGUAGE sql STABLE AS $$ SELECT app.all_claims() #>> '{user_metadata,tenant}' $$;
CREATE FUNCTION app.tenants() RETURNS text LANGUAGE sql STABLE RETURN app.tenant();
ALTER TABLE posts ADD user_metadata jsonb;
CREATE POLICY a ON posts TO authenticated USING (team = (auth.jwt() -> 'user_metadata') ->> 'tenant');
CREATE POLICY b ON posts TO authenticated USING (team = app.tenants() OR team = auth.session() #>> '{unsafe_metadata,t}');
CREATE POLICY c ON posts TO authenticated USING (user_metadata ->> 'owner' = auth.user_id());
CREATE POLICY d ON posts TO authenticated USING (team = auth.session() -> 'app_metadata' ->> 'tenant');
:lint
DROP POLICY a ON posts; DROP POLICY b ON posts; DROP POLICY c ON posts; DROP POLICY d ON posts;
ALTER TABLE posts DROP user_metadata;

-- claims_error_caught: around claim functions, in policies, by way of others; not what catches a named error, or
-- raises it again.
CREATE FUNCTION app.caught() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN app.user_id(); EXCEPTION WHEN division_by_zero OR OTHERS THEN RETURN NULL; END $$;
CREATE FUNCTION app.cancelled() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN auth.user_id(); EXCEPTION WHEN query_canceled THEN RETURN 'x'; END $$;
CREATE FUNCTION app.by_class() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN auth.email(); EXCEPTION WHEN SQLSTATE '28000' THEN RETURN ''; END $$;
CREATE FUNCTION app.raised() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN auth.user_id(); EXCEPTION WHEN OTHERS THEN RAISE LOG 'x'; RAISE; END $$;
CREATE FUNCTION app.named() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN auth.user_id(); EXCEPTION WHEN invalid_text_representation THEN RETURN NULL; END $$;
CREATE FUNCTION app.no_claims() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 1 / 0; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
CREATE FUNCTION app.not_in_a_policy() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN auth.user_id(); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
CREATE FUNCTION app.outer() RETURNS text LANGUAGE sql STABLE AS $$ SELECT app.caught() || app.cancelled() || app.by_class() || app.raised() || app.named() || app.no_claims() $$;
CREATE POLICY a ON posts TO authenticated USING (owner = app.outer());
SELECT level, code, object, detail, fix FROM auth.lint() WHERE code = 'claims_error_caught';
DROP POLICY a ON posts;
-- Languages that may not be installed here, by their names.
\c - postgres
CREATE LANGUAGE plpython3u HANDLER plpgsql_call_handler;
CREATE LANGUAGE plperlu HANDLER plpgsql_call_handler;
CREATE FUNCTION app.python() RETURNS text LANGUAGE plpython3u STABLE AS $$
try: return plpy.execute("SELECT auth.user_id() AS u")[0]["u"]
except: return "nobody" $$;
CREATE FUNCTION app.python_raises() RETURNS text LANGUAGE plpython3u STABLE AS $$
try: return plpy.execute("SELECT auth.user_id() AS u")[0]["u"]
except plpy.SPIError: raise $$;
CREATE FUNCTION app.perl() RETURNS text LANGUAGE plperlu STABLE AS $$ my $u = eval { spi_exec_query('SELECT auth.user_id() AS u') }; $u $$;
CREATE POLICY a ON posts TO authenticated USING (owner = app.python() OR owner = app.perl() OR owner = app.python_raises());
SELECT level, code, object FROM auth.lint() WHERE code = 'claims_error_caught';
DROP POLICY a ON posts;
DROP LANGUAGE plpython3u CASCADE;
DROP LANGUAGE plperlu CASCADE;
\c - owner_role

-- definer_search_path: a path that does not end in pg_temp, and a table that the text names without a schema.
\set definers 'SELECT level, object, detail, fix FROM auth.lint() WHERE code = ''definer_search_path'';'
CREATE TABLE tenants (id int, name text);
CREATE FUNCTION d1() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$ SELECT min(name) FROM tenants, auth.user_id() AS u $$;
CREATE FUNCTION d2() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp, "other", public AS $$ INSERT INTO Tenants(id) SELECT 1 WHERE auth.user_id() IS NOT NULL $$;
CREATE FUNCTION d3() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$ SELECT count(*) FROM pg_class $$;
CREATE PROCEDURE d4() LANGUAGE plpgsql SECURITY DEFINER SET search_path = 'public, pg_temp' AS $$ BEGIN PERFORM FROM public.tenants, pg_class; END $$;
CREATE FUNCTION fine_1() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$ SELECT min(name) FROM tenants $$;
CREATE FUNCTION fine_2() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$ SELECT min(t.name) FROM public.tenants AS t $$;
CREATE FUNCTION fine_3() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public RETURN (SELECT min(name) FROM tenants);
CREATE FUNCTION fine_4() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = other AS $$ SELECT min(t.name) FROM public.tenants AS t, other.fine() AS from_tenants $$;
:definers
SELECT fix FROM auth.lint() WHERE code = 'definer_search_path' \gexec
:definers
SELECT proname, proconfig FROM pg_proc WHERE proname ~ '^d[1-4]$' ORDER BY 1;
-- A path that was copied as it stood is no way into the statement.
SELECT set_config('search_path', 'public,a;DROP/**/TABLE/**/tenants', false);
CREATE FUNCTION d5() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$ SELECT min(name) FROM tenants $$;
RESET search_path;
:definers
SELECT fix FROM auth.lint() WHERE code = 'definer_search_path' \gexec
SELECT count(*) FROM tenants;
-- It says all roles that may call it. Without temporary tables there is nothing in the tables' place.
\c - postgres
CREATE ROLE lint_functions_role;
CREATE POLICY other ON posts TO lint_functions_role USING (owner = auth.user_id());
\c - owner_role
CREATE FUNCTION d6() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$ SELECT min(name) FROM tenants $$;
:definers
SELECT format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', current_database()) \gexec
:definers
SELECT format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()) \gexec
DROP POLICY other ON posts;
DROP FUNCTION d6();
-- A trigger function: fired by those who write its table, or by those who add it to a temporary table.
CREATE TABLE users (id text);
CREATE FUNCTION new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO tenants VALUES (1, NEW.id); RETURN NEW; END $$;
CREATE TRIGGER new_user AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION new_user();
:definers
\c - authenticated
CREATE TEMP TABLE mine (id text);
CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION public.new_user();
SET search_path = public;
INSERT INTO mine VALUES ('written by the owner of the function');
\c - owner_role
SELECT name FROM tenants;
REVOKE EXECUTE ON FUNCTION new_user() FROM PUBLIC;
:definers
GRANT INSERT ON users TO authenticated;
:definers
DROP TABLE users;
DROP FUNCTION new_user();

-- definer_bypasses_rls: over guarded tables, by way of others too; not one that asks who the user is, that nobody may
-- call, or whose owner the policies apply to.
\set definers 'SELECT level, object, detail, fix FROM auth.lint() WHERE code = ''definer_bypasses_rls'';'
CREATE FUNCTION all_posts() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$ BEGIN RETURN (SELECT count(*) FROM posts); END $$;
CREATE FUNCTION count_posts() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM public.posts $$;
CREATE FUNCTION "All ""posts"""() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT public.count_posts() $$;
CREATE PROCEDURE drop_posts(actor text) LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp BEGIN ATOMIC DELETE FROM posts WHERE owner = actor; END;
CREATE FUNCTION fine_5() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$ SELECT count(*) FROM posts WHERE owner = app.user_id() $$;
CREATE FUNCTION fine_6() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$ SELECT count(*) FROM posts $$;
REVOKE EXECUTE ON FUNCTION fine_6() FROM PUBLIC;
CREATE FUNCTION calls_a_definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT public.fine_6() $$;
:definers
SELECT fix FROM auth.lint() WHERE code = 'definer_bypasses_rls' \gexec
:definers
GRANT EXECUTE ON FUNCTION all_posts() TO PUBLIC;
ALTER TABLE posts FORCE ROW LEVEL SECURITY;
:definers
\c - postgres
DROP OWNED BY lint_functions_role;
DROP ROLE lint_functions_role;
