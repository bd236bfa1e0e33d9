-- Calls the policies of a table with the rights of the role asked about (src/explain/mod.rs).
CREATE FUNCTION auth.explain_access(
        relation regclass, token text, command text DEFAULT 'SELECT', role name DEFAULT 'authenticated')
    RETURNS TABLE (subject text, applies boolean, kind text, expression text, claims jsonb, rows bigint, detail text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_explain_access';
COMMENT ON FUNCTION auth.explain_access(regclass, text, text, name) IS
    'counts the rows that a role sees with a token, policy by policy, and says why; changes nothing and shows no row';
