-- Objects that CREATE EXTENSION by a database owner creates: owners, comments, privileges.
SELECT extname, extversion, extnamespace::regnamespace, extowner::regrole, extrelocatable, obj_description(oid, 'pg_extension')
  FROM pg_extension WHERE extname = 'pg_auth_jwt';
SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user;

-- The extension's owner owns none of its objects: the owner of a table may alter it and add
-- triggers.
SELECT nspname, nspowner::regrole AS owner FROM pg_namespace WHERE nspname = 'auth';
SELECT relname, relowner::regrole AS owner
  FROM pg_class WHERE relnamespace = 'auth'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT proname, proowner::regrole AS owner, provolatile AS volatile,
       proparallel AS parallel, proisstrict AS strict, proconfig AS config
  FROM pg_proc WHERE pronamespace = 'auth'::regnamespace ORDER BY 1, pronargs;

-- The complete list of PUBLIC's privileges, from the catalog.
SELECT 'function ' || p.oid::regprocedure AS object, a.privilege_type
  FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
 WHERE pronamespace = 'auth'::regnamespace AND a.grantee = 0
UNION ALL
SELECT 'relation ' || c.oid::regclass, a.privilege_type
  FROM pg_class c, aclexplode(coalesce(relacl, acldefault('r', relowner))) a
 WHERE relnamespace = 'auth'::regnamespace AND relkind <> 'i' AND a.grantee = 0
UNION ALL
SELECT 'schema ' || nspname, a.privilege_type
  FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'auth' AND a.grantee = 0
ORDER BY 1, 2;

-- Each object of the extension has a comment.
SELECT pg_describe_object(classid, objid, 0) AS without_comment
  FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_auth_jwt')
   AND classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass)
   AND obj_description(objid, classid::regclass::name) IS NULL;
SELECT attrelid::regclass, attname AS without_comment FROM pg_attribute
 WHERE attrelid IN ('auth.issuers'::regclass, 'auth.jwks'::regclass) AND attnum > 0
   AND col_description(attrelid, attnum) IS NULL;

-- The triggers fire under replication too.
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger
 WHERE tgrelid IN ('auth.issuers'::regclass, 'auth.jwks'::regclass, 'auth.withdrawn_keys'::regclass) AND NOT tgisinternal ORDER BY 1, 2;

-- pg_dump includes the rows.
SELECT unnest(extconfig)::regclass FROM pg_extension WHERE extname = 'pg_auth_jwt';

-- A schema of the same name that another role owns.
DROP EXTENSION pg_auth_jwt;
SELECT count(*) FROM pg_namespace WHERE nspname = 'auth';
CREATE SCHEMA auth;
\set SHOW_CONTEXT never
CREATE EXTENSION pg_auth_jwt;
\echo :LAST_ERROR_SQLSTATE
DROP SCHEMA auth;
CREATE EXTENSION pg_auth_jwt;
SELECT auth.session() IS NULL AS anonymous;

-- Functions for everyone keep the default privileges, which cost nothing to check. Where the
-- default does not include PUBLIC, EXECUTE is granted.
SELECT count(*) FILTER (WHERE proacl IS NULL) AS at_default, count(*) FROM pg_proc WHERE pronamespace = 'auth'::regnamespace;
DROP EXTENSION pg_auth_jwt;
\c - postgres
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
\c - owner_role
CREATE EXTENSION pg_auth_jwt;
SELECT p.oid::regprocedure AS for_everyone FROM pg_proc p
 WHERE pronamespace = 'auth'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1;
