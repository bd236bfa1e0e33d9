-- Issuers whose keys are fetched from a URL. The keys are rows of auth.jwks; these tables hold the state
-- of fetching, and the keys that must not be stored again.

-- Nothing announces the writes of a fetch here: a fetch that changes no key makes no backend read
-- anything again.
CREATE TABLE auth.endpoints (
    issuer text COLLATE pg_catalog."C" PRIMARY KEY,
    url text NOT NULL,
    jwks_uri text,
    etag text,
    etag_digest text,
    answer_date timestamptz,
    last_modified timestamptz,
    last_success timestamptz,
    last_attempt timestamptz,
    outcome text
        CONSTRAINT outcome_known CHECK (
            outcome OPERATOR(pg_catalog.=) ANY ('{changed,unchanged,outdated,failed}'::pg_catalog.text[])),
    failures integer NOT NULL DEFAULT 0
        CONSTRAINT failures_not_negative CHECK (failures OPERATOR(pg_catalog.>=) 0),
    last_error text,
    note text,
    next_attempt timestamptz,
    unknown_key_after timestamptz,
    unknown_key_wait integer NOT NULL DEFAULT 30
        CONSTRAINT unknown_key_wait_positive CHECK (unknown_key_wait OPERATOR(pg_catalog.>) 0)
);
COMMENT ON TABLE auth.endpoints IS 'state of fetching, one row for each issuer with a URL';
COMMENT ON COLUMN auth.endpoints.issuer IS 'issuer of the keys';
COMMENT ON COLUMN auth.endpoints.url IS 'URL that is fetched';
COMMENT ON COLUMN auth.endpoints.jwks_uri IS 'URL of the keys, as the last discovery document names it';
COMMENT ON COLUMN auth.endpoints.etag IS 'ETag of the last new answer';
COMMENT ON COLUMN auth.endpoints.etag_digest IS 'digest of the keys stored then: the ETag is sent while they are the same';
COMMENT ON COLUMN auth.endpoints.answer_date IS 'Date of the latest answer';
COMMENT ON COLUMN auth.endpoints.last_modified IS 'Last-Modified of the latest answer';
COMMENT ON COLUMN auth.endpoints.last_success IS 'time of the last successful fetch, from which auth.issuers.max_stale counts';
COMMENT ON COLUMN auth.endpoints.last_attempt IS 'time at which the last fetch began';
COMMENT ON COLUMN auth.endpoints.outcome IS 'outcome of the last fetch; NULL while it runs';
COMMENT ON COLUMN auth.endpoints.failures IS 'number of failed fetches since the last success';
COMMENT ON COLUMN auth.endpoints.last_error IS 'reason why the last fetch failed';
COMMENT ON COLUMN auth.endpoints.note IS 'keys that the last success left out, and the reason';
COMMENT ON COLUMN auth.endpoints.next_attempt IS 'time at which the next fetch is due';
COMMENT ON COLUMN auth.endpoints.unknown_key_after IS 'time from which on a token with an unknown key may cause a fetch';
COMMENT ON COLUMN auth.endpoints.unknown_key_wait IS 'seconds between two such fetches';
COMMENT ON CONSTRAINT outcome_known ON auth.endpoints IS 'outcomes of auth.refresh() that a finished fetch leaves';
COMMENT ON CONSTRAINT failures_not_negative ON auth.endpoints IS 'a count';
COMMENT ON CONSTRAINT unknown_key_wait_positive ON auth.endpoints IS 'a length of time';

-- Backends that know the keys are told if the owner shortens the time for which keys count. A fetch
-- never makes last_success earlier, unless the clock was set back.
CREATE TRIGGER endpoints_deleted AFTER DELETE ON auth.endpoints
    FOR EACH ROW EXECUTE FUNCTION auth.endpoint_changed();
CREATE TRIGGER endpoints_changed AFTER UPDATE ON auth.endpoints
    FOR EACH ROW EXECUTE FUNCTION auth.endpoint_changed();
CREATE TRIGGER endpoints_truncated AFTER TRUNCATE ON auth.endpoints
    FOR EACH STATEMENT EXECUTE FUNCTION auth.endpoint_changed();
COMMENT ON TRIGGER endpoints_deleted ON auth.endpoints IS 'announces to every backend that keys no longer count';
COMMENT ON TRIGGER endpoints_changed ON auth.endpoints IS 'announces to every backend that keys count for a shorter time';
COMMENT ON TRIGGER endpoints_truncated ON auth.endpoints IS 'announces to every backend that keys no longer count';
ALTER TABLE auth.endpoints ENABLE ALWAYS TRIGGER endpoints_deleted;
ALTER TABLE auth.endpoints ENABLE ALWAYS TRIGGER endpoints_changed;
ALTER TABLE auth.endpoints ENABLE ALWAYS TRIGGER endpoints_truncated;

CREATE TABLE auth.withdrawn_keys (
    issuer text COLLATE pg_catalog."C" NOT NULL,
    thumbprint text COLLATE pg_catalog."C" NOT NULL,
    withdrawn_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (issuer, thumbprint)
);
COMMENT ON TABLE auth.withdrawn_keys IS
    'fetched keys that were deleted by hand, or noted here by hand: they do not count, even if the issuer still publishes them';
COMMENT ON COLUMN auth.withdrawn_keys.issuer IS 'issuer of the key';
COMMENT ON COLUMN auth.withdrawn_keys.thumbprint IS 'RFC 7638, SHA-256';
COMMENT ON COLUMN auth.withdrawn_keys.withdrawn_at IS 'time at which it was deleted or noted';

-- SECURITY DEFINER: a role that may delete a key need not have a right on auth.withdrawn_keys.
CREATE FUNCTION auth.note_withdrawn() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_note_withdrawn';
COMMENT ON FUNCTION auth.note_withdrawn() IS
    'trigger: notes fetched keys that are deleted by hand, so that they are not stored again, and deletes their other names';

-- Not ENABLE ALWAYS: a subscriber of a logical replication gets the rows of auth.withdrawn_keys
-- themselves, and the publisher's fetching process deletes keys there too.
CREATE TRIGGER key_withdrawn AFTER DELETE OR UPDATE ON auth.jwks
    FOR EACH ROW EXECUTE FUNCTION auth.note_withdrawn();
CREATE TRIGGER keys_withdrawn BEFORE TRUNCATE ON auth.jwks
    FOR EACH STATEMENT EXECUTE FUNCTION auth.note_withdrawn();
COMMENT ON TRIGGER key_withdrawn ON auth.jwks IS
    'keeps a deleted key from being stored again, and deletes its other names';
COMMENT ON TRIGGER keys_withdrawn ON auth.jwks IS 'keeps deleted keys from being stored again';

-- SECURITY DEFINER: a role that may note a key need not have a right on auth.jwks.
CREATE FUNCTION auth.delete_withdrawn() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_delete_withdrawn';
COMMENT ON FUNCTION auth.delete_withdrawn() IS
    'trigger: deletes a key whose thumbprint is written into auth.withdrawn_keys';

-- Not ENABLE ALWAYS either: a subscriber gets the deletion of the key itself.
CREATE TRIGGER withdrawn_noted AFTER INSERT OR UPDATE ON auth.withdrawn_keys
    FOR EACH ROW EXECUTE FUNCTION auth.delete_withdrawn();
COMMENT ON TRIGGER withdrawn_noted ON auth.withdrawn_keys IS 'deletes a key that is noted by hand';

SELECT pg_catalog.pg_extension_config_dump('auth.endpoints', '');
SELECT pg_catalog.pg_extension_config_dump('auth.withdrawn_keys', '');

CREATE FUNCTION auth.follow_url(issuer text, url text DEFAULT NULL, audience text[] DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_follow_url';
COMMENT ON FUNCTION auth.follow_url(text, text, text[]) IS
    'has the issuer''s keys fetched from a URL again and again; url NULL: from the URL in the issuer''s discovery document';

CREATE FUNCTION auth.refresh(issuer text DEFAULT NULL) RETURNS TABLE (issuer text, outcome text, detail text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_refresh';
COMMENT ON FUNCTION auth.refresh(text) IS
    'fetches the keys of an issuer (NULL: of all issuers with a URL) now, and waits for the outcome';
