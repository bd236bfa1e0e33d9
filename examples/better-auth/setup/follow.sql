-- After the migrations, once: the database takes Better Auth's keys from Better Auth's own table.
-- psql's variable `url` is the baseURL, which Better Auth writes into "iss" and "aud".
\set QUIET on
\connect - app_owner
GRANT EXECUTE ON FUNCTION auth.keys_changed() TO better_auth;

\connect - better_auth
-- All but the private key.
GRANT SELECT (id, "publicKey", "createdAt", "expiresAt", alg) ON jwks TO app_owner;
-- They announce changes: a key that is withdrawn is refused by the next statement of every session.
-- Without them, within a second. auth.follow makes them itself where one role owns both.
CREATE TRIGGER pg_auth_jwt_keys_changed AFTER INSERT OR UPDATE OR DELETE ON jwks
    FOR EACH ROW EXECUTE FUNCTION auth.keys_changed();
CREATE TRIGGER pg_auth_jwt_keys_truncated AFTER TRUNCATE ON jwks
    FOR EACH STATEMENT EXECUTE FUNCTION auth.keys_changed();
ALTER TABLE jwks ENABLE ALWAYS TRIGGER pg_auth_jwt_keys_changed,
    ENABLE ALWAYS TRIGGER pg_auth_jwt_keys_truncated;
ALTER TRIGGER pg_auth_jwt_keys_changed ON jwks DEPENDS ON EXTENSION pg_auth_jwt;
ALTER TRIGGER pg_auth_jwt_keys_truncated ON jwks DEPENDS ON EXTENSION pg_auth_jwt;

\connect - app_owner
SELECT auth.follow('better_auth.jwks', issuer => :'url', audience => ARRAY[:'url'], grace => '1 hour')
    AS keys \gset
