-- Who may what. Everyone: hand over a token and read its claims. The owner of the extension: the
-- rest. A trusted extension's script runs as the bootstrap superuser, so what the owner is to manage
-- is given to him by name.

-- What everyone may call has the privileges that it was created with, NULL in the catalog: a list,
-- though it said the same, would be taken apart each time that a statement is about to call it. Only
-- where ALTER DEFAULT PRIVILEGES has taken them from everyone are they granted.
DO $$
DECLARE
    f pg_catalog.regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_catalog.pg_proc AS p
              WHERE p.pronamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
    LOOP
        IF NOT f OPERATOR(pg_catalog.=) ANY (ARRAY[
            'auth.jwt_session_init(text, boolean)', 'auth.session()', 'auth.jwt()', 'auth.user_id()',
            'auth.uid()', 'auth.role()', 'auth.email()', 'auth.organization()', 'auth.organization_id()'
            ]::pg_catalog.regprocedure[])
        THEN
            EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        ELSIF NOT pg_catalog.has_function_privilege('public', f, 'EXECUTE') THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f);
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON ALL TABLES IN SCHEMA auth FROM PUBLIC;
GRANT USAGE ON SCHEMA auth TO PUBLIC;

ALTER SCHEMA auth OWNER TO @extowner@;
ALTER TABLE auth.issuers OWNER TO @extowner@;
ALTER TABLE auth.jwks OWNER TO @extowner@;
ALTER FUNCTION auth.init(jsonb, text, text[]) OWNER TO @extowner@;
ALTER FUNCTION auth.verify(text) OWNER TO @extowner@;
ALTER FUNCTION auth.inspect(text) OWNER TO @extowner@;
