-- Lists mistakes in the set-up of row-level security, certain and likely ones. Postgres itself keeps
-- silent about them, because they show all rows or none without an error.
--
-- It runs with its caller's rights, and reads the catalogs, which everyone may, and the two key
-- tables. It says nothing about objects that the caller may not see. With this search_path every
-- name that is not qualified, operators too, is one of pg_catalog: pg_temp is searched last for
-- tables, and never for functions and operators. Not BEGIN ATOMIC, which pg_upgrade would have to
-- parse with the catalogs of the next version.
CREATE FUNCTION auth.lint()
    RETURNS TABLE (level text, code text, object text, detail text, fix text)
    LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10 COST 100000
    SET search_path = pg_catalog, pg_temp
    -- Names are compared as Postgres writes them.
    SET quote_all_identifiers = off
    -- Compiling so long a query takes seconds, and running it milliseconds.
    SET jit = off
    -- The regular expressions below have backslashes.
    SET standard_conforming_strings = on
    AS $lint$
WITH RECURSIVE
-- 1. Relations, functions, policies and roles that the rest looks at.
extension_members AS (
    SELECT d.classid, d.objid FROM pg_depend AS d
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
),
relations AS (
    SELECT c.oid, c.relname, c.oid::regclass::text AS name, c.relkind, c.relowner, c.relacl, c.reltuples,
           c.relnamespace, c.relrowsecurity AS has_rls, c.relforcerowsecurity AS is_forced,
           coalesce((SELECT o.option_value::boolean FROM pg_options_to_table(c.reloptions) AS o
                      WHERE o.option_name = 'security_invoker'), false) AS is_invoker
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM extension_members AS e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
),
tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p', 'f')),
-- Claim functions, with their symbols in the library.
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
-- A call of current_setting() in a node tree: found by the node, because a text may have the name in a string.
setting_node (node) AS (
    SELECT format(':funcid (%s|%s) ', 'pg_catalog.current_setting(text)'::regprocedure::oid,
               'pg_catalog.current_setting(text, boolean)'::regprocedure::oid)
),
-- Functions that somebody here wrote, those of schema auth too, with their text. Functions of extensions and
-- in C have none, and are not looked into.
functions AS (
    SELECT p.oid, p.oid::regprocedure::text AS signature, p.proname, p.pronamespace, n.nspname, p.pronargs, p.prokind, p.prosecdef,
           p.proowner, p.prorettype, p.provolatile = 'i' AS is_immutable, l.lanname AS language, m.is_member,
           (SELECT substr(c.setting, 13) FROM unnest(p.proconfig) AS c (setting) WHERE c.setting LIKE 'search\_path=%') AS search_path,
           p.prosqlbody IS NOT NULL AS is_bound,
           p.prosqlbody IS NULL OR p.prosqlbody::text || coalesce(p.proargdefaults::text, '') ~ k.node AS may_read_setting,
           CASE WHEN m.is_member OR l.lanname IN ('c', 'internal') THEN ''
                ELSE CASE WHEN p.prosqlbody IS NULL THEN p.prosrc ELSE pg_get_function_sqlbody(p.oid) END
                     || CASE WHEN p.proargdefaults IS NULL THEN '' ELSE ' ' || pg_get_function_arguments(p.oid) END END AS body
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang, setting_node AS k,
           LATERAL (SELECT EXISTS (SELECT FROM extension_members AS e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)) AS m (is_member)
     -- Those of Postgres itself have lower numbers (FirstNormalObjectId).
     WHERE p.oid >= 16384
),
-- The names in these texts, each with the schema before it, and whether a parenthesis follows.
words AS MATERIALIZED (
    SELECT DISTINCT f.oid AS function, w.schema, w.name, w.is_call
      FROM functions AS f,
           regexp_matches(f.body, '(?:([[:alpha:]_][[:alnum:]_$]*|"(?:[^"]|"")+")\s*\.\s*)?([[:alpha:]_][[:alnum:]_$]*|"(?:[^"]|"")+")\s*(\()?', 'g') AS m,
           LATERAL (SELECT CASE WHEN m[1] LIKE '"%' THEN replace(substr(m[1], 2, length(m[1]) - 2), '""', '"') ELSE lower(m[1]) END,
                           CASE WHEN m[2] LIKE '"%' THEN replace(substr(m[2], 2, length(m[2]) - 2), '""', '"') ELSE lower(m[2]) END,
                           m[3] IS NOT NULL) AS w (schema, name, is_call)
     WHERE NOT f.is_bound AND f.body <> ''
),
-- Functions, those behind operators too, and relations that a policy, a default, a view or a function uses: by the
-- catalogs, and for a body that is a string by the names in it.
uses AS MATERIALIZED (
    SELECT CASE d.classid WHEN 'pg_rewrite'::regclass THEN 'pg_class'::regclass::oid ELSE d.classid END AS classid,
           coalesce(r.ev_class, d.objid) AS objid,
           CASE d.refclassid WHEN 'pg_operator'::regclass THEN 'pg_proc'::regclass::oid ELSE d.refclassid END AS refclassid,
           coalesce(o.oprcode::oid, d.refobjid) AS refobjid
      FROM pg_depend AS d
      LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
      LEFT JOIN pg_operator AS o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
     WHERE d.classid IN ('pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_rewrite'::regclass, 'pg_proc'::regclass)
       AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass)
       AND (d.classid <> 'pg_rewrite'::regclass OR r.rulename = '_RETURN')
    UNION
    SELECT 'pg_proc'::regclass, w.function, 'pg_proc'::regclass, f.oid
      FROM words AS w JOIN functions AS f ON f.proname = w.name JOIN functions AS caller ON caller.oid = w.function
     WHERE w.is_call AND (w.schema = f.nspname OR (w.schema IS NULL AND (f.nspname <> 'auth' OR caller.search_path ~ '\mauth\M')))
    UNION
    SELECT 'pg_proc'::regclass, w.function, 'pg_class'::regclass, t.oid
      FROM words AS w JOIN relations AS t ON t.relname = w.name JOIN pg_namespace AS n ON n.oid = t.relnamespace
     WHERE w.schema IS NULL OR w.schema = n.nspname
),
calls AS (SELECT u.classid, u.objid, u.refobjid AS function FROM uses AS u WHERE u.refclassid = 'pg_proc'::regclass),
-- Functions and views that ask the extension for the user, directly or through others.
asks (classid, objid) AS (
    SELECT 'pg_proc'::regclass::oid, o.oid FROM our_functions AS o
    UNION
    SELECT u.classid, u.objid FROM asks AS a JOIN uses AS u ON u.refclassid = a.classid AND u.refobjid = a.objid
),
policies AS (
    SELECT p.oid, p.polname, p.polrelid, p.polcmd, p.polpermissive, p.polroles, t.name AS table_name,
           format('policy %I on %s', p.polname, t.name) AS name,
           coalesce(pg_get_expr(p.polqual, p.polrelid), '') AS passes,
           coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') AS checks,
           coalesce(p.polqual::text, '') || coalesce(p.polwithcheck::text, '') ~ k.node AS reads_setting,
           EXISTS (SELECT FROM calls AS c WHERE c.classid = 'pg_policy'::regclass AND c.objid = p.oid) AS calls_function
      FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid, setting_node AS k
),
-- Policies that depend on the user, by whatever means; not those of `USING (true)` and the like.
identity_policies AS (SELECT * FROM policies WHERE reads_setting OR calls_function),
-- Roles of the application: those that such a policy names; if it is for PUBLIC, those that have
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
-- Privileges of these on each relation. Superusers and roles with BYPASSRLS have a check of their
-- own.
reach AS (
    SELECT r.oid AS role, r.rolname, t.oid AS relation,
           has_table_privilege(r.oid, t.oid, 'SELECT') OR has_any_column_privilege(r.oid, t.oid, 'SELECT') AS can_read,
           has_table_privilege(r.oid, t.oid, 'INSERT') OR has_any_column_privilege(r.oid, t.oid, 'INSERT') AS can_insert,
           has_table_privilege(r.oid, t.oid, 'UPDATE') OR has_any_column_privilege(r.oid, t.oid, 'UPDATE') AS can_update,
           has_table_privilege(r.oid, t.oid, 'DELETE') AS can_delete,
           has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE')
               OR has_any_column_privilege(r.oid, t.oid, 'INSERT, UPDATE') AS can_write,
           has_table_privilege(r.oid, t.oid, 'TRUNCATE') AS can_truncate,
           has_table_privilege(r.oid, t.oid, 'TRIGGER') AS can_add_triggers,
           pg_has_role(r.oid, t.relowner, 'USAGE') AS is_owner
      FROM app_roles AS r, relations AS t
     WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND has_schema_privilege(r.oid, t.relnamespace, 'USAGE')
),
-- Privileges on rows among these, with the code of their command in pg_policy.
privileges AS (
    SELECT r.role, r.rolname, r.relation, k.command, k.privilege
      FROM reach AS r,
           LATERAL (VALUES ('r', 'SELECT', r.can_read), ('a', 'INSERT', r.can_insert),
                           ('w', 'UPDATE', r.can_update), ('d', 'DELETE', r.can_delete)) AS k (command, privilege, is_held)
     WHERE k.is_held AND NOT r.is_owner
),
-- Roles that a policy applies to.
policy_roles AS (
    SELECT p.oid AS policy, p.polrelid, p.polcmd, p.polpermissive, p.passes, p.checks, r.role, r.rolname
      FROM policies AS p JOIN reach AS r ON r.relation = p.polrelid
     WHERE NOT r.is_owner
       AND EXISTS (SELECT FROM unnest(p.polroles) AS named (role) WHERE named.role = 0 OR pg_has_role(r.role, named.role, 'USAGE'))
),
-- Grantees of privileges: a role loses one when it is taken from the role, its groups and PUBLIC.
grants AS (
    SELECT t.oid AS relation, a.grantee, a.privilege_type,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(g.rolname) END AS grantee_name
      FROM (SELECT t.oid, t.relacl AS acl FROM tables AS t
            UNION ALL
            SELECT t.oid, c.attacl FROM tables AS t JOIN pg_attribute AS c ON c.attrelid = t.oid WHERE c.attacl IS NOT NULL) AS t,
           aclexplode(t.acl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
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
-- Partitions and children of tables with policies, which apply to queries of these alone.
descendants (child, parent) AS (
    SELECT i.inhrelid, t.oid FROM pg_inherits AS i JOIN tables AS t ON t.oid = i.inhparent WHERE t.has_rls
    UNION
    SELECT i.inhrelid, d.parent FROM descendants AS d JOIN pg_inherits AS i ON i.inhparent = d.child
),
-- Tables without any policy, and the privileges of roles on all their rows.
unguarded AS (
    SELECT p.relation, p.role, p.rolname, string_agg(p.privilege, ', ' ORDER BY strpos('rawd', p.command)) AS privileges
      FROM privileges AS p JOIN tables AS t ON t.oid = p.relation
     WHERE NOT t.has_rls AND NOT EXISTS (SELECT FROM policies AS o WHERE o.polrelid = t.oid)
     GROUP BY p.relation, p.role, p.rolname
),
table_without_rls AS (
    SELECT CASE WHEN bool_or(u.privileges <> 'SELECT') THEN 'error' ELSE 'warning' END, 'table_without_rls',
           'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Row-level security is not enabled, so all rows are open to %s.', string_agg(u.who, ' and ' ORDER BY u.who)),
           CASE t.relkind WHEN 'f' THEN format('REVOKE ALL ON %s FROM %s;', t.name, string_agg(u.roles, ', ' ORDER BY u.roles))
                ELSE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', t.name) END
      FROM tables AS t
      JOIN (SELECT o.relation, o.privileges, n.roles,
                   format('%s %s (%s)', CASE count(*) WHEN 1 THEN 'role' ELSE 'roles' END, n.roles, o.privileges) AS who
              FROM unguarded AS o,
                   LATERAL (SELECT string_agg(quote_ident(i.rolname), ', ' ORDER BY i.rolname) FROM unguarded AS i
                             WHERE i.relation = o.relation AND i.privileges = o.privileges) AS n (roles)
             GROUP BY o.relation, o.privileges, n.roles) AS u ON u.relation = t.oid
     WHERE NOT EXISTS (SELECT FROM descendants AS d WHERE d.child = t.oid)
     GROUP BY t.oid, t.name, t.relkind
),
-- A row stands for all partitions of a table. Future ones have what default privileges give them.
partition_without_rls AS (
    SELECT 'error', 'partition_without_rls', 'pg_class'::regclass, t.oid, format('table %s', t.name),
           format('Its policies do not apply to queries of its %s, all rows of which are open to %s.',
               CASE cardinality(o.names) WHEN 1 THEN format('partition or child %s', o.names[1])
                    ELSE format('%s partitions or children (%s%s)', cardinality(o.names), array_to_string(o.names[:3], ', '),
                             CASE WHEN cardinality(o.names) > 3 THEN ', ...' ELSE '' END) END,
               o.who),
           format('REVOKE ALL ON %s FROM %s;', array_to_string(o.names, ', '), o.grantees)
               || coalesce((SELECT string_agg(DISTINCT format(' ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE ALL ON TABLES FROM %s;', c.rolname,
                                                  ' IN SCHEMA ' || quote_ident(n.nspname),
                                                  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(g.rolname) END), '')
                              FROM pg_default_acl AS l JOIN pg_roles AS c ON c.oid = l.defaclrole
                              LEFT JOIN pg_namespace AS n ON n.oid = l.defaclnamespace,
                                   aclexplode(l.defaclacl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
                             WHERE l.defaclobjtype = 'r' AND l.defaclnamespace = ANY (o.namespaces || 0::oid)
                               AND a.grantee <> l.defaclrole AND a.grantee = ANY (o.grantee_oids)), '')
               || ' -- and what makes partitions must grant them to nobody'
      FROM tables AS t
      JOIN (SELECT d.parent, array_agg(DISTINCT c.name ORDER BY c.name) AS names, array_agg(DISTINCT c.relnamespace) AS namespaces,
                   string_agg(DISTINCT format('role %I', u.rolname), ', ') AS who,
                   coalesce(string_agg(DISTINCT a.grantee_name, ', '), string_agg(DISTINCT quote_ident(u.rolname), ', ')) AS grantees,
                   array_agg(DISTINCT a.grantee) AS grantee_oids
              FROM descendants AS d JOIN tables AS c ON c.oid = d.child JOIN unguarded AS u ON u.relation = d.child
              LEFT JOIN grants AS a ON a.relation = d.child AND (a.grantee = 0 OR pg_has_role(u.role, a.grantee, 'USAGE'))
             WHERE d.parent NOT IN (SELECT child FROM descendants)
               AND NOT coalesce(obj_description(c.oid, 'pg_class'), '') ~ '\mpg_auth_jwt: ignore partition_without_rls\M'
             GROUP BY d.parent) AS o ON o.parent = t.oid
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
       AND NOT EXISTS (SELECT FROM policies AS p WHERE p.polrelid = t.oid AND p.polpermissive AND p.passes || p.checks <> '')
     GROUP BY t.oid, t.name
),
-- Privileges on tables that have policies, but none for the command and the role.
useless_privileges AS (
    SELECT p.role, p.rolname, p.relation, t.name, p.command, p.privilege,
           EXISTS (SELECT FROM policy_roles AS o WHERE o.polrelid = t.oid AND o.role = p.role AND o.polpermissive) AS is_named
      FROM privileges AS p JOIN tables AS t ON t.oid = p.relation
     WHERE t.has_rls
       AND EXISTS (SELECT FROM policies AS o WHERE o.polrelid = t.oid AND o.polpermissive AND o.passes || o.checks <> '')
       AND NOT EXISTS (SELECT FROM policy_roles AS o WHERE o.polrelid = t.oid AND o.role = p.role AND o.polpermissive AND o.polcmd IN ('*', p.command)
                          AND o.passes || CASE p.command WHEN 'a' THEN o.checks ELSE '' END <> '')
),
-- For a role that other policies of the table are for, one row per table; else one per role, as such grants come for whole schemas.
no_policy_for_command AS (
    SELECT CASE WHEN bool_or(u.command = 'r') THEN 'warning' ELSE 'info' END, 'no_policy_for_command',
           'pg_class'::regclass, u.relation, format('table %s', u.name),
           format('No permissive policy that has an expression is for what these may do: %s.%s', string_agg(u.who, '; ' ORDER BY u.who),
               CASE WHEN bool_or(u.command = 'r') THEN ' Without one for SELECT a role sees nothing, and so finds nothing to UPDATE or DELETE.'
                    ELSE '' END),
           format('CREATE POLICY own_rows ON %s TO %s USING (false); -- with the condition that is meant, or REVOKE the privilege', u.name,
               string_agg(DISTINCT quote_ident(u.rolname), ', '))
      FROM (SELECT i.relation, i.name, i.rolname, CASE WHEN bool_or(i.command = 'r') THEN 'r' END AS command,
                   format('role %I %s', i.rolname, string_agg(i.privilege, ', ' ORDER BY strpos('rawd', i.command))) AS who
              FROM useless_privileges AS i WHERE i.is_named
             GROUP BY i.relation, i.name, i.rolname) AS u
     GROUP BY u.relation, u.name
    UNION ALL
    SELECT 'info', 'no_policy_for_command', 'pg_authid'::regclass, u.role, format('role %I', u.rolname),
           format('It has %s on %s, of which no permissive policy is for it.', string_agg(DISTINCT u.privilege, ', '),
               CASE count(DISTINCT u.relation) WHEN 1 THEN 'table ' || min(u.name)
                    ELSE format('%s tables (%s, ...)', count(DISTINCT u.relation), min(u.name)) END),
           format('REVOKE %s ON %s FROM %I; -- or CREATE POLICY', string_agg(DISTINCT u.privilege, ', '),
               string_agg(DISTINCT u.name, ', '), u.rolname)
      FROM useless_privileges AS u WHERE NOT u.is_named
     GROUP BY u.role, u.rolname
),
privilege_beyond_rls AS (
    SELECT 'error', 'privilege_beyond_rls', 'pg_authid'::regclass, o.role, format('role %I', o.rolname),
           format('It has %s on %s, which no policy restricts: %s.', o.privilege,
               CASE cardinality(o.names) WHEN 1 THEN 'table ' || o.names[1]
                    ELSE format('%s tables (%s%s)', cardinality(o.names), array_to_string(o.names[:3], ', '),
                             CASE WHEN cardinality(o.names) > 3 THEN ', ...' ELSE '' END) END,
               CASE o.privilege WHEN 'TRUNCATE' THEN 'it deletes the rows of all users'
                    ELSE 'a trigger runs with the rights of each role that writes a row' END),
           format('REVOKE %s ON %s FROM %s;', o.privilege, array_to_string(o.names, ', '), o.grantees)
      FROM (SELECT r.role, r.rolname, k.privilege, array_agg(DISTINCT t.name ORDER BY t.name) AS names,
                   coalesce(string_agg(DISTINCT a.grantee_name, ', '), quote_ident(r.rolname)) AS grantees
              FROM tables AS t JOIN reach AS r ON r.relation = t.oid
              JOIN (VALUES ('TRUNCATE'), ('TRIGGER')) AS k (privilege)
                ON CASE k.privilege WHEN 'TRUNCATE' THEN r.can_truncate ELSE r.can_add_triggers END
              LEFT JOIN grants AS a ON a.relation = t.oid AND a.privilege_type = k.privilege
               AND (a.grantee = 0 OR pg_has_role(r.role, a.grantee, 'USAGE'))
             WHERE t.has_rls AND NOT r.is_owner
               AND NOT coalesce(obj_description(t.oid, 'pg_class'), '') ~ '\mpg_auth_jwt: ignore privilege_beyond_rls\M'
             GROUP BY r.role, r.rolname, k.privilege) AS o
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
-- Roles that connect for the application: its own, and those that can become them.
logins AS (
    SELECT l.oid, l.rolname, r.oid AS app_role FROM pg_roles AS l, app_roles AS r
     WHERE l.rolcanlogin AND NOT l.rolsuper AND pg_has_role(l.oid, r.oid, 'MEMBER')
),
-- Settings that keep a token from outliving its transaction: behind a transaction pooler, it is the next client's.
scope_not_stored AS (
    SELECT 'info', 'scope_not_stored', 'pg_authid'::regclass, l.oid, format('role %I', l.rolname),
           'Neither pg_auth_jwt.scope nor pg_auth_jwt.require_token is stored for it, so a request that forgets BEGIN, or the token, '
               || 'behind a transaction pooler can have the rows of the user before it, or none.',
           format('SELECT auth.user_id(); ALTER DATABASE %I SET pg_auth_jwt.scope = ''transaction''; -- the first loads the library', current_database())
      FROM (SELECT DISTINCT i.oid, i.rolname FROM logins AS i
             WHERE EXISTS (SELECT FROM identity_policies AS p WHERE p.polroles && ARRAY[i.app_role, 0::oid])) AS l
     WHERE NOT EXISTS (SELECT FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.datname = current_database(), unnest(s.setconfig) AS c (setting)
                        WHERE s.setrole IN (l.oid, 0) AND s.setdatabase IN (d.oid, 0)
                          AND c.setting ~* '^pg_auth_jwt[.](scope|require_token)=')
       AND NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name IN ('pg_auth_jwt.scope', 'pg_auth_jwt.require_token')
                          AND s.source IN ('configuration file', 'command line', 'environment variable'))
       -- Nor the makers of the tables, who are members only to ask about them.
       AND NOT EXISTS (SELECT FROM identity_policies AS p JOIN tables AS t ON t.oid = p.polrelid WHERE pg_has_role(l.oid, t.relowner, 'USAGE'))
),
-- The minor versions of Postgres that mended faults by which a query reads by policies of a role that its user has
-- lost, or a row by another definition of its type. A beta release comes before minor version 0.
server_outdated AS (
    SELECT 'warning', 'server_outdated', NULL::regclass, NULL::oid, 'server',
           format('Postgres %s lacks security fixes: %s.', v.name,
               string_agg(format('%s (in %s.%s)', k.cve, k.major, k.minor), ', ' ORDER BY k.minor)),
           format('-- install Postgres %s.%s or later, and restart the server', v.major, max(k.minor))
      FROM (SELECT n / 10000, CASE WHEN name ~ '^\d+[a-z]' THEN -1 ELSE n % 10000 END, name
              FROM (SELECT current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1)) AS o (n, name)
           ) AS v (major, minor, name)
      JOIN (VALUES ('CVE-2026-14666', 15, 19), ('CVE-2026-14666', 16, 15), ('CVE-2026-14666', 17, 11), ('CVE-2026-14666', 18, 6),
                   ('CVE-2026-6460', 15, 20), ('CVE-2026-6460', 16, 16), ('CVE-2026-6460', 17, 12), ('CVE-2026-6460', 18, 7),
                   ('CVE-2026-6460', 19, 0)
           ) AS k (cve, major, minor) ON k.major = v.major AND v.minor < k.minor
     GROUP BY v.major, v.name
),
-- List of the server's libraries, if the caller may see it and statements are logged.
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
-- Functions that look like those of a schema "auth" that was renamed.
old_functions AS (
    SELECT f.oid, f.signature, f.proname, EXISTS (SELECT FROM believes AS b WHERE b.classid = 'pg_proc'::regclass AND b.objid = f.oid) AS reads_setting
      FROM functions AS f
     WHERE f.proname IN (SELECT c.name FROM claim_functions AS c) AND f.pronargs = 0
       AND f.oid NOT IN (SELECT a.objid FROM asks AS a WHERE a.classid = 'pg_proc'::regclass)
),
-- Settings that any user can set, by the objects that read them; `computed` if the name is an expression.
read_settings (classid, objid, setting, computed) AS (
    SELECT DISTINCT t.classid, t.objid, lower(m[1]), CASE WHEN m[1] IS NULL THEN 'a setting whose name is computed' END
      FROM (SELECT 'pg_policy'::regclass::oid, p.oid, p.passes || ' ' || p.checks FROM policies AS p WHERE p.reads_setting
            UNION ALL
            SELECT 'pg_class'::regclass, v.oid, pg_get_viewdef(v.oid)
              FROM relations AS v JOIN pg_rewrite AS r ON r.ev_class = v.oid, setting_node AS k
             WHERE v.relkind = 'v' AND r.rulename = '_RETURN' AND r.ev_action::text ~ k.node
            UNION ALL
            SELECT 'pg_proc'::regclass, f.oid, f.body FROM functions AS f WHERE f.nspname <> 'auth' AND f.may_read_setting AND f.body ~* 'current_setting'
           ) AS t (classid, objid, text),
           -- Doubled quotes are those of a string within a string.
           regexp_matches(t.text, '\mcurrent_setting"?\s*[(]\s*(?:E?''+([^'']+)'')?', 'gi') AS m
     WHERE m[1] IS NULL OR m[1] LIKE '%.%' OR lower(m[1]) = 'application_name'
),
-- Objects that believe such a setting, directly or through others. Only ten names are carried along; the others are
-- 'other settings'. So a chain of any length, or a circle, ends.
believes (classid, objid, setting, computed) AS (
    SELECT r.classid, r.objid, CASE WHEN r.rank <= 10 THEN r.setting END, CASE WHEN r.rank <= 10 THEN r.computed ELSE 'other settings' END
      FROM (SELECT s.*, dense_rank() OVER (ORDER BY s.setting NULLS FIRST) AS rank FROM read_settings AS s) AS r
     WHERE r.classid <> 'pg_policy'::regclass
    UNION
    SELECT u.classid, u.objid, b.setting, b.computed
      FROM believes AS b JOIN uses AS u ON u.refclassid = b.classid AND u.refobjid = b.objid
     WHERE u.classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
),
-- Level of a setting that a policy reads: a warning if the policy also compares the user's id, and nothing such as OR
-- lets the setting stand in for that.
setting_levels (policy, level, remark) AS (
    SELECT p.oid, CASE WHEN i.is_beside THEN 'warning' ELSE 'error' END,
           CASE WHEN i.is_beside THEN ' What it asks of the user''s id besides must be enough without it.' ELSE '' END
      FROM policies AS p,
           LATERAL (SELECT p.passes || ' ' || p.checks ~ '( = [(]*(\s*SELECT [(]*)?auth\.(uid|user_id)[(][)]|auth\.(uid|user_id)[(][)]( AS [[:alnum:]_"?]+)?[)]* = )'
                       AND p.passes || ' ' || p.checks !~* '\m(OR|CASE|COALESCE|NULLIF|GREATEST|LEAST|NOT|DISTINCT)\M') AS i (is_beside)
),
-- Functions that ask for a claim that users write themselves, directly or through others.
user_written (classid, objid, claim, origin) AS (
    SELECT 'pg_proc'::regclass::oid, f.oid, m[1], f.oid
      FROM functions AS f JOIN asks AS a ON a.classid = 'pg_proc'::regclass AND a.objid = f.oid,
           regexp_matches(f.body, '[''](?:[{]|[$][.])?"?(user_metadata|unsafe_metadata)\M', 'g') AS m
    UNION
    SELECT u.classid, u.objid, w.claim, w.origin
      FROM user_written AS w JOIN uses AS u ON u.refclassid = w.classid AND u.refobjid = w.objid
     WHERE u.classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
),
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
                 FROM relations AS v
                WHERE c.classid = 'pg_class'::regclass AND v.oid = c.objid AND v.relkind IN ('v', 'm')
           ) AS o (classid, objid, name, whole, part)
),
policy_reads_setting AS (
    SELECT o.level, 'policy_reads_setting', 'pg_policy'::regclass, p.oid, p.name,
           format('It believes %s, which every user can set to anything.%s', string_agg(DISTINCT coalesce('the setting ' || b.setting, b.computed), ' and '), o.remark),
           format('ALTER POLICY %I ON %s USING (...); -- with a claim function, such as auth.user_id(), in place of current_setting()',
               p.polname, p.table_name)
      FROM policies AS p JOIN read_settings AS b ON b.classid = 'pg_policy'::regclass AND b.objid = p.oid
      JOIN setting_levels AS o ON o.policy = p.oid
     GROUP BY p.oid, p.name, p.polname, p.table_name, o.level, o.remark
    UNION ALL
    SELECT o.level, 'policy_reads_setting', 'pg_policy'::regclass, p.oid, p.name,
           format('It uses %s, which believes %s%s, which every user can set to anything.%s', coalesce(f.signature, 'view ' || v.name),
               string_agg(DISTINCT coalesce('the setting ' || b.setting, b.computed), ' and '),
               CASE WHEN bool_or(EXISTS (SELECT FROM read_settings AS r WHERE r.classid = b.classid AND r.objid = b.objid)) THEN ''
                    ELSE ' by way of others' END, o.remark),
           format('ALTER POLICY %I ON %s USING (...); -- with a claim function, such as auth.user_id(), in its place', p.polname, p.table_name)
      FROM policies AS p JOIN uses AS u ON u.classid = 'pg_policy'::regclass AND u.objid = p.oid
      JOIN believes AS b ON b.classid = u.refclassid AND b.objid = u.refobjid
      JOIN setting_levels AS o ON o.policy = p.oid
      LEFT JOIN functions AS f ON u.refclassid = 'pg_proc'::regclass AND f.oid = u.refobjid
      LEFT JOIN relations AS v ON u.refclassid = 'pg_class'::regclass AND v.oid = u.refobjid
     WHERE f.oid IS NULL OR f.oid NOT IN (SELECT o.oid FROM old_functions AS o)
     GROUP BY p.oid, p.name, p.polname, p.table_name, o.level, o.remark, f.signature, v.name
),
policy_reads_user_metadata AS (
    SELECT 'error', 'policy_reads_user_metadata', 'pg_policy'::regclass, p.oid, p.name,
           format('It goes by %s, which users write themselves%s.', string_agg(DISTINCT m.claim, ' and '),
               coalesce(' (read in ' || string_agg(DISTINCT m.signature, ', ') || ')', '')),
           format('ALTER POLICY %I ON %s USING (...); -- with a claim that the issuer alone sets, such as app_metadata', p.polname, p.table_name)
      FROM policies AS p
      JOIN (SELECT o.oid AS policy, m[1] AS claim, NULL AS signature
              FROM policies AS o JOIN asks AS a ON a.classid = 'pg_policy'::regclass AND a.objid = o.oid,
                   regexp_matches(o.passes || ' ' || o.checks, '[''](?:[{]|[$][.])?"?(user_metadata|unsafe_metadata)\M', 'g') AS m
            UNION
            SELECT u.objid, w.claim, f.signature
              FROM user_written AS w JOIN functions AS f ON f.oid = w.origin
              JOIN uses AS u ON u.classid = 'pg_policy'::regclass AND u.refclassid = w.classid AND u.refobjid = w.objid
           ) AS m ON m.policy = p.oid
     GROUP BY p.oid, p.name, p.polname, p.table_name
),
-- The planner calls an IMMUTABLE function once and writes its result into the plan.
immutable_claims AS (
    SELECT DISTINCT 'error', 'immutable_claims', 'pg_proc'::regclass, f.oid, format('function %s', f.signature),
           'It is IMMUTABLE and calls a function of pg_auth_jwt, so a plan that is kept (a prepared statement, PL/pgSQL) '
               || 'has the claims of the user for whom it was made, and shows their rows to everyone after them.',
           format('ALTER FUNCTION %s STABLE;', f.signature)
      FROM functions AS f JOIN asks AS a ON a.classid = 'pg_proc'::regclass AND a.objid = f.oid
     WHERE f.is_immutable AND f.nspname <> 'auth' AND NOT f.is_member
       AND f.oid IN (SELECT r.objid FROM reached AS r WHERE r.classid = 'pg_proc'::regclass)
),
-- Functions that policies and views use, directly or through others.
reached (classid, objid) AS (
    SELECT u.refclassid, u.refobjid FROM uses AS u WHERE u.classid IN ('pg_policy'::regclass, 'pg_class'::regclass)
    UNION
    SELECT u.refclassid, u.refobjid FROM reached AS r JOIN uses AS u ON u.classid = r.classid AND u.objid = r.objid
     WHERE r.classid = 'pg_proc'::regclass
),
-- A handler that catches all errors, or those of class 28, or the one by which a query with two tokens ends.
claims_error_caught AS (
    SELECT 'warning', 'claims_error_caught', 'pg_proc'::regclass, f.oid, format('function %s', f.signature),
           'It asks who the user is, and catches the error by which a refused token, or a second one in the same query, would end '
               || 'the query: what it then returns stands for a user.',
           format('CREATE OR REPLACE FUNCTION %s ...; -- without that handler, or one that catches the expected errors alone', f.signature)
      FROM functions AS f JOIN asks AS a ON a.classid = 'pg_proc'::regclass AND a.objid = f.oid,
           LATERAL (SELECT CASE
               -- Its names of classes stand for all their errors. RAISE alone raises the caught error again.
               WHEN f.language = 'plpgsql' THEN
                   (SELECT count(*) FROM regexp_matches(f.body, '\m(?:when|or)\s+(?:(?:others|query_canceled|operator_intervention'
                               || '|invalid_authorization_specification)\M|sqlstate\s+''(?:57000|57014|28000|28J..)'')', 'gi'))
                   > (SELECT count(*) FROM regexp_matches(f.body, '\mraise\s*;', 'gi'))
               WHEN f.language ~ '^plpython' THEN f.body ~ '\mexcept\M' AND f.body !~ '\mraise\s*(\n|$|;)'
               WHEN f.language ~ '^plperl' THEN f.body ~ '\meval\M|\mtry\M'
               WHEN f.language ~ '^(plv8|pljs|plcoffee|pltcl)' THEN f.body ~ '\mcatch\M'
               ELSE false END) AS h (catches)
     WHERE h.catches AND f.nspname <> 'auth' AND NOT f.is_member
       AND f.oid IN (SELECT r.objid FROM reached AS r WHERE r.classid = 'pg_proc'::regclass)
),
policy_without_expression AS (
    SELECT CASE WHEN p.polpermissive THEN 'warning' ELSE 'error' END, 'policy_without_expression', 'pg_policy'::regclass, p.oid, p.name,
           CASE WHEN NOT p.polpermissive THEN 'It is restrictive and has no expression, so it restricts nothing.'
                ELSE format('It has no %s, so it lets no row be %s.', CASE p.polcmd WHEN 'a' THEN 'WITH CHECK' ELSE 'USING' END,
                         CASE p.polcmd WHEN 'a' THEN 'inserted' WHEN 'r' THEN 'read' WHEN 'w' THEN 'changed' WHEN 'd' THEN 'deleted'
                              ELSE 'read, changed or deleted' END) END,
           format('ALTER POLICY %I ON %s %s (...); -- with the condition that is meant', p.polname, p.table_name,
               CASE p.polcmd WHEN 'a' THEN 'WITH CHECK' ELSE 'USING' END)
      FROM policies AS p
     WHERE CASE WHEN NOT p.polpermissive THEN p.passes || p.checks = '' WHEN p.polcmd = 'a' THEN p.checks = '' ELSE p.passes = '' END
),
-- Commands whose rows are left open by a permissive policy that is always true: `old` are the present rows, `new`
-- those that are written. A restrictive policy counts for its commands and its roles.
open_writes AS (
    SELECT p.policy, p.role, p.rolname, k.command, k.side
      FROM policy_roles AS p JOIN privileges AS r ON r.relation = p.polrelid AND r.role = p.role
      JOIN tables AS t ON t.oid = p.polrelid AND t.has_rls
      JOIN (VALUES ('a', 'new'), ('w', 'old'), ('w', 'new'), ('d', 'old')) AS k (command, side)
        ON k.command = r.command AND p.polcmd IN ('*', k.command)
     WHERE p.polpermissive
       AND CASE k.side WHEN 'old' THEN p.passes = 'true' ELSE coalesce(nullif(p.checks, ''), p.passes) = 'true' END
       AND NOT EXISTS (
           SELECT FROM policy_roles AS q
            WHERE q.polrelid = p.polrelid AND q.role = p.role AND NOT q.polpermissive AND q.polcmd IN ('*', k.command)
              AND CASE k.side WHEN 'old' THEN q.passes ELSE coalesce(nullif(q.checks, ''), q.passes) END NOT IN ('', 'true'))
),
policy_always_true AS (
    SELECT 'warning', 'policy_always_true', 'pg_policy'::regclass, p.oid, p.name,
           format('It lets role %s %s.', o.roles, concat_ws(' and ',
               CASE WHEN 'a new' = ANY (o.writes) THEN 'insert any row' END,
               CASE WHEN 'w old' = ANY (o.writes) THEN 'change any row'
                    WHEN 'w new' = ANY (o.writes) THEN 'make any row of one that it may change' END,
               CASE WHEN 'd old' = ANY (o.writes) THEN 'delete any row' END)),
           format('ALTER POLICY %I ON %s %s; -- with the condition that is meant', p.polname, p.table_name,
               concat_ws(' ', CASE WHEN p.passes = 'true' THEN 'USING (...)' END,
                         CASE WHEN p.checks = 'true' AND o.writes && '{a new,w new}' THEN 'WITH CHECK (...)' END))
      FROM policies AS p
      JOIN (SELECT w.policy, string_agg(DISTINCT quote_ident(w.rolname), ', ') AS roles,
                   array_agg(DISTINCT w.command || ' ' || w.side) AS writes
              FROM open_writes AS w GROUP BY w.policy) AS o ON o.policy = p.oid
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
       -- The owner of a view, or of a SECURITY DEFINER function, runs its queries.
       AND NOT EXISTS (
           SELECT FROM unnest(p.polroles) AS named (role), pg_roles AS o
            WHERE o.oid IN (SELECT v.relowner FROM relations AS v WHERE v.relkind = 'm' OR (v.relkind = 'v' AND NOT v.is_invoker)
                            UNION SELECT f.proowner FROM functions AS f WHERE f.prosecdef AND NOT f.is_member)
              AND (NOT (o.rolsuper OR o.rolbypassrls) OR o.oid = named.role) AND pg_has_role(o.oid, named.role, 'USAGE'))
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
-- An operator or function that is not leakproof never becomes the condition of an index below a policy, unless it is the
-- policy's own (check_index_predicates and restriction_is_securely_promotable in src/backend/optimizer).
index_not_leakproof AS (
    SELECT 'info', 'index_not_leakproof', 'pg_class'::regclass, i.indexrelid, format('index %s', i.indexrelid::regclass),
           format('Queries under the policies of %s cannot use it for their own conditions: %s is not leakproof.', t.name,
               string_agg(DISTINCT l.name, ', ')),
           format('ALTER TABLE %s ADD COLUMN %I %s GENERATED ALWAYS AS (%s) STORED; -- with an index on it, and the conditions on it too', t.name,
               left(x.relname, 55) || '_value',
               coalesce(format_type((array_agg(l.type ORDER BY n) FILTER (WHERE l.expression IS NOT NULL))[1], NULL), 'text'),
               coalesce((array_agg(l.expression ORDER BY n) FILTER (WHERE l.expression IS NOT NULL))[1], '...'))
      FROM tables AS t JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisvalid JOIN pg_class AS x ON x.oid = i.indexrelid,
           generate_series(1, i.indnkeyatts) AS n,
           LATERAL (
               SELECT format('function %s', f.oid::regprocedure), pg_get_indexdef(i.indexrelid, n, false), c.atttypid
                 FROM pg_attribute AS c, regexp_matches(i.indexprs::text, ':(?:funcid|opfuncid) ([0-9]+) ', 'g') AS m JOIN pg_proc AS f ON f.oid = m[1]::oid
                WHERE i.indkey[n - 1] = 0 AND NOT f.proleakproof AND c.attrelid = i.indexrelid AND c.attnum = n
                  AND NOT EXISTS (SELECT FROM policies AS p WHERE p.polrelid = t.oid
                                     AND strpos(p.passes, pg_get_indexdef(i.indexrelid, n, false)) > 0)
               UNION ALL
               SELECT format('operator %s(%s)', a.amopopr::regoper, format_type(a.amoplefttype, NULL)), NULL, NULL
                 FROM pg_opclass AS k JOIN pg_amop AS a ON a.amopfamily = k.opcfamily AND a.amoplefttype = k.opcintype AND a.amoppurpose = 's'
                WHERE i.indkey[n - 1] <> 0 AND k.oid = i.indclass[n - 1]
                  AND NOT EXISTS (SELECT FROM pg_amop AS o JOIN pg_operator AS e ON e.oid = o.amopopr JOIN pg_proc AS f ON f.oid = e.oprcode
                                   WHERE o.amopfamily = a.amopfamily AND o.amoplefttype = a.amoplefttype AND o.amoppurpose = 's' AND f.proleakproof)
                  AND NOT EXISTS (SELECT FROM policies AS p JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum = i.indkey[n - 1]
                                   WHERE p.polrelid = t.oid AND strpos(p.passes, quote_ident(c.attname)) > 0)
           ) AS l (name, expression, type)
     WHERE t.has_rls AND EXISTS (SELECT FROM reach AS r WHERE r.relation = t.oid AND r.can_read AND NOT r.is_owner)
     GROUP BY i.indexrelid, t.name, x.relname
),
-- 5. Ways around policies.
view_reads AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation,
           EXISTS (SELECT FROM calls AS c WHERE c.classid = 'pg_class'::regclass AND c.objid = r.ev_class
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
-- SECURITY DEFINER functions, with the ways in which roles of the application run them: by a call; as a trigger of a
-- table that they write; or as one that they add to a table of their own, such as a temporary one.
definers AS (
    SELECT f.*, string_agg(DISTINCT quote_ident(r.rolname), ', ') AS callers, bool_or(k.can_call OR k.can_fire) AS is_run,
           bool_or(has_database_privilege(r.oid, d.oid, 'TEMP')) AS can_make_temporary
      FROM functions AS f, app_roles AS r, pg_database AS d,
           LATERAL (SELECT f.prorettype <> 'trigger'::regtype AND has_function_privilege(r.oid, f.oid, 'EXECUTE')
                               AND has_schema_privilege(r.oid, f.pronamespace, 'USAGE'),
                           f.prorettype = 'trigger'::regtype AND EXISTS (
                               SELECT FROM pg_trigger AS g JOIN reach AS o ON o.relation = g.tgrelid AND o.role = r.oid
                                WHERE g.tgfoid = f.oid AND g.tgenabled <> 'D' AND (o.can_write OR o.can_truncate)),
                           f.prorettype = 'trigger'::regtype AND has_function_privilege(r.oid, f.oid, 'EXECUTE')
                               AND has_schema_privilege(r.oid, f.pronamespace, 'USAGE') AND has_database_privilege(r.oid, d.oid, 'TEMP')
                   ) AS k (can_call, can_fire, can_add)
     WHERE f.prosecdef AND f.language NOT IN ('c', 'internal') AND f.nspname <> 'auth' AND NOT f.is_member
       AND f.prorettype <> 'event_trigger'::regtype
       AND d.datname = current_database() AND NOT r.rolsuper AND r.oid <> f.proowner AND (k.can_call OR k.can_fire OR k.can_add)
     GROUP BY f.oid, f.signature, f.proname, f.pronamespace, f.nspname, f.pronargs, f.prokind, f.prosecdef, f.proowner, f.prorettype,
              f.is_immutable, f.language, f.is_member, f.search_path, f.is_bound, f.may_read_setting, f.body
),
definer_search_path AS (
    SELECT CASE WHEN d.is_run THEN 'warning' ELSE 'info' END, 'definer_search_path', 'pg_proc'::regclass, d.oid, format('function %s', d.signature),
           CASE WHEN d.search_path IS NULL
                THEN format('It is SECURITY DEFINER without a search_path of its own, so %s (%s) chooses whose tables and functions it uses.', c.who, d.callers)
                ELSE format('It is SECURITY DEFINER, and its search_path does not end in pg_temp, so a temporary table of %s (%s) takes the place of %s.',
                         c.who, d.callers, u.names) END,
           format('ALTER %s %s SET search_path = %s;', CASE d.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, d.signature,
               CASE WHEN d.search_path IS NULL THEN format('pg_catalog, %I, pg_temp', d.nspname)
                    ELSE concat_ws(', ', coalesce(p.others, 'pg_catalog'), 'pg_temp') END)
      FROM definers AS d
      LEFT JOIN (SELECT n.function, string_agg(DISTINCT n.name, ', ') AS names FROM unqualified AS n GROUP BY n.function) AS u ON u.function = d.oid
      LEFT JOIN (SELECT s.function, (array_agg(s.name ORDER BY s.n DESC))[1] AS last,
                        string_agg(quote_ident(s.name), ', ' ORDER BY s.n) FILTER (WHERE s.name <> 'pg_temp') AS others
                   FROM path_schemas AS s GROUP BY s.function) AS p ON p.function = d.oid,
           LATERAL (SELECT CASE WHEN NOT d.is_run THEN 'a role that adds it as a trigger to a temporary table'
                                WHEN d.prorettype = 'trigger'::regtype THEN 'the role that fires it'
                                ELSE 'its caller' END) AS c (who)
     WHERE NOT d.is_bound
       AND (d.search_path IS NULL
            OR (u.names IS NOT NULL AND d.can_make_temporary AND p.last IS DISTINCT FROM 'pg_temp'))
),
-- Schemas of their search_path; and relations of these, or of pg_catalog, that their text names without a schema.
path_schemas (function, name, n) AS (
    SELECT d.oid, CASE WHEN m[1] IS NULL THEN lower(m[2]) ELSE replace(m[1], '""', '"') END, p.n
      FROM definers AS d, regexp_matches(d.search_path, '"((?:[^"]|"")*)"|([^",[:space:]]+)', 'g') WITH ORDINALITY AS p (m, n)
     WHERE m[1] <> '' OR m[2] <> ''
),
unqualified (function, name) AS (
    SELECT DISTINCT d.oid, quote_ident(c.relname)
      FROM definers AS d CROSS JOIN LATERAL
           regexp_matches(d.body, '(?:\m(?:from|join|into|update|only|table|truncate|using|lock|copy)|,)\s+'
               || '([[:alpha:]_][[:alnum:]_$]*|"(?:[^"]|"")+")(?!\s*[.]|[[:alnum:]_$"])', 'gi') AS m
      JOIN pg_class AS c ON c.relname = CASE WHEN m[1] LIKE '"%' THEN replace(substr(m[1], 2, length(m[1]) - 2), '""', '"') ELSE lower(m[1]) END
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_roles AS o ON o.oid = d.proowner
      LEFT JOIN path_schemas AS s ON s.function = d.oid AND n.nspname = CASE s.name WHEN '$user' THEN o.rolname ELSE s.name END
     WHERE d.search_path IS NOT NULL AND NOT d.is_bound AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
       AND (n.nspname = 'pg_catalog' OR s.name IS NOT NULL)
),
-- Functions and views that name a guarded table, or name one of these, but for SECURITY DEFINER functions, which read it
-- with rights of their own.
touches (classid, objid) AS (
    SELECT u.classid, u.objid FROM uses AS u JOIN tables AS t ON u.refclassid = 'pg_class'::regclass AND t.oid = u.refobjid AND t.has_rls
     WHERE u.classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
    UNION
    SELECT u.classid, u.objid
      FROM touches AS o JOIN uses AS u ON u.refclassid = o.classid AND u.refobjid = o.objid
      LEFT JOIN pg_proc AS p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
     WHERE u.classid IN ('pg_proc'::regclass, 'pg_class'::regclass) AND NOT coalesce(p.prosecdef, false)
),
-- A function that asks for the user has a condition of its own.
definer_bypasses_rls AS (
    SELECT 'warning', 'definer_bypasses_rls', 'pg_proc'::regclass, d.oid, format('function %s', d.signature),
           format('It is SECURITY DEFINER and uses %s with the rights of its owner, %I, to whom no policy applies; %s may call it, and it does not ask who the user is.',
               coalesce(t.names, 'guarded tables, by way of others,'), o.rolname, d.callers),
           format('REVOKE EXECUTE ON %s %s FROM PUBLIC, %s; -- or let it ask auth.user_id()',
               CASE d.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, d.signature, d.callers)
      FROM definers AS d JOIN pg_roles AS o ON o.oid = d.proowner
      JOIN touches AS s ON s.classid = 'pg_proc'::regclass AND s.objid = d.oid
      LEFT JOIN (SELECT i.oid AS function, string_agg(g.name, ', ' ORDER BY g.name) AS names,
                        bool_or(NOT g.is_forced AND pg_has_role(i.proowner, g.relowner, 'USAGE')) AS is_owner
                   FROM definers AS i JOIN uses AS u ON u.classid = 'pg_proc'::regclass AND u.objid = i.oid
                   JOIN tables AS g ON u.refclassid = 'pg_class'::regclass AND g.oid = u.refobjid AND g.has_rls
                  GROUP BY i.oid) AS t ON t.function = d.oid
     WHERE d.prorettype <> 'trigger'::regtype
       AND (o.rolsuper OR o.rolbypassrls OR t.is_owner
            OR (t.function IS NULL AND EXISTS (SELECT FROM tables AS g WHERE g.has_rls AND NOT g.is_forced AND pg_has_role(o.oid, g.relowner, 'USAGE'))))
       AND d.oid NOT IN (SELECT a.objid FROM asks AS a WHERE a.classid = 'pg_proc'::regclass)
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
    SELECT CASE a.grantee WHEN 0 THEN 'error' ELSE 'info' END, CASE a.grantee WHEN 0 THEN 'key_privilege' ELSE 'key_manager' END,
           'pg_authid'::regclass, a.grantee,
           format('role %s', coalesce(quote_ident(g.rolname), 'PUBLIC')),
           format('It has %s on %s, and so can make a key and be every user.', string_agg(DISTINCT a.privilege_type, ', '), k.name),
           format('REVOKE %s ON %s FROM %s;', string_agg(DISTINCT a.privilege_type, ', '), k.name, coalesce(quote_ident(g.rolname), 'PUBLIC'))
      FROM key_tables AS k CROSS JOIN aclexplode(k.relacl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
     WHERE a.grantee <> k.relowner AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
       AND a.grantee NOT IN (SELECT r.oid FROM app_roles AS r)
       AND a.grantee NOT IN (SELECT e.extowner FROM pg_extension AS e WHERE e.extname = 'pg_auth_jwt')
       AND NOT coalesce(g.rolsuper, false)
     GROUP BY a.grantee, g.rolname, k.name
),
secret_privilege AS (
    SELECT 'error', 'secret_privilege', 'pg_authid'::regclass, r.oid, format('role %I', r.rolname),
           'It may read auth.jwks, which holds shared secrets, and so sign as any user.',
           format('REVOKE SELECT ON auth.jwks FROM %I, PUBLIC; -- and from the roles that it is a member of', r.rolname)
      FROM app_roles AS r, key_tables AS k
     WHERE NOT r.rolsuper AND k.name = 'auth.jwks' AND has_column_privilege(r.oid, k.oid, 'jwk', 'SELECT')
       AND EXISTS (SELECT FROM auth.jwks AS j WHERE j.jwk ->> 'kty' = 'oct')
),
key_schema_privilege AS (
    SELECT 'error', 'key_schema_privilege', 'pg_namespace'::regclass, n.oid, 'schema auth',
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
revocation_privilege AS (
    SELECT 'error', 'revocation_privilege', 'pg_authid'::regclass, r.oid, format('role %I', r.rolname),
           format('It may %s, and so sign out all users, or take a revocation back.', string_agg(p.what, ', ' ORDER BY p.what)),
           string_agg(format('REVOKE %s FROM %s;', p.privilege, r.grantees), ' ' ORDER BY p.what) || ' -- and from the roles that it is a member of'
      FROM (SELECT o.*, CASE o.oid WHEN 0 THEN 'PUBLIC' ELSE format('%I, PUBLIC', o.rolname) END AS grantees FROM app_roles AS o WHERE NOT o.rolsuper) AS r,
           LATERAL (
               SELECT format('call auth.%s()', f.proname), format('EXECUTE ON FUNCTION auth.%I', f.proname)
                 FROM pg_proc AS f WHERE f.oid IN (SELECT u.oid FROM our_functions AS u) AND f.proname IN ('revoke', 'revoke_issuer', 'unrevoke', 'unrevoke_issuer')
                  AND has_function_privilege(r.oid, f.oid, 'EXECUTE')
               UNION ALL
               SELECT 'write auth.revocations', 'INSERT, UPDATE, DELETE, TRUNCATE ON auth.revocations'
                WHERE has_table_privilege(r.oid, 'auth.revocations', 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
                   OR has_any_column_privilege(r.oid, 'auth.revocations', 'INSERT, UPDATE')) AS p (what, privilege)
     GROUP BY r.oid, r.rolname
),
-- Triggers that keep withdrawn keys from coming back, and those that delete an issuer's keys with it, need to
-- fire for changes by hand, and not for replicated ones.
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
-- The roles that auth.login() may give.
login_incomplete AS (
    SELECT 'warning', 'login_incomplete', NULL::regclass, NULL::oid, format('issuer %s', i.issuer),
           CASE WHEN i.role_claim IS NULL THEN 'Its allowed_roles lists roles, but no role_claim says where a token names one'
                ELSE 'Its role_claim says where a token names a role, but allowed_roles allows none' END
               || ', so auth.login() refuses each of its tokens.',
           CASE WHEN i.role_claim IS NULL THEN format('UPDATE auth.issuers SET role_claim = ''role'' WHERE issuer = %L; -- with the name of the claim', i.issuer)
                ELSE format('UPDATE auth.issuers SET allowed_roles = ''{authenticated}'' WHERE issuer = %L; -- with the roles', i.issuer) END
      FROM issuers AS i WHERE (i.role_claim IS NULL) <> (coalesce(cardinality(i.allowed_roles), 0) = 0)
),
login_roles AS (
    SELECT i.issuer, n.name, r.rolname, r.rolsuper, r.rolbypassrls, r.rolreplication,
           format('UPDATE auth.issuers SET allowed_roles = array_remove(allowed_roles, %L) WHERE issuer = %L;', n.name, i.issuer) AS fix
      FROM issuers AS i, unnest(i.allowed_roles) AS n (name) LEFT JOIN pg_roles AS r ON r.rolname::text = n.name
     WHERE i.role_claim IS NOT NULL
),
login_role_missing AS (
    SELECT 'warning', 'login_role_missing', NULL::regclass, NULL::oid, format('issuer %s', l.issuer),
           format('Its tokens may name role %I, which does not exist: whoever creates a role of this name gives it to them.', l.name), l.fix
      FROM login_roles AS l WHERE l.rolname IS NULL
),
login_role_exempt AS (
    SELECT 'error', 'login_role_exempt', NULL::regclass, NULL::oid, format('issuer %s', l.issuer),
           format('Its tokens may name role %I, which %s.', l.name,
               CASE WHEN l.rolsuper THEN 'is a superuser' WHEN l.rolbypassrls THEN 'has BYPASSRLS: no policy restricts it'
                    ELSE 'has REPLICATION: it may read the whole server' END), l.fix
      FROM login_roles AS l WHERE l.rolsuper OR l.rolbypassrls OR l.rolreplication
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
       AND NOT EXISTS (SELECT FROM sources AS s WHERE s.issuer = k.issuer AND s.is_out)
),
keys_expire AS (
    SELECT CASE WHEN k.until <= now() THEN 'error' ELSE 'warning' END, 'keys_expire', NULL::regclass, NULL::oid, format('issuer %s', k.issuer),
           CASE WHEN k.until <= now() THEN format('Its last key ran out at %s, so each of its tokens is refused with 28J03.', k.until)
                ELSE format('Its last key runs out at %s, and none comes after it.', k.until) END, k.fix
      FROM keys AS k WHERE k.number > 0 AND k.endless = 0 AND k.until <= now() + interval '7 days'
),
-- 8. Where keys come from, if not from auth.jwks. Each problem of a source that auth.key_status shows
-- (src/trust/problem.rs), with the code under which it is reported where the keys count; NULL: it is not.
source_problems (problem, code, level) AS (
    VALUES ('hosts_empty', 'host_not_listed', 'warning'),
           ('host_not_listed', 'host_not_listed', 'warning'),
           ('hosts_unreadable', 'hosts_unreadable', 'warning'),
           ('host_not_exact', 'host_not_listed', 'warning'),
           ('url_refused', 'url_refused', 'warning'),
           ('library_missing', 'library_missing', 'warning'),
           ('overdue', 'fetch_overdue', 'warning'),
           ('awaiting_traffic', 'fetch_overdue', 'info'),
           ('failing', 'fetch_failing', 'warning'),
           ('stale', NULL, NULL),
           ('clock_ahead', NULL, NULL),
           ('never_fetched', NULL, NULL),
           ('answer_incomplete', NULL, NULL),
           ('changes_not_announced', 'source_polled', 'info'),
           ('table_locked', NULL, NULL),
           ('source_unreadable', NULL, NULL),
           ('table_missing', NULL, NULL),
           ('not_a_table', NULL, NULL),
           ('own_table', NULL, NULL),
           ('not_permanent', NULL, NULL),
           ('has_children', NULL, NULL),
           ('has_parent', NULL, NULL),
           ('column_missing', NULL, NULL),
           ('column_ambiguous', NULL, NULL),
           ('column_type', NULL, NULL),
           ('column_generated', NULL, NULL),
           ('other_owner', NULL, NULL),
           ('public_may_write', NULL, NULL),
           ('row_security', NULL, NULL),
           ('schema_not_usable', NULL, NULL),
           ('table_not_readable', NULL, NULL),
           ('triggers_altered', NULL, NULL)
),
sources AS (
    SELECT DISTINCT i.issuer, i.is_fetched, s.state, s.state IN ('missing', 'stale') AS is_out, p.problem, p.code, p.level, s.detail, s.fix,
           s.failures, s.next_attempt
      FROM issuers AS i JOIN auth.key_status AS s ON s.issuer = i.issuer JOIN source_problems AS p ON p.problem = s.problem
     WHERE i.source IS NOT NULL
),
-- None of the keys counts.
source_is_out AS (
    SELECT 'error', CASE WHEN s.is_fetched THEN 'keys_not_fetched' ELSE 'source_missing' END, NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           s.detail || ' Each of its tokens is refused with 28J03.', s.fix
      FROM sources AS s WHERE s.is_out
),
-- The keys count, and will cease to, or changes come late.
source_problem AS (
    SELECT s.level, s.code, NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           concat_ws(' ', CASE s.code WHEN 'fetch_failing' THEN format('The last %s fetches failed.', s.failures) END, s.detail,
                     CASE s.code WHEN 'fetch_overdue' THEN format('It was due at %s.', s.next_attempt) END), s.fix
      FROM sources AS s WHERE NOT s.is_out AND s.code IS NOT NULL
),
shared_secret AS (
    SELECT 'warning', 'shared_secret', NULL::regclass, NULL::oid, format('issuer %s', k.issuer),
           'It has a shared secret: who can read it in the table of its keys, a dump or a replica can sign as any of its users.',
           CASE WHEN k.is_followed THEN format('UPDATE auth.issuers SET algorithms = NULL WHERE issuer = %L;', k.issuer)
                ELSE format('DELETE FROM auth.jwks WHERE issuer = %L AND jwk ->> ''kty'' = ''oct'';', k.issuer) END
               || ' -- once it signs with an asymmetric key'
      FROM keys AS k WHERE k.secrets > 0
),
-- 9. Revocations.
revocation_of_no_issuer AS (
    SELECT 'warning', 'revocation_of_no_issuer', NULL::regclass, NULL::oid, format('issuer %s', r.issuer),
           format('auth.revocations has %s row%s for it, and auth.issuers none, so no token can match.', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END),
           format('DELETE FROM auth.revocations WHERE issuer = %L; -- or correct the name', r.issuer)
      FROM auth.revocations AS r
     WHERE r.issuer <> '*' AND NOT EXISTS (SELECT FROM auth.issuers AS i WHERE i.issuer IN (r.issuer, '*'))
     GROUP BY r.issuer
),
-- Not those of all future tokens too, which are meant to stay.
revocations_kept AS (
    SELECT 'info', 'revocations_kept', NULL::regclass, NULL::oid, format('issuer %s', r.issuer),
           format('%s revocation%s by %s without expires_at, so they are kept for ever, although their tokens expire.', count(*),
               CASE count(*) WHEN 1 THEN '' ELSE 's' END, r.kind),
           format('UPDATE auth.revocations SET expires_at = revoked_at + interval ''1 day'' WHERE issuer = %L AND kind = %L AND expires_at IS NULL;'
               || ' -- with the longest life of such a token, or session', r.issuer, r.kind)
      FROM auth.revocations AS r
     WHERE r.expires_at IS NULL AND (r.kind IN ('jti', 'sid', 'token') OR r.issued_before <> 'infinity')
     GROUP BY r.issuer, r.kind
),
revocation_ends_early AS (
    SELECT 'warning', 'revocation_ends_early', NULL::regclass, NULL::oid, format('issuer %s', i.issuer),
           format('%s revocation%s by %s would end before the tokens, which count for %s (max_age).', count(*),
               CASE count(*) WHEN 1 THEN '' ELSE 's' END, r.kind, i.max_age),
           format('UPDATE auth.revocations SET expires_at = least(issued_before, revoked_at) + interval %L WHERE issuer = %L AND kind = %L'
               || ' AND expires_at < least(issued_before, revoked_at) + interval %1$L;', i.max_age + i.leeway, i.issuer, r.kind)
      FROM issuers AS i JOIN auth.revocations AS r ON r.issuer = i.issuer
     WHERE (r.kind IN ('jti', 'sid') OR (r.kind IN ('sub', 'issuer') AND r.issued_before <> 'infinity'))
       AND r.expires_at < least(r.issued_before, r.revoked_at) + i.max_age + i.leeway
     GROUP BY i.issuer, i.max_age, i.leeway, r.kind
),
-- 10. Followed sessions.
sessions_missing AS (
    SELECT 'error', 'sessions_missing', NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           s.detail || ' Each of its tokens is refused.', s.fix || ' -- once the table is one that can be followed'
      FROM auth.session_status AS s WHERE s.state = 'missing'
),
sessions_without_index AS (
    SELECT 'warning', 'sessions_without_index', NULL::regclass, NULL::oid, format('issuer %s', s.issuer), s.detail,
           format('CREATE INDEX ON %s (id); -- the column of the session''s id', s.source)
      FROM auth.session_status AS s WHERE s.has_index = false
),
-- Since the table is followed by this claim. Each row of auth.stats of this session is a part of one of the server, if
-- there are such.
sessions_unnamed AS (
    SELECT 'warning', 'sessions_unnamed', NULL::regclass, NULL::oid, format('issuer %s', s.issuer),
           format('No token that was verified since %s has the claim %s, by which its sessions are followed; the last one was refused with 28J09 at %s.',
               s.followed_at, s.claim, max(c.last_at)),
           format('SELECT auth.follow_sessions(%L, issuer => %L, claim => ''session_id'', columns => %L); -- with the claim that its tokens have; or let it add this one',
               s.source, s.issuer, i.sessions -> 'columns')
      FROM auth.session_status AS s JOIN auth.issuers AS i ON i.issuer = s.issuer
      JOIN auth.stats AS c ON c.issuer = s.issuer AND c.last_at >= s.followed_at
     WHERE c.event IN ('session_named', 'session_unnamed')
     GROUP BY s.issuer, s.source, s.claim, s.followed_at, i.sessions HAVING NOT bool_or(c.event = 'session_named')
),
findings (level, code, classid, objid, object, detail, fix) AS (
    TABLE rls_disabled UNION ALL TABLE table_without_rls UNION ALL TABLE partition_without_rls
    UNION ALL TABLE no_policy UNION ALL TABLE no_policy_for_command UNION ALL TABLE privilege_beyond_rls
    UNION ALL TABLE role_owns_table UNION ALL TABLE role_bypasses_rls UNION ALL TABLE role_can_switch
    UNION ALL TABLE library_loaded_late UNION ALL TABLE scope_not_stored UNION ALL TABLE server_outdated
    UNION ALL TABLE old_claim_functions UNION ALL TABLE policy_reads_setting UNION ALL TABLE policy_reads_user_metadata
    UNION ALL TABLE immutable_claims UNION ALL TABLE claims_error_caught UNION ALL TABLE policy_without_expression
    UNION ALL TABLE policy_always_true UNION ALL TABLE policy_for_no_login
    UNION ALL TABLE missing_index UNION ALL TABLE index_not_leakproof
    UNION ALL TABLE view_bypasses_rls UNION ALL TABLE materialized_view
    UNION ALL TABLE definer_search_path UNION ALL TABLE definer_bypasses_rls
    UNION ALL TABLE key_privilege UNION ALL TABLE secret_privilege UNION ALL TABLE key_schema_privilege
    UNION ALL TABLE claim_function_replaced UNION ALL TABLE key_triggers UNION ALL TABLE revocation_privilege
    UNION ALL TABLE audience_not_checked UNION ALL TABLE any_issuer UNION ALL TABLE tokens_never_expire
    UNION ALL TABLE login_incomplete UNION ALL TABLE login_role_missing UNION ALL TABLE login_role_exempt
    UNION ALL TABLE development_issuer
    UNION ALL TABLE no_keys UNION ALL TABLE keys_expire UNION ALL TABLE shared_secret
    UNION ALL TABLE source_is_out UNION ALL TABLE source_problem
    UNION ALL TABLE revocation_of_no_issuer UNION ALL TABLE revocations_kept UNION ALL TABLE revocation_ends_early
    UNION ALL TABLE sessions_missing UNION ALL TABLE sessions_without_index UNION ALL TABLE sessions_unnamed
),
-- 11. Findings that the owners ignore on purpose.
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
    'lists mistakes in the set-up of row-level security, certain and likely ones, each with the statement that corrects it';
