-- Bob tries to read the session's token.
\i fixtures/hostile.sql

\set VERBOSITY sqlstate
-- 1. the setting, on a connection that other users may share
SHOW pg_auth_jwt.token;
SELECT current_setting('pg_auth_jwt.token', true);
SELECT count(*) FROM pg_show_all_settings() WHERE name = 'pg_auth_jwt.token';
ALTER ROLE authenticated SET pg_auth_jwt.token FROM CURRENT;
ALTER ROLE authenticated RESET pg_auth_jwt.token;
CREATE FUNCTION keeps() RETURNS text LANGUAGE sql SET pg_auth_jwt.token FROM CURRENT AS 'SELECT auth.email()';
SELECT keeps();
SELECT explained('SELECT 1');
DO $$ BEGIN RAISE '%', current_setting('pg_auth_jwt.token'); END $$;
\set VERBOSITY terse
-- 2. the error of a refused token does not quote it
SET pg_auth_jwt.token = 'secret.part.s';
SELECT auth.uid();
SELECT auth.session();
SELECT auth.jwt_session_init(:'bob');

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
