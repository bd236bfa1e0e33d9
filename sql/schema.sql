-- The extension's objects are in a schema of its own, named auth. The control file does not set it
-- as the extension's "schema", so that the script can run with a search_path of pg_catalog alone.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'auth') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_schema',
            MESSAGE = 'schema "auth" already exists',
            DETAIL = 'pg_auth_jwt keeps its tables and functions in a schema "auth" of its own.',
            -- Not "drop it": a schema auth made by Better Auth or Supabase contains the users.
            HINT = 'Move or rename that schema first (ALTER SCHEMA auth RENAME TO ...). Policies, defaults and '
                'views that call functions of the renamed schema go on calling the old functions until you '
                'change them; auth.lint() then names them.';
    END IF;
END
$$;

CREATE SCHEMA auth;
COMMENT ON SCHEMA auth IS 'pg_auth_jwt: verified JSON Web Tokens for row-level security';
