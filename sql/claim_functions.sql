-- STABLE: the answer does not change within one statement. PARALLEL SAFE: a worker gets the setting
-- from its leader and verifies it itself. Not STRICT, because there is no argument.

CREATE FUNCTION auth.session() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_session';
COMMENT ON FUNCTION auth.session() IS 'all claims of the session''s token; NULL without one';

CREATE FUNCTION auth.jwt() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_session';
COMMENT ON FUNCTION auth.jwt() IS 'all claims of the session''s token; the same as auth.session()';

CREATE FUNCTION auth.user_id() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_user_id';
COMMENT ON FUNCTION auth.user_id() IS 'sub of the session''s token; NULL without one';

CREATE FUNCTION auth.uid() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_uid';
COMMENT ON FUNCTION auth.uid() IS 'sub of the session''s token as uuid; NULL if it is not one';

CREATE FUNCTION auth.role() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_role';
COMMENT ON FUNCTION auth.role() IS 'claim role of the session''s token';

CREATE FUNCTION auth.email() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_email';
COMMENT ON FUNCTION auth.email() IS 'claim email of the session''s token';

CREATE FUNCTION auth.organization() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_organization';
COMMENT ON FUNCTION auth.organization() IS 'claim o of the session''s token, if it is an object';

CREATE FUNCTION auth.organization_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_organization_id';
COMMENT ON FUNCTION auth.organization_id() IS 'id in the claim o of the session''s token, if it is a uuid';
