CREATE FUNCTION auth.jwt_session_init(token text, is_local boolean DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_session_init';
COMMENT ON FUNCTION auth.jwt_session_init(text, boolean) IS
    'verifies a token and sets it: for the transaction (is_local true), for the session (false), or NULL: for the transaction in a transaction block, else for the session; token NULL ends the token session';

CREATE FUNCTION auth.verify(token text) RETURNS jsonb
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_verify';
COMMENT ON FUNCTION auth.verify(text) IS
    'the claims of a good token, or the error that it would raise; touches no session';

CREATE FUNCTION auth.inspect(token text)
    RETURNS TABLE (step text, ok boolean, detail text)
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 15
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_inspect';
COMMENT ON FUNCTION auth.inspect(text) IS
    'why a token is or is not accepted, step by step; raises nothing for a bad one';
