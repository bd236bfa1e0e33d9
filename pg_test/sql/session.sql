-- The token session: the setting, and everything that can change a setting in Postgres.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
SET ROLE authenticated;
\pset null NULL

-- No token: NULL, never JSON null.
SELECT auth.session(), auth.jwt(), auth.user_id(), auth.uid(), auth.role(), auth.email(),
       auth.organization(), auth.organization_id();

-- As a client of pg_session_jwt begins.
SELECT auth.init();
SELECT pg_typeof(auth.init());

-- For the session, until it ends.
SELECT auth.jwt_session_init(:'alice');
SELECT auth.email();
SELECT auth.jwt_session_init(:'bob');
SELECT auth.init();
SELECT auth.email();
SELECT auth.jwt_session_init(NULL);
SELECT auth.email();
SELECT auth.jwt_session_init(:'bob');
SELECT auth.jwt_session_init('');
SELECT auth.email();

-- is_local ends with the transaction, however it ends.
BEGIN;
SELECT auth.jwt_session_init(:'alice', is_local => true);
SELECT auth.email();
COMMIT;
SELECT auth.email();
SELECT auth.jwt_session_init(:'bob');
BEGIN;
SELECT auth.jwt_session_init(:'alice', is_local => true);
SELECT auth.email();
ROLLBACK;
SELECT auth.email();
-- Outside of a block it ends with its own statement.
SELECT auth.jwt_session_init(:'alice', is_local => true);
SELECT auth.email();

-- If other parts of the statement use the token, there is no warning.
WITH signed_in AS MATERIALIZED (SELECT auth.jwt_session_init(:'alice', is_local => true))
SELECT auth.email() FROM signed_in;
SELECT auth.email();

-- Without is_local: for the transaction inside of a block, else for the session.
BEGIN;
SELECT auth.jwt_session_init(:'alice');
SELECT auth.email();
COMMIT;
SELECT auth.email();
-- Several statements in one message are a transaction block too.
SELECT auth.jwt_session_init(:'alice') \; SELECT auth.email();
SELECT auth.email();
SELECT format('DO $$ BEGIN PERFORM auth.jwt_session_init(%L); END $$', :'alice') AS do_block \gset
:do_block;
SELECT auth.email();
BEGIN;
:do_block;
SELECT auth.jwt_session_init(:'bob', NULL);
SELECT auth.email();
SELECT auth.jwt_session_init(NULL);
SELECT auth.email();
COMMIT;
SELECT auth.email();
SELECT auth.jwt_session_init('');
-- So is a plpgsql block with EXCEPTION, because an enclosing transaction block cannot be detected.
CREATE FUNCTION pg_temp.sign_in(token text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.jwt_session_init(token);
    RETURN auth.email();
EXCEPTION WHEN invalid_authorization_specification THEN
    RETURN SQLSTATE;
END $$;
SELECT pg_temp.sign_in(:'alice');
SELECT auth.email();
-- false: for the session, in any place.
BEGIN;
SELECT auth.jwt_session_init(:'alice', is_local => false);
COMMIT;
SELECT auth.email();
SELECT auth.jwt_session_init(:'bob');

-- A token set in a transaction that is rolled back was never set.
BEGIN;
SELECT auth.jwt_session_init(:'alice', is_local => false);
SELECT auth.email();
ROLLBACK;
SELECT auth.email();

-- Savepoints.
BEGIN;
SELECT auth.jwt_session_init(:'alice', true);
SAVEPOINT a;
SELECT auth.jwt_session_init(:'bob', true);
SELECT auth.email();
ROLLBACK TO a;
SELECT auth.email();
SAVEPOINT b;
SELECT auth.jwt_session_init(NULL, true);
RELEASE b;
SELECT auth.email();
COMMIT;
SELECT auth.email();

-- A refused token leaves the session as it was.
SELECT auth.jwt_session_init(:'expired');
SELECT auth.email();
SELECT auth.jwt_session_init(:'forged');
SELECT auth.email();

-- SET does the same without the check; the token is checked at first use.
SET pg_auth_jwt.token = :'alice';
SELECT auth.email();
SET pg_auth_jwt.token = 'nonsense';
SELECT auth.email();
SELECT auth.uid();
BEGIN;
SET LOCAL pg_auth_jwt.token = :'alice';
SELECT auth.email();
END;
SELECT auth.email();
RESET pg_auth_jwt.token;
SELECT auth.email();
-- set_config works like SET. Neither it nor SHOW returns the token.
SELECT set_config('pg_auth_jwt.token', :'alice', false);
SELECT auth.email();
SHOW pg_auth_jwt.token;
BEGIN;
SELECT set_config('pg_auth_jwt.token', :'bob', true);
SELECT auth.email();
COMMIT;
SELECT auth.email();
RESET ALL;
SELECT auth.email(), current_setting('pg_auth_jwt.token') AS shown;
RESET ROLE;
SET SESSION AUTHORIZATION DEFAULT;
SELECT auth.jwt_session_init(:'alice');
SELECT auth.email();
DISCARD ALL;
SELECT auth.email();

-- A function's SET clause.
SELECT format('CREATE FUNCTION bobs() RETURNS text LANGUAGE sql SET pg_auth_jwt.token = %L RETURN auth.email()', :'bob') AS create_bobs \gset
:create_bobs;
SELECT auth.jwt_session_init(:'alice');
SELECT bobs();
SELECT auth.email();
-- The function reads another token than the query that calls it.
SELECT auth.email(), bobs(), auth.email();

-- A default stored for a role or a database is not a token: everyone who shares the role would
-- start with it.
SELECT format('ALTER ROLE owner_role SET pg_auth_jwt.token = %L', :'bob') AS plant \gset
:plant;
\c
SELECT auth.email();
SELECT auth.jwt_session_init(:'alice');
RESET pg_auth_jwt.token;
SELECT auth.email();
ALTER ROLE owner_role RESET pg_auth_jwt.token;
-- A connection option belongs to the session.
\setenv TOKEN :bob
\setenv DB :DBNAME
\! PGOPTIONS="-c pg_auth_jwt.token=$TOKEN" psql -X -At -U owner_role -c 'SELECT auth.email()' "$DB"
SELECT auth.jwt_session_init(:'alice');

-- A prepared statement with a generic plan, whose identity changes between executions.
SET plan_cache_mode = force_generic_plan;
PREPARE whoami AS SELECT auth.email();
EXECUTE whoami;
SELECT auth.jwt_session_init(:'bob');
EXECUTE whoami;
SELECT auth.jwt_session_init(NULL);
EXECUTE whoami;

-- A procedure that commits: a local token is gone, a token of the session stays.
CREATE PROCEDURE commits(token text, is_local boolean) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.jwt_session_init(token, is_local);
    RAISE NOTICE 'before: %', auth.email();
    COMMIT;
    RAISE NOTICE 'after: %', auth.email();
END $$;
CALL commits(:'alice', true);
CALL commits(:'alice', false);
SELECT auth.email();
SELECT auth.jwt_session_init(NULL);
CALL commits(:'alice', NULL);
SELECT auth.email();

-- COMMIT AND CHAIN starts another transaction.
BEGIN;
SELECT auth.jwt_session_init(:'bob', true);
COMMIT AND CHAIN;
SELECT auth.email();
COMMIT;

-- Without the cache.
\c - postgres
SELECT auth.jwt_session_init(:'alice');
-- (A superuser is not shown the token either.)
SHOW pg_auth_jwt.token;
SELECT setting, reset_val FROM pg_settings WHERE name = 'pg_auth_jwt.token';
ALTER ROLE owner_role SET pg_auth_jwt.cache_size = 0;
\c - owner_role
SHOW pg_auth_jwt.cache_size;
SELECT auth.jwt_session_init(:'alice');
SELECT auth.email(), auth.uid();
\c - postgres
ALTER ROLE owner_role RESET pg_auth_jwt.cache_size;

-- A role behind a transaction pooler whose clients may call outside of transaction blocks or pass
-- false: every token is local, with a warning. The owner of the database can store the setting.
\c - owner_role
SELECT auth.email() IS NULL AS library_loaded;
ALTER DATABASE :"DBNAME" SET pg_auth_jwt.scope = 'transaction';
\c
SELECT auth.jwt_session_init(:'alice');
SELECT auth.jwt_session_init(:'alice', false) AS session, 1 AS too;
SELECT auth.email();
WITH signed_in AS MATERIALIZED (SELECT auth.jwt_session_init(:'alice')) SELECT auth.email() FROM signed_in;
SELECT auth.email();
BEGIN;
SELECT auth.jwt_session_init(:'alice', is_local => false);
SELECT auth.email();
COMMIT;
SELECT auth.email();
ALTER DATABASE :"DBNAME" RESET pg_auth_jwt.scope;
-- It protects from mistakes: a client may change it, but not to a value that would affect others.
SET pg_auth_jwt.scope = 'auto';
SELECT auth.jwt_session_init(:'alice');
SELECT auth.email();
RESET pg_auth_jwt.scope;
SHOW pg_auth_jwt.scope;
SET pg_auth_jwt.scope = 'session';
ALTER ROLE owner_role SET pg_auth_jwt.scope = 'session';
SET pg_auth_jwt.scope = 'transactions';
-- scope = session: NULL means the same as false for set_config.
\c - postgres
ALTER ROLE owner_role SET pg_auth_jwt.scope = 'session';
\c - owner_role
BEGIN;
SELECT auth.jwt_session_init(:'alice');
COMMIT;
SELECT auth.email();
BEGIN;
SELECT auth.jwt_session_init(:'bob', is_local => true);
COMMIT;
SELECT auth.email();
\c - postgres
ALTER ROLE owner_role RESET pg_auth_jwt.scope;
