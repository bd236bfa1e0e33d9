CREATE FUNCTION auth.init(jwks jsonb, issuer text DEFAULT '*', audience text[] DEFAULT NULL)
    RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_init';
COMMENT ON FUNCTION auth.init(jsonb, text, text[]) IS
    'makes a JWKS (or one JWK) the issuer''s whole key set; returns how many keys are trusted now';
