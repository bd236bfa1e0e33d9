CREATE FUNCTION auth.list_stats() RETURNS TABLE (scope text, issuer text, event text, sqlstate text, count bigint, last_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_stats';
COMMENT ON FUNCTION auth.list_stats() IS 'the rows of the view auth.stats';

CREATE FUNCTION auth.reset_stats() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_reset_stats';
COMMENT ON FUNCTION auth.reset_stats() IS
    'sets the counts of auth.stats to 0: this session''s, and those of all sessions of the database where they are counted';

CREATE VIEW auth.stats AS SELECT * FROM auth.list_stats();
COMMENT ON VIEW auth.stats IS 'how many tokens were accepted and refused in this database, and the like';
COMMENT ON COLUMN auth.stats.scope IS
    'backend: this session''s, since it began; server: of all sessions, where the server loads the library';
COMMENT ON COLUMN auth.stats.issuer IS 'the issuer''s name in auth.issuers; NULL: of no known issuer, or of none in particular';
COMMENT ON COLUMN auth.stats.event IS
    'accepted; refused; cache_hit: a token that was verified before was used again; keys_reread: keys may have changed and were looked up again';
COMMENT ON COLUMN auth.stats.sqlstate IS 'SQLSTATE of a refusal; NULL for other events';
COMMENT ON COLUMN auth.stats.count IS 'how often that happened';
COMMENT ON COLUMN auth.stats.last_at IS 'when a token was last accepted, or refused so; NULL for other events';
