-- No table refers to another by a foreign key: pg_restore --jobs loads the tables in any order, and
-- would lose those that it loads before auth.issuers, the withdrawn keys among them. Triggers do
-- the work of the foreign keys: admit_key, issuer_renamed, issuer_removed and issuers_removed.

-- Names are compared byte by byte, also by index scans without SQL: hence COLLATE "C".
CREATE TABLE auth.issuers (
    issuer text COLLATE pg_catalog."C" PRIMARY KEY
        CONSTRAINT issuer_not_empty CHECK (issuer OPERATOR(pg_catalog.<>) ''),
    audience text[]
        CONSTRAINT audience_not_empty CHECK (
            pg_catalog.cardinality(audience) OPERATOR(pg_catalog.>) 0
            AND pg_catalog.array_position(audience, NULL) IS NULL),
    algorithms text[]
        CONSTRAINT algorithms_known CHECK (
            pg_catalog.cardinality(algorithms) OPERATOR(pg_catalog.>) 0
            AND pg_catalog.array_position(algorithms, NULL) IS NULL
            AND auth.algorithms_are_known(algorithms)),
    required_claims text[] NOT NULL DEFAULT '{exp}'
        CONSTRAINT required_claims_named CHECK (
            pg_catalog.array_position(required_claims, NULL) IS NULL),
    leeway interval NOT NULL DEFAULT '60 s'
        CONSTRAINT leeway_not_negative CHECK (leeway OPERATOR(pg_catalog.>=) '0 s'::pg_catalog.interval),
    max_age interval
        CONSTRAINT max_age_positive CHECK (max_age OPERATOR(pg_catalog.>) '0 s'::pg_catalog.interval),
    token_types text[] DEFAULT '{JWT,at+jwt}'
        CONSTRAINT token_types_named CHECK (
            pg_catalog.array_position(token_types, NULL) IS NULL),
    enabled boolean NOT NULL DEFAULT true,
    source jsonb
        CONSTRAINT source_known CHECK (auth.source_is_known(source)),
    max_stale interval DEFAULT '7 days'
        CONSTRAINT max_stale_not_negative CHECK (max_stale OPERATOR(pg_catalog.>=) '0 s'::pg_catalog.interval),
    bound_tokens text NOT NULL DEFAULT 'refuse'
        CONSTRAINT bound_tokens_known CHECK (
            bound_tokens OPERATOR(pg_catalog.=) ANY ('{refuse,accept}'::pg_catalog.text[])),
    role_claim text
        CONSTRAINT role_claim_valid CHECK (auth.claim_path_is_valid(role_claim)),
    allowed_roles text[]
        CONSTRAINT allowed_roles_named CHECK (
            pg_catalog.array_position(allowed_roles, NULL) IS NULL),
    sessions jsonb
);
COMMENT ON TABLE auth.issuers IS 'issuers whose tokens are accepted, and the rules for these';
COMMENT ON COLUMN auth.issuers.issuer IS 'exact iss that a token must carry; * accepts any or none';
COMMENT ON COLUMN auth.issuers.audience IS 'values of aud of which a token must carry one; NULL: not checked';
COMMENT ON COLUMN auth.issuers.algorithms IS 'algorithms that a token may be signed with; NULL: every asymmetric algorithm';
COMMENT ON COLUMN auth.issuers.required_claims IS 'claims that a token must carry';
COMMENT ON COLUMN auth.issuers.leeway IS 'tolerated difference between the issuer''s clock and this one';
COMMENT ON COLUMN auth.issuers.max_age IS 'maximum age of a token, from its iat; NULL: any age';
COMMENT ON COLUMN auth.issuers.token_types IS 'accepted values of typ; a token without it counts as JWT; NULL: not checked';
COMMENT ON COLUMN auth.issuers.enabled IS 'false: no token of this issuer is accepted';
COMMENT ON COLUMN auth.issuers.source IS 'source of the keys, as auth.follow() and auth.follow_url() write it; NULL: auth.init() or SQL';
COMMENT ON COLUMN auth.issuers.max_stale IS
    'time for which fetched keys are trusted after the last successful fetch; NULL: for ever';
COMMENT ON COLUMN auth.issuers.bound_tokens IS
    'whether tokens with cnf, which are bound to a key of their holder, are refused or accepted like bearer tokens';
COMMENT ON COLUMN auth.issuers.role_claim IS
    'claim that names the role for auth.login(): a name, or a path as {realm_access,roles,0}; NULL: no login';
COMMENT ON COLUMN auth.issuers.allowed_roles IS 'roles that the claim may name; NULL: none';
COMMENT ON COLUMN auth.issuers.sessions IS
    'table of the issuer''s sessions, as auth.follow_sessions() writes it: a token counts while its session is there; NULL: not looked at';
COMMENT ON CONSTRAINT issuer_not_empty ON auth.issuers IS 'the row * is for tokens without iss';
COMMENT ON CONSTRAINT audience_not_empty ON auth.issuers IS 'no empty list, which would accept no token';
COMMENT ON CONSTRAINT algorithms_known ON auth.issuers IS 'the JWA names that pg_auth_jwt verifies';
COMMENT ON CONSTRAINT required_claims_named ON auth.issuers IS 'no NULL elements';
COMMENT ON CONSTRAINT leeway_not_negative ON auth.issuers IS 'a leeway only extends the times';
COMMENT ON CONSTRAINT max_age_positive ON auth.issuers IS 'no age of zero, which would accept no token';
COMMENT ON CONSTRAINT source_known ON auth.issuers IS 'as auth.follow() and auth.follow_url() write it';
COMMENT ON CONSTRAINT max_stale_not_negative ON auth.issuers IS 'a length of time';
COMMENT ON CONSTRAINT bound_tokens_known ON auth.issuers IS 'refuse or accept';
COMMENT ON CONSTRAINT role_claim_valid ON auth.issuers IS 'a name, or an array literal of names without NULL';
COMMENT ON CONSTRAINT allowed_roles_named ON auth.issuers IS 'no NULL elements';
COMMENT ON CONSTRAINT token_types_named ON auth.issuers IS 'no NULL elements';

CREATE TABLE auth.jwks (
    issuer text COLLATE pg_catalog."C" NOT NULL,
    kid text COLLATE pg_catalog."C",
    jwk jsonb NOT NULL,
    alg text,
    thumbprint text COLLATE pg_catalog."C" NOT NULL,
    name text COLLATE pg_catalog."C" NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    expires_at timestamptz,
    PRIMARY KEY (issuer, thumbprint, name)
);
-- Enforces what the trigger checks, because the trigger cannot see uncommitted rows of other
-- sessions.
CREATE UNIQUE INDEX jwks_kid_key ON auth.jwks
    (issuer, kid, (jwk OPERATOR(pg_catalog.->>) 'kty'), (COALESCE(alg, '') COLLATE pg_catalog."C"));
COMMENT ON TABLE auth.jwks IS 'keys of the issuers; one key may have several rows, one for each of its names';
COMMENT ON COLUMN auth.jwks.issuer IS 'issuer of the key';
COMMENT ON COLUMN auth.jwks.kid IS 'key id: the kid of the JWK, or one given here if the JWK has none';
COMMENT ON COLUMN auth.jwks.jwk IS 'key, as RFC 7517 writes it';
COMMENT ON COLUMN auth.jwks.alg IS 'only algorithm that the key takes; NULL: those of its type and curve';
COMMENT ON COLUMN auth.jwks.thumbprint IS 'RFC 7638, SHA-256; filled in by trigger';
COMMENT ON COLUMN auth.jwks.name IS 'alg and kid of the row, which distinguish the names of one key; filled in by trigger';
COMMENT ON COLUMN auth.jwks.created_at IS 'time at which the key was first stored';
COMMENT ON COLUMN auth.jwks.expires_at IS 'time from which on the key is not used; NULL: no limit';
COMMENT ON INDEX auth.jwks_kid_key IS 'a kid of an issuer names one key of each type, once for each alg';

-- src/trust/tables/triggers.rs has these triggers, and those of endpoint.sql, as auth.list_triggers() needs them. The
-- test `triggers` compares both lists.
CREATE TRIGGER admit_key BEFORE INSERT OR UPDATE ON auth.jwks
    FOR EACH ROW EXECUTE FUNCTION auth.admit_key();
COMMENT ON TRIGGER admit_key ON auth.jwks IS 'refuses keys that are not acceptable';

-- Not ENABLE ALWAYS: a subscriber of a logical replication gets the changes of the other tables
-- themselves. Renaming fires BEFORE the row's change, so that one statement may rename several issuers,
-- one to the former name of another.
CREATE TRIGGER issuer_renamed BEFORE UPDATE ON auth.issuers
    FOR EACH ROW EXECUTE FUNCTION auth.cascade_issuer();
CREATE TRIGGER issuer_removed AFTER DELETE ON auth.issuers
    FOR EACH ROW EXECUTE FUNCTION auth.cascade_issuer();
CREATE TRIGGER issuers_removed AFTER TRUNCATE ON auth.issuers
    FOR EACH STATEMENT EXECUTE FUNCTION auth.cascade_issuer();
COMMENT ON TRIGGER issuer_renamed ON auth.issuers IS 'renames what belongs to the issuer too';
COMMENT ON TRIGGER issuer_removed ON auth.issuers IS 'deletes what belongs to the issuer too';
COMMENT ON TRIGGER issuers_removed ON auth.issuers IS 'deletes what belongs to the issuers too';

-- FOR EACH ROW, because a logical replication worker fires no statement triggers, and so that a
-- statement that changes no row announces nothing. AFTER, because the keys that are read again must
-- include the change.
CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE ON auth.jwks
    FOR EACH ROW EXECUTE FUNCTION auth.keys_changed();
CREATE TRIGGER keys_truncated AFTER TRUNCATE ON auth.jwks
    FOR EACH STATEMENT EXECUTE FUNCTION auth.keys_changed();
CREATE TRIGGER issuers_changed AFTER INSERT OR UPDATE OR DELETE ON auth.issuers
    FOR EACH ROW EXECUTE FUNCTION auth.keys_changed();
CREATE TRIGGER issuers_truncated AFTER TRUNCATE ON auth.issuers
    FOR EACH STATEMENT EXECUTE FUNCTION auth.keys_changed();
COMMENT ON TRIGGER keys_changed ON auth.jwks IS 'announces the change to every backend';
COMMENT ON TRIGGER keys_truncated ON auth.jwks IS 'announces the change to every backend';
COMMENT ON TRIGGER issuers_changed ON auth.issuers IS 'announces the change to every backend';
COMMENT ON TRIGGER issuers_truncated ON auth.issuers IS 'announces the change to every backend';

-- Also under session_replication_role = replica: replicated keys count like others.
ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER admit_key;
ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER keys_changed;
ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER keys_truncated;
ALTER TABLE auth.issuers ENABLE ALWAYS TRIGGER issuers_changed;
ALTER TABLE auth.issuers ENABLE ALWAYS TRIGGER issuers_truncated;

-- The rows are the owner's configuration, so pg_dump includes them.
SELECT pg_catalog.pg_extension_config_dump('auth.issuers', '');
SELECT pg_catalog.pg_extension_config_dump('auth.jwks', '');
