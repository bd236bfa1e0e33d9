-- What is wrong, or likely to be, with how row-level security is set up here: mistakes that
-- Postgres itself keeps silent about, because they show all rows or none without an error.
--
-- It runs with its caller's rights, and reads the catalogs, which everyone may, and the two key
-- tables. What the caller may not see it says nothing about. With this search_path every name that
-- is not qualified, operators too, is one of pg_catalog: pg_temp is searched last for tables, and
-- never for functions and operators. Not BEGIN ATOMIC, which pg_upgrade would have to parse with
-- the catalogs of the next version.
CREATE FUNCTION auth.lint()
    RETURNS TABLE (level text, code text, object text, detail text, fix text)
    LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10 COST 100000
    SET search_path = pg_catalog, pg_temp
    -- Names are compared with how Postgres writes them.
    SET quote_all_identifiers = off
    AS $lint$
WITH RECURSIVE
-- 1. What is looked at.
extension_members AS (
    SELECT d.classid, d.objid FROM pg_depend AS d
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
),
relations AS (
    SELECT c.oid, c.oid::regclass::text AS name, c.relkind, c.relowner, c.relacl, c.reltuples,
           c.relnamespace, c.relrowsecurity AS has_rls, c.relforcerowsecurity AS is_forced,
           coalesce((SELECT o.option_value::boolean FROM pg_options_to_table(c.reloptions) AS o
                      WHERE o.option_name = 'security_invoker'), false) AS is_invoker
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM extension_members AS e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
),
tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p', 'f')),
-- The claim functions, and what each of them is in the library.
claim_functions (name, symbol, type) AS (
    VALUES ('session', 'pg_auth_jwt_session', 'jsonb'), ('jwt', 'pg_auth_jwt_session', 'jsonb'),
           ('user_id', 'pg_auth_jwt_user_id', 'text'), ('uid', 'pg_auth_jwt_uid', 'uuid'),
           ('role', 'pg_auth_jwt_role', 'text'), ('email', 'pg_auth_jwt_email', 'text'),
           ('organization', 'pg_auth_jwt_organization', 'jsonb'),
           ('organization_id', 'pg_auth_jwt_organization_id', 'uuid')
),
our_functions AS (
    SELECT p.oid FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'auth'
),
-- Which functions, but for those of Postgres itself, a policy, a default or a view calls.
calls AS (
    SELECT DISTINCT d.classid, d.objid, d.refobjid AS function
      FROM pg_depend AS d
     WHERE d.refclassid = 'pg_proc'::regclass
       AND d.classid IN ('pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_rewrite'::regclass, 'pg_proc'::regclass)
),
policies AS (
    SELECT p.oid, p.polname, p.polrelid, p.polcmd, p.polpermissive, p.polroles, t.name AS table_name,
           format('policy %I on %s', p.polname, t.name) AS name,
           coalesce(pg_get_expr(p.polqual, p.polrelid), '') AS passes,
           coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') AS checks,
           -- By the node, and not by the text, which may say so in a string: the two forms of
           -- current_setting().
           coalesce(p.polqual::text, '') || coalesce(p.polwithcheck::text, '') ~ format(':funcid (%s|%s) ',
               'pg_catalog.current_setting(text)'::regprocedure::oid,
               'pg_catalog.current_setting(text, boolean)'::regprocedure::oid) AS reads_setting,
           EXISTS (SELECT FROM calls AS c WHERE c.classid = 'pg_policy'::regclass AND c.objid = p.oid) AS calls_function
      FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid
),
-- Policies that go by who the user is, by whatever means; not those of `USING (true)` and the like.
identity_policies AS (SELECT * FROM policies WHERE reads_setting OR calls_function),
-- The application's roles: those that such a policy names; where it is for PUBLIC, those that have
-- privileges on its table, PUBLIC itself too; and those of the usual names. (docs/lint.md)
app_roles AS (
    SELECT r.oid, r.rolname, r.rolsuper, r.rolbypassrls FROM pg_roles AS r
     WHERE r.rolname IN ('authenticated', 'anonymous', 'anon')
        OR r.oid IN (SELECT unnest(p.polroles) FROM identity_policies AS p)
        OR (NOT r.rolsuper AND NOT r.rolbypassrls AND r.oid IN (
            SELECT a.grantee FROM identity_policies AS p JOIN tables AS t ON t.oid = p.polrelid, aclexplode(t.relacl) AS a
             WHERE 0 = ANY (p.polroles) AND a.grantee <> t.relowner))
    UNION ALL
    SELECT 0, 'public', false, false
     WHERE EXISTS (SELECT FROM identity_policies AS p JOIN tables AS t ON t.oid = p.polrelid, aclexplode(t.relacl) AS a
                    WHERE 0 = ANY (p.polroles) AND a.grantee = 0)
),
-- What these can do with each relation. Superusers and roles with BYPASSRLS have a check of their
-- own.
reach AS (
    SELECT r.oid AS role, r.rolname, t.oid AS relation,
           has_table_privilege(r.oid, t.oid, 'SELECT') OR has_any_column_privilege(r.oid, t.oid, 'SELECT') AS can_read,
           has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE')
               OR has_any_column_privilege(r.oid, t.oid, 'INSERT, UPDATE') AS can_write,
           has_table_privilege(r.oid, t.oid, 'TRUNCATE') AS can_truncate,
           has_table_privilege(r.oid, t.oid, 'TRIGGER') AS can_add_triggers,
           pg_has_role(r.oid, t.relowner, 'USAGE') AS is_owner
      FROM app_roles AS r, relations AS t
     WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND has_schema_privilege(r.oid, t.relnamespace, 'USAGE')
),
-- 2. Tables.
rls_disabled AS (
    SELECT 'error', 'rls_disabled', 'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('It has policies, but row-level security is not enabled, so %s not applied.',
               CASE count(*) WHEN 1 THEN 'its policy is' ELSE 'its policies are' END),
           format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', t.name)
      FROM tables AS t JOIN policies AS p ON p.polrelid = t.oid
     WHERE NOT t.has_rls
     GROUP BY t.oid, t.name
),
table_without_rls AS (
    SELECT CASE WHEN bool_or(r.can_write) THEN 'error' ELSE 'warning' END, 'table_without_rls',
           'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Row-level security is not enabled, so %s can %s every row.',
               CASE count(*) WHEN 1 THEN 'role ' ELSE 'roles ' END || string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname),
               CASE WHEN NOT bool_or(r.can_write) THEN 'read' WHEN bool_or(r.can_read) THEN 'read and write' ELSE 'write' END),
           CASE t.relkind WHEN 'f' THEN format('REVOKE ALL ON %s FROM %s;', t.name, string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname))
                ELSE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', t.name) END
      FROM tables AS t JOIN reach AS r ON r.relation = t.oid
     WHERE NOT t.has_rls AND (r.can_read OR r.can_write) AND NOT r.is_owner
       AND NOT EXISTS (SELECT FROM policies AS p WHERE p.polrelid = t.oid)
     GROUP BY t.oid, t.name, t.relkind
),
no_policy AS (
    SELECT 'warning', 'no_policy', 'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Row-level security is enabled and there is no permissive policy, so %s nothing, without an error.',
               CASE count(*) WHEN 1 THEN format('role %s sees', min(quote_ident(r.rolname)))
                   ELSE format('roles %s see', string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname)) END),
           format('CREATE POLICY own_rows ON %s TO %s USING (false); -- with the condition that is meant', t.name,
               string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname))
      FROM tables AS t JOIN reach AS r ON r.relation = t.oid
     WHERE t.has_rls AND (r.can_read OR r.can_write) AND NOT r.is_owner
       AND NOT EXISTS (SELECT FROM policies AS p WHERE p.polrelid = t.oid AND p.polpermissive)
     GROUP BY t.oid, t.name
),
privilege_beyond_rls AS (
    SELECT 'error', 'privilege_beyond_rls', 'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Role %I has %s, which no policy restricts: %s.', r.rolname, p.names,
               concat_ws('; ', CASE WHEN r.can_truncate THEN 'TRUNCATE deletes the rows of all users' END,
                         CASE WHEN r.can_add_triggers THEN 'a trigger runs with the rights of each role that writes a row' END)),
           format('REVOKE %s ON %s FROM %I;', p.names, t.name, r.rolname)
      FROM tables AS t JOIN reach AS r ON r.relation = t.oid,
           LATERAL (SELECT concat_ws(', ', CASE WHEN r.can_truncate THEN 'TRUNCATE' END,
                                     CASE WHEN r.can_add_triggers THEN 'TRIGGER' END)) AS p (names)
     WHERE t.has_rls AND NOT r.is_owner AND p.names <> ''
),
role_owns_table AS (
    SELECT CASE WHEN t.is_forced THEN 'info' ELSE 'error' END, 'role_owns_table',
           'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Role %I %s, so %s.', r.rolname,
               CASE WHEN r.role = t.relowner THEN 'owns it' ELSE format('has the rights of its owner, %I', o.rolname) END,
               CASE WHEN t.is_forced THEN 'it can drop the policies' ELSE 'no policy applies to it' END),
           CASE WHEN r.role <> t.relowner THEN format('REVOKE %I FROM %I;', o.rolname, r.rolname)
                WHEN t.is_forced THEN format('ALTER TABLE %s OWNER TO CURRENT_USER; -- as a role that the application does not use', t.name)
                ELSE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', t.name) END
      FROM tables AS t JOIN reach AS r ON r.relation = t.oid JOIN pg_roles AS o ON o.oid = t.relowner
     WHERE t.has_rls AND r.is_owner
),
-- 3. Roles.
role_bypasses_rls AS (
    SELECT 'error', 'role_bypasses_rls', 'pg_authid'::regclass, r.oid, format('role %I', r.rolname),
           format('It %s, so no policy applies to it.', CASE WHEN r.rolsuper THEN 'is a superuser' ELSE 'has BYPASSRLS' END),
           format('ALTER ROLE %I %s;', r.rolname, concat_ws(' ', CASE WHEN r.rolsuper THEN 'NOSUPERUSER' END,
                                                            CASE WHEN r.rolbypassrls THEN 'NOBYPASSRLS' END))
      FROM app_roles AS r
     WHERE r.rolsuper OR r.rolbypassrls
),
role_can_switch AS (
    SELECT 'error', 'role_can_switch', 'pg_authid'::regclass, r.oid, format('role %I', r.rolname),
           format('It is a member of %I, %s.', o.rolname,
               CASE WHEN o.rolsuper THEN 'a superuser, and can SET ROLE to it'
                    WHEN o.rolbypassrls THEN 'which has BYPASSRLS, and can SET ROLE to it'
                    WHEN o.rolname ~ '^pg_' THEN 'which can read or write the keys, or the server''s files'
                    ELSE 'which owns tables with policies, and can SET ROLE to it' END),
           format('REVOKE %I FROM %I;', o.rolname, r.rolname)
      FROM app_roles AS r, pg_roles AS o
     WHERE NOT r.rolsuper AND r.oid <> o.oid AND pg_has_role(r.oid, o.oid, 'MEMBER')
       AND (o.rolsuper OR o.rolbypassrls
            OR o.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                             'pg_execute_server_program')
            OR (NOT pg_has_role(r.oid, o.oid, 'USAGE')
                AND EXISTS (SELECT FROM tables AS t WHERE t.has_rls AND t.relowner = o.oid)))
),
-- Who connects for the application: its roles, and those that can become them.
logins AS (
    SELECT l.oid, l.rolname, r.oid AS app_role FROM pg_roles AS l, app_roles AS r
     WHERE l.rolcanlogin AND NOT l.rolsuper AND pg_has_role(l.oid, r.oid, 'MEMBER')
),
-- The server's list of libraries, where the caller may see it and statements are logged.
server AS (
    SELECT s.setting AS libraries,
           (SELECT p.setting FROM pg_settings AS p WHERE p.name = 'shared_preload_libraries') AS shared_libraries
      FROM pg_settings AS s
     WHERE s.name = 'session_preload_libraries'
       AND (current_setting('log_statement') <> 'none' OR current_setting('log_min_duration_statement')::text <> '-1')
),
library_loaded_late AS (
    SELECT DISTINCT 'warning', 'library_loaded_late', 'pg_authid'::regclass, l.oid, format('role %I', l.rolname),
           'Statements are logged here, and the library hides tokens in them only once it is loaded, which is at '
               || 'a connection''s first use of it.',
           format('ALTER ROLE %I IN DATABASE %I SET session_preload_libraries = ''pg_auth_jwt'';', l.rolname, current_database())
      FROM server, logins AS l
     WHERE server.shared_libraries !~ '\mpg_auth_jwt\M'
       AND coalesce((SELECT regexp_replace(c.setting, '^[^=]*=', '')
                       FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.datname = current_database(), unnest(s.setconfig) AS c (setting)
                      WHERE s.setrole IN (l.oid, 0) AND s.setdatabase IN (d.oid, 0)
                        AND c.setting ~ '^session_preload_libraries='
                      ORDER BY s.setrole <> 0 AND s.setdatabase <> 0 DESC, s.setrole <> 0 DESC, s.setdatabase <> 0 DESC
                      LIMIT 1), server.libraries) !~ '\mpg_auth_jwt\M'
),
-- 4. Policies.
functions AS (
    SELECT p.oid, p.oid::regprocedure::text AS signature, p.proname, p.pronamespace, p.pronargs,
           p.provolatile = 'i' AS is_immutable,
           p.prosrc ~* '\mcurrent_setting\s*\(' OR coalesce(p.prosqlbody::text, '') ~ format(':funcid (%s|%s) ',
               'pg_catalog.current_setting(text)'::regprocedure::oid,
               'pg_catalog.current_setting(text, boolean)'::regprocedure::oid) AS reads_setting,
           p.prosrc ~* '\mauth\s*\.' OR EXISTS (
               SELECT FROM calls AS c WHERE c.classid = 'pg_proc'::regclass AND c.objid = p.oid
                  AND c.function IN (SELECT o.oid FROM our_functions AS o)) AS calls_ours,
           p.proname IN (SELECT f.name FROM claim_functions AS f) AND p.pronargs = 0 AS is_named_like_ours
      FROM pg_proc AS p
     WHERE p.oid IN (SELECT c.function FROM calls AS c) AND p.oid NOT IN (SELECT o.oid FROM our_functions AS o)
),
-- Functions that look like those of a schema "auth" that was renamed.
old_functions AS (SELECT * FROM functions WHERE is_named_like_ours AND NOT calls_ours),
old_claim_functions AS (
    SELECT CASE WHEN c.classid = 'pg_policy'::regclass THEN 'error' ELSE 'warning' END, 'old_claim_functions', o.classid, o.objid,
           o.name, format('It calls %s, which is not a function of pg_auth_jwt%s.', f.signature,
               CASE WHEN f.reads_setting THEN ' and believes a setting that every user can set' ELSE '' END),
           CASE WHEN c.classid = 'pg_policy'::regclass
                THEN format('ALTER POLICY %I ON %s USING (...); -- with auth.%I() in its place', o.part, o.whole, f.proname)
                WHEN c.classid = 'pg_attrdef'::regclass
                THEN format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT auth.%I();', o.whole, o.part, f.proname)
                ELSE format('CREATE OR REPLACE VIEW %s AS ...; -- with auth.%I() in its place', o.whole, f.proname) END
      FROM calls AS c JOIN old_functions AS f ON f.oid = c.function,
           LATERAL (
               SELECT 'pg_policy'::regclass, p.oid, p.name, p.table_name, p.polname
                 FROM policies AS p WHERE c.classid = 'pg_policy'::regclass AND p.oid = c.objid
               UNION ALL
               SELECT 'pg_class'::regclass, t.oid, format('default of column %I of %s', a.attname, t.name), t.name, a.attname
                 FROM pg_attrdef AS d JOIN tables AS t ON t.oid = d.adrelid
                 JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                WHERE c.classid = 'pg_attrdef'::regclass AND d.oid = c.objid
               UNION ALL
               SELECT 'pg_class'::regclass, v.oid, format('view %s', v.name), v.name, ''
                 FROM pg_rewrite AS r JOIN relations AS v ON v.oid = r.ev_class
                WHERE c.classid = 'pg_rewrite'::regclass AND r.oid = c.objid AND v.relkind IN ('v', 'm')
           ) AS o (classid, objid, name, whole, part)
),
policy_reads_setting AS (
    SELECT 'error', 'policy_reads_setting', 'pg_policy'::regclass, p.oid, p.name,
           format('It believes %s, which every user can set to anything.',
               coalesce('the setting ' || s.name, 'a setting whose name is computed')),
           format('ALTER POLICY %I ON %s USING (...); -- with a claim function, such as auth.user_id(), in place of current_setting()',
               p.polname, p.table_name)
      FROM policies AS p,
           LATERAL (SELECT string_agg(DISTINCT m[1], ', ') AS name, count(*) AS found,
                           bool_or(m[1] LIKE '%.%' OR m[1] = 'application_name') AS is_free
                      FROM regexp_matches(p.passes || ' ' || p.checks, '\mcurrent_setting\(''([^'']+)''', 'g') AS m) AS s
     WHERE p.reads_setting
       -- One whose name is not written there may be any.
       AND (s.is_free OR s.found < (SELECT count(*) FROM regexp_matches(p.passes || ' ' || p.checks, '\mcurrent_setting\(', 'g')))
    UNION ALL
    SELECT 'error', 'policy_reads_setting', 'pg_policy'::regclass, p.oid, p.name,
           format('It calls %s, which believes a setting that every user can set to anything.', f.signature),
           format('ALTER POLICY %I ON %s USING (...); -- with a claim function, such as auth.user_id(), in its place', p.polname, p.table_name)
      FROM policies AS p JOIN calls AS c ON c.classid = 'pg_policy'::regclass AND c.objid = p.oid
      JOIN functions AS f ON f.oid = c.function
     WHERE f.reads_setting AND f.oid NOT IN (SELECT o.oid FROM old_functions AS o)
       AND NOT EXISTS (SELECT FROM extension_members AS e WHERE e.classid = 'pg_proc'::regclass AND e.objid = f.oid)
),
-- The planner calls an IMMUTABLE function once and writes its result into the plan.
immutable_claims AS (
    SELECT DISTINCT 'error', 'immutable_claims', 'pg_proc'::regclass, f.oid, format('function %s', f.signature),
           'It is IMMUTABLE and calls a function of pg_auth_jwt, so a plan that is kept (a prepared statement, PL/pgSQL) '
               || 'has the claims of the user for whom it was made, and shows their rows to everyone after them.',
           format('ALTER FUNCTION %s STABLE;', f.signature)
      FROM calls AS c JOIN functions AS f ON f.oid = c.function
     WHERE f.is_immutable AND f.calls_ours AND c.classid IN ('pg_policy'::regclass, 'pg_rewrite'::regclass)
       AND NOT EXISTS (SELECT FROM extension_members AS e WHERE e.classid = 'pg_proc'::regclass AND e.objid = f.oid)
),
policy_always_true AS (
    SELECT 'warning', 'policy_always_true', 'pg_policy'::regclass, p.oid, p.name,
           format('It lets role %s %s any row.', string_agg(DISTINCT quote_ident(r.rolname), ', '),
               CASE p.polcmd WHEN 'a' THEN 'insert' WHEN 'd' THEN 'delete' ELSE 'change' END),
           format('ALTER POLICY %I ON %s %s (...); -- with the condition that is meant', p.polname, p.table_name,
               CASE WHEN p.passes = 'true' THEN 'USING' ELSE 'WITH CHECK' END)
      FROM policies AS p JOIN tables AS t ON t.oid = p.polrelid
      JOIN reach AS r ON r.relation = t.oid AND r.can_write AND NOT r.is_owner
       AND EXISTS (SELECT FROM unnest(p.polroles) AS named (role) WHERE named.role = 0 OR pg_has_role(r.role, named.role, 'USAGE'))
     WHERE p.polpermissive AND p.polcmd <> 'r' AND t.has_rls
       AND (p.passes = 'true' OR (p.passes = '' AND p.checks = 'true'))
       AND NOT EXISTS (SELECT FROM policies AS q WHERE q.polrelid = p.polrelid AND NOT q.polpermissive)
     GROUP BY p.oid, p.name, p.polname, p.table_name, p.polcmd, p.passes
),
policy_for_no_login AS (
    SELECT 'warning', 'policy_for_no_login', 'pg_policy'::regclass, p.oid, p.name,
           format('No role that can log in is, or can become, %s.',
               (SELECT string_agg(quote_ident(r.rolname), ' or ' ORDER BY r.rolname) FROM pg_roles AS r WHERE r.oid = ANY (p.polroles))),
           format('GRANT %s TO application; -- the role that the application logs in as',
               (SELECT min(quote_ident(r.rolname)) FROM pg_roles AS r WHERE r.oid = ANY (p.polroles)))
      FROM policies AS p
     WHERE NOT 0 = ANY (p.polroles)
       AND NOT EXISTS (
           SELECT FROM unnest(p.polroles) AS named (role), pg_roles AS l
            WHERE l.rolcanlogin AND (NOT l.rolsuper OR l.oid = named.role) AND pg_has_role(l.oid, named.role, 'MEMBER'))
),
-- A column that a policy compares with a claim, as `owner = auth.user_id()` or `(SELECT
-- auth.session() ->> 'x') = x`: in the text, where Postgres writes our functions qualified.
missing_index AS (
    SELECT 'info', 'missing_index', 'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Policy %s compares column %I with a claim, and no index begins with it: each query reads all %s rows or so.',
               string_agg(quote_ident(p.polname), ', ' ORDER BY p.polname), a.attname, round(t.reltuples)),
           format('CREATE INDEX CONCURRENTLY ON %s (%I);', t.name, a.attname)
      FROM tables AS t JOIN policies AS p ON p.polrelid = t.oid
      JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped,
           LATERAL (SELECT '([[:alnum:]_"]+\.)?' || regexp_replace(quote_ident(a.attname), '([.*+?()|\[\]{}^$\\])', '\\\1', 'g'),
                           'auth\.(' || (SELECT string_agg(f.name, '|') FROM claim_functions AS f) || ')\(\)') AS e (its_column, claim)
     WHERE t.relkind IN ('r', 'p') AND t.has_rls AND p.polcmd <> 'a' AND t.reltuples >= 10000
       AND (p.passes ~ ('(^|[^[:alnum:]_".])' || e.its_column || ' = \(*(\s*SELECT \(*)?' || e.claim)
            OR p.passes ~ (e.claim || '( ->>? ''[^'']*''(::text)?)?\)*( AS [[:alnum:]_"?]+\)+)?(::[a-z ]+)? = ' || e.its_column || '(\)|\s|$)'))
       AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indkey[0] = a.attnum)
     GROUP BY t.oid, t.name, t.reltuples, a.attname
),
-- 5. Ways around policies.
view_reads AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation,
           EXISTS (SELECT FROM calls AS c WHERE c.classid = 'pg_rewrite'::regclass AND c.objid = r.oid
                      AND c.function IN (SELECT o.oid FROM our_functions AS o)) AS uses_claims
      FROM pg_rewrite AS r
      JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
     WHERE r.rulename = '_RETURN' AND d.refobjid <> r.ev_class
),
-- From each view that an application role may read (`top`) down to the tables. A table is read with
-- the rights of the owner of `as_of`: the last view on the way that is not security_invoker, or the
-- materialized view, which was filled with the rights of its owner.
readings (top, relation, as_of) AS (
    SELECT v.oid, v.oid, CASE WHEN v.relkind = 'm' OR NOT v.is_invoker THEN v.oid END
      FROM relations AS v
     WHERE v.relkind IN ('v', 'm') AND EXISTS (SELECT FROM reach AS r WHERE r.relation = v.oid AND r.can_read)
    UNION
    SELECT s.top, d.relation, CASE WHEN a.relkind = 'm' OR coalesce(v.relkind NOT IN ('v', 'm') OR v.is_invoker, true) THEN s.as_of ELSE v.oid END
      FROM readings AS s JOIN view_reads AS d ON d.view = s.relation
      LEFT JOIN relations AS v ON v.oid = d.relation
      LEFT JOIN relations AS a ON a.oid = s.as_of
),
guarded_readings AS (
    SELECT v.oid, v.name, v.relkind, o.rolname AS owner, string_agg(DISTINCT t.name, ', ') AS table_names,
           array_agg(DISTINCT s.top) AS tops,
           EXISTS (SELECT FROM view_reads AS d WHERE d.view = v.oid AND d.uses_claims) AS uses_claims
      FROM readings AS s JOIN relations AS v ON v.oid = s.as_of JOIN pg_roles AS o ON o.oid = v.relowner
      JOIN tables AS t ON t.oid = s.relation
     WHERE t.has_rls
       AND (v.relkind = 'm' OR o.rolsuper OR o.rolbypassrls OR (NOT t.is_forced AND pg_has_role(o.oid, t.relowner, 'USAGE')))
     GROUP BY v.oid, v.name, v.relkind, o.rolname
),
view_bypasses_rls AS (
    SELECT CASE WHEN g.uses_claims THEN 'info' ELSE 'error' END, 'view_bypasses_rls', 'pg_class'::regclass, g.oid, format('view %s', g.name),
           format('It reads %s with the rights of its owner, %I, to whom no policy applies.', g.table_names, g.owner),
           format('ALTER VIEW %s SET (security_invoker = true);', g.name)
      FROM guarded_readings AS g WHERE g.relkind = 'v'
),
materialized_view AS (
    SELECT 'warning', 'materialized_view', 'pg_class'::regclass, g.oid, format('materialized view %s', g.name),
           format('It keeps rows of %s, and row-level security does not apply to a materialized view.', g.table_names),
           format('REVOKE ALL ON %s FROM %s;',
               (SELECT string_agg(v.name, ', ' ORDER BY v.name) FROM relations AS v WHERE v.oid = ANY (g.tops)),
               (SELECT string_agg(DISTINCT quote_ident(r.rolname), ', ') FROM reach AS r WHERE r.relation = ANY (g.tops) AND r.can_read))
      FROM guarded_readings AS g WHERE g.relkind = 'm'
),
definer_search_path AS (
    SELECT 'warning', 'definer_search_path', 'pg_proc'::regclass, p.oid, format('function %s', p.oid::regprocedure),
           format('It is SECURITY DEFINER without a search_path of its own, so its caller (%s) chooses whose tables and functions it uses.',
               (SELECT min(quote_ident(r.rolname)) FROM app_roles AS r
                 WHERE has_function_privilege(r.oid, p.oid, 'EXECUTE') AND has_schema_privilege(r.oid, p.pronamespace, 'USAGE'))),
           format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp;', p.oid::regprocedure, n.nspname)
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
     WHERE p.prosecdef AND p.prosqlbody IS NULL AND l.lanname NOT IN ('c', 'internal') AND n.nspname !~ '^pg_'
       AND p.prorettype <> 'event_trigger'::regtype AND p.prokind <> 'p'
       AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c (setting) WHERE c.setting LIKE 'search\_path=%')
       AND NOT EXISTS (SELECT FROM extension_members AS e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)
       AND EXISTS (SELECT FROM app_roles AS r
                    WHERE NOT r.rolsuper AND r.oid <> p.proowner AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
                      AND has_schema_privilege(r.oid, p.pronamespace, 'USAGE'))
),
-- 6. The extension itself.
key_tables AS (
    SELECT c.oid, c.oid::regclass::text AS name, c.relowner, c.relacl
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r'
       AND (n.nspname = 'auth' AND c.relname IN ('issuers', 'jwks')
            -- Those that auth.follow() reads keys from.
            OR (n.nspname, c.relname) IN (SELECT i.source ->> 'schema', i.source ->> 'table' FROM issuers AS i))
),
key_privilege AS (
    -- Whatever the way: a grant to the role, to one that it is a member of, or to PUBLIC.
    SELECT 'error', 'key_privilege', 'pg_authid'::regclass, r.oid, format('role %I', r.rolname),
           format('It may write %s, and so make a key and be every user.', string_agg(k.name, ' and ' ORDER BY k.name)),
           format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %I, PUBLIC; -- and from the roles that it is a member of',
               string_agg(k.name, ', ' ORDER BY k.name), r.rolname)
      FROM app_roles AS r, key_tables AS k
     WHERE NOT r.rolsuper
       AND (has_table_privilege(r.oid, k.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
            OR has_any_column_privilege(r.oid, k.oid, 'INSERT, UPDATE'))
     GROUP BY r.oid, r.rolname
    UNION ALL
    SELECT CASE a.grantee WHEN 0 THEN 'error' ELSE 'info' END, 'key_privilege', 'pg_authid'::regclass, a.grantee,
           format('role %s', coalesce(quote_ident(g.rolname), 'PUBLIC')),
           format('It has %s on %s, and so can make a key and be every user.', string_agg(DISTINCT a.privilege_type, ', '), k.name),
           format('REVOKE %s ON %s FROM %s;', string_agg(DISTINCT a.privilege_type, ', '), k.name, coalesce(quote_ident(g.rolname), 'PUBLIC'))
      FROM key_tables AS k CROSS JOIN aclexplode(k.relacl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
     WHERE a.grantee <> k.relowner AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
       AND a.grantee NOT IN (SELECT r.oid FROM app_roles AS r)
       AND a.grantee NOT IN (SELECT e.extowner FROM pg_extension AS e WHERE e.extname = 'pg_auth_jwt')
       AND NOT coalesce(g.rolsuper, false)
     GROUP BY a.grantee, g.rolname, k.name
    UNION ALL
    SELECT 'error', 'key_privilege', 'pg_authid'::regclass, r.oid, format('role %I', r.rolname),
           'It may read auth.jwks, which holds shared secrets, and so sign as any user.',
           format('REVOKE SELECT ON auth.jwks FROM %I, PUBLIC; -- and from the roles that it is a member of', r.rolname)
      FROM app_roles AS r, key_tables AS k
     WHERE NOT r.rolsuper AND k.name = 'auth.jwks' AND has_column_privilege(r.oid, k.oid, 'jwk', 'SELECT')
       AND EXISTS (SELECT FROM auth.jwks AS j WHERE j.jwk ->> 'kty' = 'oct')
    UNION ALL
    SELECT 'error', 'key_privilege', 'pg_namespace'::regclass, n.oid, 'schema auth',
           format('Role %s may create objects in it.', coalesce(quote_ident(g.rolname), 'PUBLIC')),
           format('REVOKE CREATE ON SCHEMA auth FROM %s;', coalesce(quote_ident(g.rolname), 'PUBLIC'))
      FROM pg_namespace AS n CROSS JOIN aclexplode(n.nspacl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
     WHERE n.nspname = 'auth' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner AND NOT coalesce(g.rolsuper, false)
),
claim_function_replaced AS (
    SELECT 'error', 'claim_function_replaced', 'pg_proc'::regclass, p.oid, format('function auth.%I()', f.name),
           CASE WHEN p.oid IS NULL THEN 'It is missing.'
                WHEN NOT s.is_ours THEN 'It does not run the code of pg_auth_jwt, so its answer is not what a token was verified to say.'
                WHEN NOT s.is_member THEN 'It does not belong to the extension, so DROP EXTENSION and an update leave it as it is.'
                WHEN p.provolatile = 'i' THEN 'It is IMMUTABLE, so a plan that is kept has the claims of the user for whom it was made, and shows '
                         || 'their rows to everyone after them.'
                ELSE format('It belongs to %s, who is no superuser and can replace it.', p.proowner::regrole) END,
           CASE WHEN p.oid IS NULL OR NOT s.is_ours
                THEN format('CREATE OR REPLACE FUNCTION auth.%I() RETURNS %s LANGUAGE c STABLE PARALLEL SAFE AS ''$libdir/pg_auth_jwt'', %L;',
                         f.name, f.type, f.symbol)
                WHEN NOT s.is_member THEN format('ALTER EXTENSION pg_auth_jwt ADD FUNCTION auth.%I();', f.name)
                WHEN p.provolatile = 'i' THEN format('ALTER FUNCTION auth.%I() STABLE;', f.name)
                ELSE format('ALTER FUNCTION auth.%I() OWNER TO %I;', f.name, (SELECT r.rolname FROM pg_roles AS r WHERE r.oid = 10)) END
      FROM claim_functions AS f
      LEFT JOIN pg_proc AS p ON p.proname = f.name AND p.pronargs = 0
       AND p.pronamespace = (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = 'auth'),
           LATERAL (SELECT p.prolang = (SELECT l.oid FROM pg_language AS l WHERE l.lanname = 'c')
                           AND p.prosrc = f.symbol AND p.probin ~ '(^|/)pg_auth_jwt$' AS is_ours,
                           EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                                      AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_auth_jwt') AS is_member) AS s
     WHERE p.oid IS NULL OR NOT s.is_ours OR NOT s.is_member OR p.provolatile = 'i'
        OR NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = p.proowner AND r.rolsuper)
),
-- Those that keep withdrawn keys from coming back, and delete an issuer's keys with it, fire for changes
-- by hand, and need not for replicated ones.
key_triggers AS (
    SELECT 'error', CASE t.needs WHEN 'always' THEN 'trigger_not_always' ELSE 'trigger_disabled' END,
           'pg_trigger'::regclass, t.trigger_oid, format('trigger %I on %s', t.trigger_name, t.table_name), t.detail, t.fix
      FROM auth.list_triggers() AS t
     WHERE t.state <> 'good'
),
-- 7. Issuers and their keys.
issuers AS (SELECT i.*, coalesce(i.source ->> 'kind' IN ('url', 'discovery'), false) AS is_fetched FROM auth.issuers AS i WHERE i.enabled),
audience_not_checked AS (
    SELECT 'warning', 'audience_not_checked', NULL::regclass, NULL::oid, format('issuer %s', i.issuer),
           'Its tokens are accepted whatever their aud says, also those that were made for another application.',
           format('UPDATE auth.issuers SET audience = ''{my-app}'' WHERE issuer = %L; -- with the aud of the tokens', i.issuer)
      FROM issuers AS i WHERE i.audience IS NULL
),
any_issuer AS (
    SELECT 'warning', 'any_issuer', NULL::regclass, NULL::oid, 'issuer *',
           'Tokens with any iss, or none, are accepted where its keys signed them, although the other issuers are known by name.',
           'UPDATE auth.issuers SET enabled = false WHERE issuer = ''*'';'
     WHERE EXISTS (SELECT FROM issuers AS i WHERE i.issuer = '*') AND EXISTS (SELECT FROM issuers AS i WHERE i.issuer <> '*')
),
tokens_never_expire AS (
    SELECT 'warning', 'tokens_never_expire', NULL::regclass, NULL::oid, format('issuer %s', i.issuer),
           'A token without exp is accepted, and for ever.',
           format('UPDATE auth.issuers SET required_claims = ''{exp}'' WHERE issuer = %L;', i.issuer)
      FROM issuers AS i WHERE NOT 'exp' = ANY (i.required_claims) AND i.max_age IS NULL
),
-- No real issuer can have a name that ends in .invalid (RFC 6761 section 6.4); the one of
-- examples/dev-issuer has. A dump takes it along from a database for development to another.
development_issuer AS (
    SELECT CASE WHEN d.others THEN 'error' ELSE 'info' END, 'development_issuer', NULL::regclass, NULL::oid, format('issuer %s', d.issuer),
           'Its name ends in .invalid, so it is an issuer for development: who has its private key can sign in as any user'
               || CASE WHEN d.others THEN ', also as the users of the other issuers.' ELSE '.' END,
           format('DELETE FROM auth.issuers WHERE issuer = %L;', d.issuer)
               || CASE WHEN d.others THEN '' ELSE ' -- unless this is a database for development' END
      FROM (SELECT i.issuer, EXISTS (SELECT FROM issuers AS o WHERE o.issuer !~* '^https?://([^/]*[.])?invalid[.]?(:|/|$)') AS others
              FROM issuers AS i WHERE i.issuer ~* '^https?://([^/]*[.])?invalid[.]?(:|/|$)') AS d
),
-- Each key that can be used: of issuers whose keys are rows of auth.jwks, and of those that are
-- followed in a table.
usable_keys AS (
    SELECT i.issuer, k.expires_at AS until, k.jwk ->> 'kty' = 'oct' AS is_secret
      FROM issuers AS i JOIN auth.jwks AS k ON k.issuer = i.issuer
     WHERE i.source IS NULL OR i.is_fetched
    UNION ALL
    SELECT s.issuer, s.valid_until, s.alg ~ 'HS'
      FROM issuers AS i JOIN auth.key_status AS s ON s.issuer = i.issuer
     WHERE i.source IS NOT NULL AND NOT i.is_fetched AND s.alg IS NOT NULL AND s.state <> 'missing'
),
keys AS (
    SELECT i.issuer, i.source IS NOT NULL AS is_followed, count(k.issuer) AS number,
           count(k.issuer) FILTER (WHERE k.until IS NULL) AS endless, max(k.until) AS until,
           count(k.issuer) FILTER (WHERE k.is_secret) AS secrets,
           CASE WHEN i.source IS NULL THEN format('SELECT auth.init(''{"keys": [...]}'', issuer => %L); -- with its JWKS', i.issuer)
                ELSE format('SELECT * FROM auth.key_status WHERE issuer = %L; -- what there is of them', i.issuer) END AS fix
      FROM issuers AS i LEFT JOIN usable_keys AS k ON k.issuer = i.issuer
     GROUP BY i.issuer, i.source
),
no_keys AS (
    SELECT 'warning', 'no_keys', NULL::regclass, NULL::oid, format('issuer %s', k.issuer),
           'It has no key, so each of its tokens is refused with 28J03.', k.fix
      FROM keys AS k WHERE k.number = 0
       AND NOT EXISTS (SELECT FROM sources AS s WHERE s.issuer = k.issuer AND s.state IN ('missing', 'stale'))
),
keys_expire AS (
    SELECT CASE WHEN k.until <= now() THEN 'error' ELSE 'warning' END, 'keys_expire', NULL::regclass, NULL::oid, format('issuer %s', k.issuer),
           CASE WHEN k.until <= now() THEN format('Its last key ran out at %s, so each of its tokens is refused with 28J03.', k.until)
                ELSE format('Its last key runs out at %s, and none comes after it.', k.until) END, k.fix
      FROM keys AS k WHERE k.number > 0 AND k.endless = 0 AND k.until <= now() + interval '7 days'
),
-- 8. Where keys come from, if not from auth.jwks. A further kind of source has its codes here.
sources AS (
    SELECT i.issuer, i.audience, i.is_fetched, s.source AS name, min(s.state) AS state, min(s.last_error) AS remark,
           max(s.failures) AS failures, min(s.next_attempt) AS next_attempt
      FROM issuers AS i JOIN auth.key_status AS s ON s.issuer = i.issuer
     WHERE i.source IS NOT NULL
     GROUP BY i.issuer, i.audience, i.is_fetched, s.source
),
source_missing AS (
    SELECT 'error', 'source_missing', NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           coalesce(s.remark, 'Its source is missing.') || ' Each of its tokens is refused with 28J03.',
           format('SELECT auth.follow(%L, issuer => %L, audience => %L);', s.name, s.issuer, s.audience)
      FROM sources AS s WHERE s.state = 'missing' AND NOT s.is_fetched
),
source_polled AS (
    SELECT 'info', 'source_polled', NULL::regclass, NULL::oid, format('issuer %s', s.issuer), s.remark,
           format('SELECT auth.follow(%L, issuer => %L, audience => %L); -- as a role that may add triggers to the table', s.name, s.issuer, s.audience)
      FROM sources AS s WHERE s.state = 'polled'
),
keys_not_fetched AS (
    SELECT 'error', 'keys_not_fetched', NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           s.remark || ' Each of its tokens is refused with 28J03.',
           format('SELECT * FROM auth.refresh(%L); -- fetches them, or says why not', s.issuer)
      FROM sources AS s WHERE s.is_fetched AND s.state IN ('missing', 'stale')
),
-- By the first words of what auth.key_status says (Seen::remark in src/trust/endpoint/state.rs); what an endpoint says, or a
-- key's id, is never first.
fetch_not_allowed AS (
    SELECT 'warning', 'fetch_not_allowed', NULL::regclass, NULL::oid, format('issuer %s', s.issuer), s.remark,
           'LOAD ''pg_auth_jwt''; ALTER SYSTEM SET pg_auth_jwt.fetch_hosts = ''...''; SELECT pg_reload_conf(); -- as a superuser, with the host of ' || s.name
      FROM sources AS s WHERE s.is_fetched AND s.state = 'live' AND s.remark LIKE 'Nothing is fetched: %'
),
fetch_overdue AS (
    SELECT CASE WHEN s.remark LIKE 'The launcher %' THEN 'warning' ELSE 'info' END, 'fetch_overdue', NULL::regclass, NULL::oid,
           format('issuer %s', s.issuer), s.remark || format(' It was due at %s.', s.next_attempt),
           format('SELECT * FROM auth.refresh(%L); -- fetches the keys, or says why not', s.issuer)
      FROM sources AS s
     WHERE s.is_fetched AND s.state = 'live' AND s.remark LIKE ANY ('{The launcher has not begun %,A fetch is due and has not begun: %}')
),
fetch_failing AS (
    SELECT 'warning', 'fetch_failing', NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           format('The last %s fetches failed. ', s.failures) || s.remark,
           format('SELECT * FROM auth.refresh(%L); -- tries once more', s.issuer)
      FROM sources AS s WHERE s.is_fetched AND s.state = 'live' AND s.failures > 0 AND s.remark NOT LIKE 'Nothing is fetched: %'
),
shared_secret AS (
    SELECT 'warning', 'shared_secret', NULL::regclass, NULL::oid, format('issuer %s', k.issuer),
           'It has a shared secret: who can read it in the table of its keys, a dump or a replica can sign as any of its users.',
           CASE WHEN k.is_followed THEN format('UPDATE auth.issuers SET algorithms = NULL WHERE issuer = %L;', k.issuer)
                ELSE format('DELETE FROM auth.jwks WHERE issuer = %L AND jwk ->> ''kty'' = ''oct'';', k.issuer) END
               || ' -- once it signs with an asymmetric key'
      FROM keys AS k WHERE k.secrets > 0
),
findings (level, code, classid, objid, object, detail, fix) AS (
    TABLE rls_disabled UNION ALL TABLE table_without_rls UNION ALL TABLE no_policy UNION ALL TABLE privilege_beyond_rls
    UNION ALL TABLE role_owns_table UNION ALL TABLE role_bypasses_rls UNION ALL TABLE role_can_switch
    UNION ALL TABLE library_loaded_late UNION ALL TABLE old_claim_functions UNION ALL TABLE policy_reads_setting
    UNION ALL TABLE immutable_claims UNION ALL TABLE policy_always_true UNION ALL TABLE policy_for_no_login UNION ALL TABLE missing_index
    UNION ALL TABLE view_bypasses_rls UNION ALL TABLE materialized_view UNION ALL TABLE definer_search_path
    UNION ALL TABLE key_privilege UNION ALL TABLE claim_function_replaced UNION ALL TABLE key_triggers
    UNION ALL TABLE audience_not_checked UNION ALL TABLE any_issuer UNION ALL TABLE tokens_never_expire
    UNION ALL TABLE development_issuer
    UNION ALL TABLE no_keys UNION ALL TABLE keys_expire UNION ALL TABLE shared_secret
    UNION ALL TABLE source_missing UNION ALL TABLE source_polled
    UNION ALL TABLE keys_not_fetched UNION ALL TABLE fetch_not_allowed UNION ALL TABLE fetch_overdue UNION ALL TABLE fetch_failing
),
-- 9. What the owners ignore on purpose.
database_comment AS (
    SELECT coalesce(shobj_description(d.oid, 'pg_database'), '') AS text FROM pg_database AS d WHERE d.datname = current_database()
)
SELECT f.level, f.code, f.object, f.detail, f.fix
  FROM findings AS f, database_comment AS d
 WHERE NOT coalesce(
           CASE WHEN f.classid = 'pg_authid'::regclass THEN shobj_description(f.objid, 'pg_authid')
                ELSE obj_description(f.objid, (SELECT c.relname FROM pg_class AS c WHERE c.oid = f.classid)) END,
           '') ~ ('\mpg_auth_jwt: ignore ' || f.code || '\M')
   AND NOT EXISTS (
       SELECT FROM regexp_split_to_table(d.text, '\s*\n\s*') AS line
        WHERE line IN ('pg_auth_jwt: ignore ' || f.code, 'pg_auth_jwt: ignore ' || f.code || ' of ' || f.object))
 ORDER BY array_position('{error,warning,info}'::text[], f.level), f.code, f.object, f.detail
$lint$;
COMMENT ON FUNCTION auth.lint() IS
    'what is wrong, or likely to be, with how row-level security is set up, and the statement that corrects it';
