-- The trigger functions of the key tables. Every statement that stores a key runs them.

-- SECURITY DEFINER: a role that may store a key need not have the right to lock its issuer's row.
CREATE FUNCTION auth.admit_key() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_admit_key';
COMMENT ON FUNCTION auth.admit_key() IS
    'trigger: refuses what is no acceptable key, and fills in kid, alg and thumbprint';

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

CREATE FUNCTION auth.lease_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_lease_changed';
COMMENT ON FUNCTION auth.lease_changed() IS
    'trigger: makes it known to every backend that fetched keys count for a shorter time';

-- For everyone, as pg_trigger is.
CREATE FUNCTION auth.list_triggers()
    RETURNS TABLE (table_name text, trigger_name text, trigger_oid oid, needs text, state text, detail text, fix text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 14
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_list_triggers';
COMMENT ON FUNCTION auth.list_triggers() IS
    'the triggers that the key tables need, whether they are there and fire, and what mends them';
