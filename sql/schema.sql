-- The extension's objects live in a schema of its own, named auth. It is not the extension's
-- "schema" in the sense of the control file, so that the script can run with a search_path of
-- pg_catalog alone.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'auth') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_schema',
            MESSAGE = 'schema "auth" already exists',
            DETAIL = 'pg_auth_jwt keeps its tables and functions in a schema "auth" of its own.',
            HINT = 'Drop the schema, or rename it with ALTER SCHEMA auth RENAME TO ..., before CREATE EXTENSION pg_auth_jwt.';
    END IF;
END
$$;

CREATE SCHEMA auth;
COMMENT ON SCHEMA auth IS 'pg_auth_jwt: verified JSON Web Tokens for row-level security';
