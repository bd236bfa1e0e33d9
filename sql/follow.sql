CREATE FUNCTION auth.follow(
        source regclass, issuer text, audience text[] DEFAULT NULL, grace interval DEFAULT '30 days',
        columns jsonb DEFAULT NULL)
    RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_follow';
COMMENT ON FUNCTION auth.follow(regclass, text, text[], interval, jsonb) IS
    'has the issuer''s keys read in the table where the issuer keeps them; returns how many are trusted now';

CREATE FUNCTION auth.unfollow(issuer text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_unfollow';
COMMENT ON FUNCTION auth.unfollow(text) IS
    'ends auth.follow() and auth.follow_url(): no key of the issuer is trusted any more; false where none was followed';

CREATE FUNCTION auth.list_keys()
    RETURNS TABLE (
        issuer text, source text, kid text, alg text, created_at timestamptz, valid_until timestamptz, state text,
        last_success timestamptz, last_attempt timestamptz, failures integer, last_error text,
        next_attempt timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_keys';
COMMENT ON FUNCTION auth.list_keys() IS 'the rows of the view auth.key_status';

CREATE VIEW auth.key_status AS SELECT * FROM auth.list_keys();
COMMENT ON VIEW auth.key_status IS 'each issuer''s keys, where they come from, and how that goes';
COMMENT ON COLUMN auth.key_status.issuer IS 'the issuer''s name in auth.issuers';
COMMENT ON COLUMN auth.key_status.source IS 'where the key comes from: a table, or a URL';
COMMENT ON COLUMN auth.key_status.kid IS 'key id; NULL where the key has none, or the issuer no key';
COMMENT ON COLUMN auth.key_status.alg IS 'the algorithms that the key takes; NULL for a key that cannot be used';
COMMENT ON COLUMN auth.key_status.created_at IS 'when the key was made or stored, where the table says so';
COMMENT ON COLUMN auth.key_status.valid_until IS 'from when on the key is not used, grace included; NULL: never';
COMMENT ON COLUMN auth.key_status.state IS
    'live: of a table, its changes are announced; of a URL, it was fetched within max_stale; polled: looked at once a second; missing: no key counts; locked: cannot be looked at now; stale: not fetched for longer than max_stale';
COMMENT ON COLUMN auth.key_status.last_success IS 'of an endpoint: when it was last fetched';
COMMENT ON COLUMN auth.key_status.last_attempt IS 'of an endpoint: when a fetch was last tried';
COMMENT ON COLUMN auth.key_status.failures IS 'of an endpoint: how many fetches failed since the last success';
COMMENT ON COLUMN auth.key_status.last_error IS 'what is wrong with the source or the key, as a sentence';
COMMENT ON COLUMN auth.key_status.next_attempt IS 'of an endpoint: when it is fetched again';
