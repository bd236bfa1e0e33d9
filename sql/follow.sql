CREATE FUNCTION auth.follow(
        source regclass, issuer text, audience text[] DEFAULT NULL, grace interval DEFAULT '30 days',
        columns jsonb DEFAULT NULL)
    RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_follow';
COMMENT ON FUNCTION auth.follow(regclass, text, text[], interval, jsonb) IS
    'has the issuer''s keys read in the table where the issuer keeps them; returns the number of keys trusted now';

CREATE FUNCTION auth.unfollow(issuer text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_unfollow';
COMMENT ON FUNCTION auth.unfollow(text) IS
    'ends auth.follow() and auth.follow_url(): no key of the issuer is trusted any more; false if nothing was followed';

CREATE FUNCTION auth.list_keys()
    RETURNS TABLE (
        issuer text, source text, kid text, alg text, created_at timestamptz, valid_until timestamptz, state text,
        problem text, detail text, fix text, last_success timestamptz, last_attempt timestamptz, failures integer,
        next_attempt timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_keys';
COMMENT ON FUNCTION auth.list_keys() IS 'rows of the view auth.key_status';

CREATE VIEW auth.key_status AS SELECT * FROM auth.list_keys();
COMMENT ON VIEW auth.key_status IS 'keys of each issuer, their source and its state';
COMMENT ON COLUMN auth.key_status.issuer IS 'name of the issuer in auth.issuers';
COMMENT ON COLUMN auth.key_status.source IS 'source of the key: a table, or a URL';
COMMENT ON COLUMN auth.key_status.kid IS 'key id; NULL if the key has none, or the issuer no key';
COMMENT ON COLUMN auth.key_status.alg IS 'algorithms that the key takes; NULL for a key that cannot be used';
COMMENT ON COLUMN auth.key_status.created_at IS 'time at which the key was made or stored, if the table says so';
COMMENT ON COLUMN auth.key_status.valid_until IS 'end of the key, grace or max_stale included; NULL: none';
COMMENT ON COLUMN auth.key_status.state IS
    'live: changes of the table are announced, or the URL was fetched within max_stale; polled: the table is looked at once a second; missing: no key counts; locked: the table is locked now; stale: not fetched for longer than max_stale';
COMMENT ON COLUMN auth.key_status.problem IS 'fault of the source or the key, as a code; NULL: none';
COMMENT ON COLUMN auth.key_status.detail IS 'fault in sentences';
COMMENT ON COLUMN auth.key_status.fix IS 'statement that corrects the problem; NULL if there is none';
COMMENT ON COLUMN auth.key_status.last_success IS 'time of the last successful fetch, for a URL';
COMMENT ON COLUMN auth.key_status.last_attempt IS 'time of the last fetch, for a URL';
COMMENT ON COLUMN auth.key_status.failures IS 'number of failed fetches since the last success, for a URL';
COMMENT ON COLUMN auth.key_status.next_attempt IS 'time of the next fetch, for a URL';

CREATE FUNCTION auth.follow_sessions(source regclass, issuer text, claim text DEFAULT 'sid', columns jsonb DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_follow_sessions';
COMMENT ON FUNCTION auth.follow_sessions(regclass, text, text, jsonb) IS
    'has tokens of the issuer count only while the session that the claim names is in the issuer''s own table of sessions';

CREATE FUNCTION auth.unfollow_sessions(issuer text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_unfollow_sessions';
COMMENT ON FUNCTION auth.unfollow_sessions(text) IS
    'ends auth.follow_sessions(): tokens count until they expire; false if the issuer''s sessions were not followed';

CREATE FUNCTION auth.list_session_sources()
    RETURNS TABLE (issuer text, source text, claim text, followed_at timestamptz, state text, has_index boolean, detail text, fix text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_session_sources';
COMMENT ON FUNCTION auth.list_session_sources() IS 'rows of the view auth.session_status';

CREATE VIEW auth.session_status AS SELECT * FROM auth.list_session_sources();
COMMENT ON VIEW auth.session_status IS 'followed tables of sessions, and whether they can be read';
COMMENT ON COLUMN auth.session_status.issuer IS 'name of the issuer in auth.issuers';
COMMENT ON COLUMN auth.session_status.source IS 'table of its sessions';
COMMENT ON COLUMN auth.session_status.claim IS 'claim that names a session';
COMMENT ON COLUMN auth.session_status.followed_at IS 'time of the call of auth.follow_sessions()';
COMMENT ON COLUMN auth.session_status.state IS 'live; locked: the table is locked now; missing: no token of the issuer is accepted';
COMMENT ON COLUMN auth.session_status.has_index IS 'whether a session is found by an index; NULL if the table cannot be read';
COMMENT ON COLUMN auth.session_status.detail IS 'problem, as a sentence; NULL: none';
COMMENT ON COLUMN auth.session_status.fix IS 'statement that follows the table again, where there is a problem';
