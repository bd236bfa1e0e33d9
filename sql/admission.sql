-- The trigger functions of the key tables. Every statement that stores a key runs them.

-- SECURITY DEFINER: a role that may store a key need not have the right to lock its issuer's row.
CREATE FUNCTION auth.admit_key() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_admit_key';
COMMENT ON FUNCTION auth.admit_key() IS
    'trigger: refuses keys that are not acceptable, and fills in kid, alg, thumbprint and name';

CREATE FUNCTION auth.keys_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_keys_changed';
COMMENT ON FUNCTION auth.keys_changed() IS
    'trigger: has every backend read the keys again once the change commits';

-- SECURITY DEFINER: a role that may delete an issuer need not have a right on the other tables.
CREATE FUNCTION auth.cascade_issuer() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_cascade_issuer';
COMMENT ON FUNCTION auth.cascade_issuer() IS
    'trigger: deletes or renames what belongs to an issuer together with its row';

CREATE FUNCTION auth.endpoint_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_endpoint_changed';
COMMENT ON FUNCTION auth.endpoint_changed() IS
    'trigger: announces to every backend that fetched keys count for a shorter time';

-- For everyone, as pg_trigger is.
CREATE FUNCTION auth.list_triggers()
    RETURNS TABLE (table_name text, trigger_name text, trigger_oid oid, needs text, state text, detail text, fix text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 16
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_triggers';
COMMENT ON FUNCTION auth.list_triggers() IS
    'triggers that the key tables need, with their state and the statement that repairs each';

-- A function, and not the text of the CHECK: each new connection reads the constraints of the table, and this one
-- is so long that it took a tenth of the first sign-in. Only a write calls it. Endpoint::from_json and
-- Source::from_json read each value that passes, so that SQL may decide by the kind alone.
CREATE FUNCTION auth.source_is_known(source jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE
    WHEN pg_catalog.jsonb_typeof(source) OPERATOR(pg_catalog.<>) 'object'
        OR pg_catalog.octet_length(source::pg_catalog.text) OPERATOR(pg_catalog.>) 8192 THEN false
    WHEN (source OPERATOR(pg_catalog.->>) 'kind') OPERATOR(pg_catalog.=) ANY ('{url,discovery}'::pg_catalog.text[]) THEN
        (source OPERATOR(pg_catalog.-) '{kind,url}'::pg_catalog.text[]) OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
        AND pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'url') OPERATOR(pg_catalog.=) 'string'
        AND pg_catalog.octet_length(source OPERATOR(pg_catalog.->>) 'url') OPERATOR(pg_catalog.<=) 2048
    WHEN (source OPERATOR(pg_catalog.->>) 'kind') OPERATOR(pg_catalog.=) 'table' THEN
        (source OPERATOR(pg_catalog.-) '{kind,schema,table,owner,owner_id,grace,columns}'::pg_catalog.text[])
            OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
        AND pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'schema') OPERATOR(pg_catalog.=) 'string'
        AND pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'table') OPERATOR(pg_catalog.=) 'string'
        AND pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'owner') OPERATOR(pg_catalog.=) 'string'
        AND coalesce(pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'owner_id'), 'string') OPERATOR(pg_catalog.=) 'string'
        AND pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'grace') OPERATOR(pg_catalog.=) 'number'
        AND (source OPERATOR(pg_catalog.->>) 'grace') OPERATOR(pg_catalog.~) '^[0-9]{1,19}$'
        AND pg_catalog.jsonb_typeof(source OPERATOR(pg_catalog.->) 'columns') OPERATOR(pg_catalog.=) 'object'
        AND ((source OPERATOR(pg_catalog.->) 'columns')
            OPERATOR(pg_catalog.-) '{kid,public_key,expires_at,alg,revoked_at,created_at}'::pg_catalog.text[])
            OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
        AND NOT pg_catalog.jsonb_path_exists(
            source, 'strict $.columns.* ? (@.type() <> "string" && @.type() <> "null")'::pg_catalog.jsonpath,
            '{}'::pg_catalog.jsonb, true)
    ELSE false
    END IS TRUE $$;
COMMENT ON FUNCTION auth.source_is_known(jsonb) IS
    'true for a value of auth.issuers.source that auth.follow() or auth.follow_url() could have written';

-- A function of the library, so that a new algorithm needs no change of a table. A dump with an algorithm that this
-- version does not know is refused, and not stored without it.
CREATE FUNCTION auth.algorithms_are_known(algorithms text[]) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_algorithms_are_known';
COMMENT ON FUNCTION auth.algorithms_are_known(text[]) IS 'whether pg_auth_jwt verifies signatures of all of these';

CREATE FUNCTION auth.claim_path_is_valid(claim text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_claim_path_is_valid';
COMMENT ON FUNCTION auth.claim_path_is_valid(text) IS 'whether the text is a name of a claim, or a path to one';
