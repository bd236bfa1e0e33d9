CREATE FUNCTION auth.jwt_session_init(token text, is_local boolean DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_session_init';
COMMENT ON FUNCTION auth.jwt_session_init(text, boolean) IS
    'verifies a token and sets it: for the transaction (is_local true) or the session (false); is_local NULL: for the transaction in a transaction block, else for the session; token NULL ends the token session';

-- For callers that name the argument as pg_session_jwt does: jwt => '...'. `varchar` and not `text`,
-- because Postgres finds f(text) and f(text, boolean DEFAULT NULL) ambiguous. This way each call finds
-- one function: a literal or parameter of unknown type is taken for text, and a varchar, as JDBC sends
-- it, is for this function. It is the same C function, with is_local NULL.
CREATE FUNCTION auth.jwt_session_init(jwt varchar)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_session_init';
COMMENT ON FUNCTION auth.jwt_session_init(varchar) IS
    'as jwt_session_init(text, boolean) with is_local NULL; for callers that name the argument jwt, as pg_session_jwt does';

CREATE FUNCTION auth.login(token text)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_login';
COMMENT ON FUNCTION auth.login(text) IS
    'verifies a token, and sets it and the role that it names until the end of the transaction';

CREATE FUNCTION auth.verify(token text) RETURNS jsonb
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_verify';
COMMENT ON FUNCTION auth.verify(text) IS
    'returns the claims of a good token, or raises the error of a bad one; touches no session';

CREATE FUNCTION auth.inspect(token text)
    RETURNS TABLE (step text, ok boolean, detail text)
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 15
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_inspect';
COMMENT ON FUNCTION auth.inspect(text) IS
    'says step by step why a token is or is not accepted; raises nothing for a bad one';
