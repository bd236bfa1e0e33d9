-- The trigger functions of the key tables. Every statement that stores a key runs them.

CREATE FUNCTION auth.admit_key() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_admit_key';
COMMENT ON FUNCTION auth.admit_key() IS
    'trigger: refuses what is no acceptable key, and fills in kid, alg and thumbprint';

CREATE FUNCTION auth.keys_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'pg_auth_jwt_keys_changed';
COMMENT ON FUNCTION auth.keys_changed() IS
    'trigger: has every backend read the keys again once the change commits';
