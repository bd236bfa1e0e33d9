-- Bob tries to let his token outlive its transaction, where a superuser set scope = transaction.
\i fixtures/hostile.sql

\c - postgres
ALTER ROLE authenticated SET pg_auth_jwt.scope = 'transaction';
\c "dbname=test_hostile_scope user=authenticated options=''"
-- 1. before the library is loaded, when the setting is a placeholder
SET pg_auth_jwt.scope = 'session';
BEGIN;
SELECT auth.jwt_session_init(:'bob');
SELECT auth.email();
COMMIT;
SELECT auth.email() IS NULL;
SHOW pg_auth_jwt.scope;
-- 2. after the library is loaded
SET pg_auth_jwt.scope = 'session';
SET LOCAL pg_auth_jwt.scope = 'session';
SELECT set_config('pg_auth_jwt.scope', 'session', false);
RESET pg_auth_jwt.scope;
RESET ALL;
DISCARD ALL;
SHOW pg_auth_jwt.scope;
-- 3. SET to 'auto' is allowed; without is_local in a transaction block, or with true, the token still ends with the transaction
SET pg_auth_jwt.scope = 'auto';
BEGIN;
SELECT auth.jwt_session_init(:'bob');
COMMIT;
SELECT auth.email() IS NULL;
RESET pg_auth_jwt.scope;
-- 4. in a procedure that commits
CREATE PROCEDURE commits(token text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.jwt_session_init(token);
    RAISE NOTICE 'before: %', auth.email();
    COMMIT;
    RAISE NOTICE 'after: %', auth.email();
END $$;
CALL commits(:'bob');
\c - postgres
ALTER ROLE authenticated RESET pg_auth_jwt.scope;

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
