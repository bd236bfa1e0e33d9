-- Revocations: tokens that end before their time.

-- A row for each selector and time, so that none masks another: each matching row counts. No foreign key to
-- auth.issuers, for the reason that tables.sql gives; auth.lint() names rows of unknown issuers. A trigger does the
-- work of a CHECK, which each new connection would read.
CREATE TABLE auth.revocations (
    issuer text COLLATE pg_catalog."C" NOT NULL,
    kind text COLLATE pg_catalog."C" NOT NULL,
    value text COLLATE pg_catalog."C" NOT NULL DEFAULT '',
    issued_before timestamptz NOT NULL DEFAULT pg_catalog.now(),
    expires_at timestamptz,
    reason text,
    revoked_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (issuer, kind, value, issued_before)
);
-- For the deletion of rows that have run out.
CREATE INDEX revocations_expires_at ON auth.revocations (expires_at);
COMMENT ON TABLE auth.revocations IS 'tokens that are refused before their time; each matching row counts';
COMMENT ON COLUMN auth.revocations.issuer IS 'issuer of the tokens: their iss; * stands for any or none';
COMMENT ON COLUMN auth.revocations.kind IS
    'claim that names the tokens: jti, sub, or sid for the claims sid and session_id; token: one token; issuer: all of the issuer''s';
COMMENT ON COLUMN auth.revocations.value IS
    'value of that claim; for token, SHA-256 of header and payload in hexadecimal; empty for issuer';
COMMENT ON COLUMN auth.revocations.issued_before IS
    'tokens whose iat is before this, the issuer''s leeway added, are refused, and those without iat; infinity: all';
COMMENT ON COLUMN auth.revocations.expires_at IS
    'time by which these tokens have expired: after it and the issuer''s leeway the row does not count; NULL: it always does';
COMMENT ON COLUMN auth.revocations.reason IS 'for people; never told to the sender of a token';
COMMENT ON COLUMN auth.revocations.revoked_at IS 'time of the revocation';
COMMENT ON INDEX auth.revocations_expires_at IS 'rows that have run out, for auth.revoke()';

CREATE FUNCTION auth.revocations_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_revocations_changed';
COMMENT ON FUNCTION auth.revocations_changed() IS
    'trigger: has every backend ask again whether its tokens are revoked once the change commits; refuses what no token can match';

CREATE TRIGGER revocations_changed AFTER INSERT OR UPDATE OR DELETE ON auth.revocations
    FOR EACH ROW EXECUTE FUNCTION auth.revocations_changed();
CREATE TRIGGER revocations_truncated AFTER TRUNCATE ON auth.revocations
    FOR EACH STATEMENT EXECUTE FUNCTION auth.revocations_changed();
COMMENT ON TRIGGER revocations_changed ON auth.revocations IS 'announces the change to every backend';
COMMENT ON TRIGGER revocations_truncated ON auth.revocations IS 'announces the change to every backend';
ALTER TABLE auth.revocations ENABLE ALWAYS TRIGGER revocations_changed;
ALTER TABLE auth.revocations ENABLE ALWAYS TRIGGER revocations_truncated;

SELECT pg_catalog.pg_extension_config_dump('auth.revocations', '');

-- SECURITY DEFINER: a role that may revoke tokens needs no right on any table, so a support desk can sign people out
-- and cannot add a key. All tokens of an issuer have functions of their own: no value of revoke(issuer, sub => ...), be
-- it NULL or what a user has chosen as a name, signs everyone out.
CREATE FUNCTION auth.revoke(
        issuer text, jti text DEFAULT NULL, sub text DEFAULT NULL, sid text DEFAULT NULL, token text DEFAULT NULL,
        issued_before timestamptz DEFAULT NULL, expires_at timestamptz DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_revoke';
COMMENT ON FUNCTION auth.revoke(text, text, text, text, text, timestamptz, timestamptz, text) IS
    'refuses tokens from the next statement of every session on: those of one jti, sub or sid, or one token';

CREATE FUNCTION auth.revoke_issuer(
        issuer text, issued_before timestamptz DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
        reason text DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_revoke_issuer';
COMMENT ON FUNCTION auth.revoke_issuer(text, timestamptz, timestamptz, text) IS
    'refuses all tokens that the issuer has issued so far, from the next statement of every session on';

CREATE FUNCTION auth.unrevoke(
        issuer text, jti text DEFAULT NULL, sub text DEFAULT NULL, sid text DEFAULT NULL, token text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_unrevoke';
COMMENT ON FUNCTION auth.unrevoke(text, text, text, text, text) IS
    'deletes the revocations that auth.revoke() stored for this jti, sub, sid or token; false if there was none';

CREATE FUNCTION auth.unrevoke_issuer(issuer text)
    RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_unrevoke_issuer';
COMMENT ON FUNCTION auth.unrevoke_issuer(text) IS
    'deletes the revocations that auth.revoke_issuer() stored; false if there was none';

-- A function, because a view would pin the columns of the tables. SECURITY DEFINER, so that who may look at the
-- revocations needs no right on auth.issuers.
CREATE FUNCTION auth.list_revocations()
    RETURNS TABLE (
        issuer text, kind text, value text, issued_before timestamptz, counts_until timestamptz, state text, reason text,
        revoked_at timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.issuer, r.kind, r.value, r.issued_before, r.expires_at OPERATOR(pg_catalog.+) l.leeway,
           CASE WHEN l.leeway IS NULL THEN 'no_issuer'
                WHEN r.expires_at OPERATOR(pg_catalog.+) l.leeway OPERATOR(pg_catalog.<=) pg_catalog.now() THEN 'ended'
                ELSE 'live' END,
           r.reason, r.revoked_at
      FROM auth.revocations AS r
      LEFT JOIN LATERAL (SELECT pg_catalog.max(i.leeway) AS leeway FROM auth.issuers AS i
                          WHERE r.issuer OPERATOR(pg_catalog.=) '*' OR i.issuer OPERATOR(pg_catalog.=) r.issuer
                             OR i.issuer OPERATOR(pg_catalog.=) '*') AS l ON true
    $$;
COMMENT ON FUNCTION auth.list_revocations() IS 'rows of the view auth.revocation_status';

CREATE VIEW auth.revocation_status AS SELECT * FROM auth.list_revocations();
COMMENT ON VIEW auth.revocation_status IS 'revocations, and whether and until when they count';
COMMENT ON COLUMN auth.revocation_status.issuer IS 'issuer of the tokens';
COMMENT ON COLUMN auth.revocation_status.kind IS 'claim that names the tokens; token: one token; issuer: all';
COMMENT ON COLUMN auth.revocation_status.value IS 'value of that claim, or digest of the token';
COMMENT ON COLUMN auth.revocation_status.issued_before IS 'tokens issued before this are refused; infinity: all';
COMMENT ON COLUMN auth.revocation_status.counts_until IS 'end of the revocation, leeway included; NULL: none';
COMMENT ON COLUMN auth.revocation_status.state IS
    'live: tokens are refused; ended: the tokens have expired, and the next auth.revoke() may delete the row; no_issuer: no token can match, as auth.issuers has no such issuer';
COMMENT ON COLUMN auth.revocation_status.reason IS 'reason that was given';
COMMENT ON COLUMN auth.revocation_status.revoked_at IS 'time of the revocation';
