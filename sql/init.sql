CREATE FUNCTION auth.init(jwks jsonb, issuer text DEFAULT '*', audience text[] DEFAULT NULL)
    RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_init';
COMMENT ON FUNCTION auth.init(jsonb, text, text[]) IS
    'makes a JWKS (or one JWK) the issuer''s whole key set; returns the number of keys trusted now';

-- Clients of pg_session_jwt call it after connecting. Here the keys are rows, so nothing is left to do.
CREATE FUNCTION auth.init() RETURNS void
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS '';
COMMENT ON FUNCTION auth.init() IS 'does nothing; for clients that call it after connecting, as pg_session_jwt requires';
