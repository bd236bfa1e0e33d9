CREATE FUNCTION auth.list_stats() RETURNS TABLE (scope text, issuer text, event text, sqlstate text, count bigint, last_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_stats';
COMMENT ON FUNCTION auth.list_stats() IS 'rows of the view auth.stats';

CREATE FUNCTION auth.reset_stats() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_reset_stats';
COMMENT ON FUNCTION auth.reset_stats() IS
    'sets the counts of auth.stats to 0: of this session, and where there are those of all sessions of the database, of these too';

CREATE VIEW auth.stats AS SELECT * FROM auth.list_stats();
COMMENT ON VIEW auth.stats IS 'counts of tokens accepted and refused in this database, and of other events';
COMMENT ON COLUMN auth.stats.scope IS
    'backend: counts of this session; server: counts of all sessions, from Postgres 17 on or if the server loads the library';
COMMENT ON COLUMN auth.stats.issuer IS 'name of the issuer in auth.issuers; NULL: no known issuer, or no issuer in particular';
COMMENT ON COLUMN auth.stats.event IS
    'accepted; refused; cache_hit: a token that was verified before was used again; signature_cache_hit: a token was accepted whose signature this server had checked before; keys_reread: keys may have changed and were looked up again; session_named, session_unnamed: a token was verified that names a session, or none, of an issuer whose sessions are followed';
COMMENT ON COLUMN auth.stats.sqlstate IS 'SQLSTATE of a refusal; NULL for other events';
COMMENT ON COLUMN auth.stats.count IS 'number of events';
COMMENT ON COLUMN auth.stats.last_at IS 'time of the last such event; NULL: not kept, for cache_hit, signature_cache_hit and keys_reread';
